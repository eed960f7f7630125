import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { TapNetwork } from '../../../src/engine/tap-network.ts'
import { guestMac, ip, Scene, Station } from './ethernet.ts'

const shut = [false, false]
const open = [true, true]

void t.test('shut from the beginning, then as it is told', async (t) => {
  const scene = await Scene.set(t)
  const { network } = scene
  t.same(await scene.passes(1), shut)
  await network.open()
  await scene.untilPasses(true, 1000)
  t.same(await scene.passes(2), open)
  await network.shut()
  t.same(await scene.passes(3), shut)
  await network.open()
  await scene.untilPasses(true, 2000)
  t.same(await scene.passes(4), open)
  network.renewLease(0)
  await network.shut()
  t.same(await scene.passes(5), shut, 'a lease of no length shuts it')
})

void t.test('not one frame of a guest that talks on passes when it is shut', async (t) => {
  const scene = await Scene.set(t)
  scene.guest.device.close()
  const program = fileURLToPath(new URL('flood.ts', import.meta.url))
  const flood = spawn(process.execPath, [...process.execArgv, program, scene.network.device, guestMac], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(() => flood.kill('SIGKILL'))
  await once(flood.stdout, 'data')
  const got = (): number => scene.client.from(guestMac).length
  for (let round = 0; round < 10; round++) {
    const before = got()
    await scene.network.open()
    await scene.client.until('the flood', () => got() > before + 100)
    await scene.network.shut()
    await scene.mark()
    const after = got()
    for (let marks = 0; marks < 20; marks++) await scene.mark()
    t.equal(got(), after, `round ${round}: nothing after ${after} frames`)
  }
})

void t.test('whatever a process before left is shut by the next', async (t) => {
  const scene = await Scene.set(t)
  await scene.network.open()
  await scene.untilPasses(true, 1)
  const next = new TapNetwork({ guest: 'g', bridge: 'lan', mac: guestMac, addresses: [] })
  t.equal(next.device, scene.network.device)
  await next.prepare()
  t.teardown(() => next.close())
  t.same(await scene.passes(5000), shut, 'the guest before has lost its device')
  const guest = Station.at(t, next.device, guestMac)
  const after = new Scene(next, guest, scene.client, scene.witness)
  t.same(await after.passes(5000), shut)
  await next.open()
  await after.untilPasses(true, 6000)
})

void t.test('nothing is left of it when it is closed', async (t) => {
  const scene = await Scene.set(t)
  await scene.network.open()
  await scene.network.close()
  t.notMatch(ip('link'), /tg-g/)
  await scene.network.prepare()
  t.match(ip('link'), /tg-g/, 'and it can be made again')
})
