import { once } from 'node:events'
import t from 'tap'
import { PacketFilter } from '../../../src/engine/packet-filter.ts'
import { PathGate } from '../../../src/engine/path-gate.ts'
import { clientMac, guestMac, ip, makeBridge, Scene, Station } from './ethernet.ts'
import { holder, signalAll } from './holder.ts'

const shut = [false, false]

/** The same clock in all processes, in milliseconds. */
function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000
}

void t.test('a gate shuts by itself when its lease has run out, and opens with the next', async (t) => {
  const scene = await Scene.set(t)
  scene.network.renewLease(60_000)
  await scene.network.open()
  await scene.untilPasses(true, 1)
  scene.network.renewLease(300)
  const end = performance.now() + 300
  await scene.untilPasses(false, 1000)
  await scene.client.until('the end of the lease', () => performance.now() > end)
  t.same(await scene.passes(5000), shut)
  scene.network.renewLease(60_000)
  await scene.untilPasses(true, 6000)
})

void t.test('a gate that was open for good is not after the first lease', async (t) => {
  const scene = await Scene.set(t)
  await scene.network.open()
  await scene.untilPasses(true, 1)
  scene.network.renewLease(200)
  await scene.untilPasses(false, 1000)
  t.equal(scene.network.onFailure, undefined)
})

void t.test('a lease that has run out lets nothing be opened', async (t) => {
  const scene = await Scene.set(t)
  scene.network.renewLease(0)
  await scene.network.open()
  t.same(await scene.passes(1), shut)
})

void t.test('a gate shuts although the process that renewed its lease was killed', async (t) => {
  const scene = await Scene.set(t)
  const child = await holder(t, scene, 1000)
  scene.guest.device.close()
  const guest = Station.at(t, scene.network.device, guestMac)
  const speaks = new Scene(scene.network, guest, scene.client, scene.witness)
  await speaks.untilPasses(true, 1)
  signalAll(child, 'SIGKILL')
  await once(child, 'exit')
  const last = await speaks.untilPasses(false, 1000)
  t.ok(last > 1000, 'it was open when the process died')
  t.same(await speaks.passes(100_000), shut)
})

void t.test('a frozen process lets nothing pass after its lease when it wakes', async (t) => {
  const scene = await Scene.set(t)
  const child = await holder(t, scene, 150)
  scene.guest.device.close()
  const guest = Station.at(t, scene.network.device, guestMac)
  const speaks = new Scene(scene.network, guest, scene.client, scene.witness)
  let number = 1
  for (let round = 0; round < 12; round++) {
    let until = 0
    // Renewals as the answers to heartbeats bring them, each for 150 ms; the freeze falls among them.
    const beat = (): void => { child.send({ until: until = monotonicMs() + 150 }) }
    const beats = setInterval(beat, 5)
    beat()
    number = await speaks.untilPasses(true, number + 1)
    for (let marks = 0; marks < 20 + 7 * round; marks++) await speaks.mark()
    clearInterval(beats)
    beat()
    signalAll(child, 'SIGSTOP')
    await speaks.client.until('the end of the lease', () => monotonicMs() > until)
    const first = number + 1000
    t.same(await speaks.passes(first), shut, `round ${round}: shut while it is frozen`)
    const answered = once(child, 'message')
    child.send('are you there')
    signalAll(child, 'SIGCONT')
    for (number = first; child.connected && number < first + 300; number++) await speaks.passes(number)
    await answered
    const passed = speaks.client.from(guestMac).filter((got) => got >= first)
    t.same(passed, [], `round ${round}: nothing when it has woken`)
  }
})

void t.test('a grant that is taken later than its ticket lives changes nothing', async (t) => {
  makeBridge(t, 'lan')
  const filter = new PacketFilter()
  t.teardown(() => filter.close())
  ip('tuntap', 'add', 'dev', 'late', 'mode', 'tap')
  t.teardown(() => { ip('link', 'delete', 'late') })
  ip('link', 'set', 'late', 'master', 'lan', 'addrgenmode', 'none', 'up')
  const gate = new PathGate(filter, { table: 'tailgate-late', device: 'late', mac: guestMac })
  await gate.lay()
  const guest = Station.at(t, 'late', guestMac)
  const client = Station.on(t, 'lan', 'client', clientMac)
  const cell = new Int32Array(new SharedArrayBuffer(4))
  const frozen = (): boolean => Atomics.wait(cell, 0, 0, 300) === 'timed-out'
  t.equal(await gate.lease(performance.now() + 10_000, frozen), 'late')
  guest.send(1)
  t.equal(await gate.lease(performance.now() + 10_000, () => true), 'granted')
  await client.until('the guest', () => guest.send(2) && client.from(guestMac).length > 0)
  t.notOk(client.from(guestMac).includes(1))
  t.equal(await gate.lease(performance.now() + 5, () => true), 'nothing-left')
})
