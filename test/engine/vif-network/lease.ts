import { once } from 'node:events'
import t from 'tap'
import { Scene } from '../tap-network/ethernet.ts'
import { holder, signalAll } from '../tap-network/holder.ts'
import { comesUp, gateAlone, goes, lineOf, networkOf, shut, vif } from './domain.ts'

void t.test('the gate shuts by itself when the lease has run out, and opens with the next', async (t) => {
  const domain = await gateAlone(t)
  const scene = domain.comesUp()
  scene.network.renewLease(60_000)
  await scene.network.open()
  await scene.untilPasses(true, 1)
  scene.network.renewLease(300)
  const end = performance.now() + 300
  await scene.untilPasses(false, 1000)
  await scene.client.until('the end of the lease', () => performance.now() > end)
  t.same(await scene.passes(5000), shut)
  t.match(lineOf(), /[<,]UP[,>]/)
  scene.network.renewLease(60_000)
  await scene.untilPasses(true, 6000)
  scene.network.renewLease(0)
  await scene.untilPasses(false, 10_000)
  scene.network.renewLease(60_000)
  await scene.untilPasses(true, 20_000)
})

void t.test('a lease that has run out holds a device that comes later', async (t) => {
  const domain = await gateAlone(t)
  const { client, network } = domain.scene
  network.renewLease(150)
  const end = performance.now() + 150
  await network.open()
  await client.until('the end of the lease', () => performance.now() > end)
  const scene = domain.comesUp()
  t.same(await scene.passes(1), shut)
  network.renewLease(60_000)
  await scene.untilPasses(true, 1000)
})

void t.test('a domain is off the wire when the lease of an agent that was killed has run out', async (t) => {
  const domain = await gateAlone(t)
  const child = await holder(t, domain.scene, 2000, vif)
  const beats = setInterval(() => { child.send(2000) }, 100)
  const scene = domain.comesUp()
  await scene.untilPasses(true, 1)
  clearInterval(beats)
  signalAll(child, 'SIGKILL')
  await once(child, 'exit')
  const last = await scene.untilPasses(false, 1000)
  t.ok(last > 1000, 'it was open when the agent died')
  t.same(await scene.passes(100_000), shut)
  await goes(scene.guest)
  const again = domain.comesUp()
  t.same(await again.passes(200_000), shut, 'and stays so when it comes again')
  const next = networkOf(t)
  await next.prepare()
  next.renewLease(60_000)
  await next.open()
  await new Scene(next, again.guest, again.client, again.witness).untilPasses(true, 300_000)
})

void t.test('a domain that comes up although its agent was killed before is off the wire', async (t) => {
  const domain = await gateAlone(t)
  // A lease of no length: the gate is laid, ordered to be open, and shut.
  const child = await holder(t, domain.scene, 0, vif)
  signalAll(child, 'SIGKILL')
  await once(child, 'exit')
  const scene = new Scene(domain.scene.network, comesUp(t), domain.scene.client, domain.scene.witness)
  t.same(await scene.passes(1), shut)
})
