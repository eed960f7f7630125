import t from 'tap'
import { clientMac, guestMac, ip, makeBridge, Scene, Station } from '../tap-network/ethernet.ts'
import {
  comesUp, Counter, gateAlone, goes, isThere, joinBridge, networkOf, open, shut, talksOn, unnamed, vif
} from './domain.ts'

void t.test('a gate laid before a device holds it when it comes, and opens for it', async (t) => {
  const domain = await gateAlone(t)
  const scene = domain.comesUp()
  t.same(await scene.passes(1), shut)
  await scene.network.open()
  await scene.untilPasses(true, 1000)
  t.same(await scene.passes(2), open)
  await scene.network.shut()
  t.same(await scene.passes(3), shut)
  await scene.network.open()
  await scene.untilPasses(true, 2000)
})

void t.test('not one frame passes when the device of a domain that talks joins the bridge', async (t) => {
  const { scene } = await gateAlone(t)
  const { client, network } = scene
  const came = new Counter(vif)
  await talksOn(t)
  joinBridge()
  for (let round = 0; round < 8; round++) {
    const before = came.frames
    ip('link', 'set', 'dev', vif, 'nomaster')
    ip('link', 'set', 'dev', vif, 'master', 'lan')
    await client.until('the bridge to be reached', () => came.frames > before + 100)
    for (let marks = 0; marks < 5; marks++) await scene.mark()
    t.same(client.from(guestMac), [], `round ${round}: of ${came.frames} frames none`)
  }
  await network.open()
  await client.until('the domain', () => client.from(guestMac).length > 100)
})

void t.test('not one frame of a domain that talks on passes when it is shut', async (t) => {
  const { scene } = await gateAlone(t)
  const { client, network } = scene
  await talksOn(t)
  joinBridge()
  for (let round = 0; round < 5; round++) {
    const before = client.from(guestMac).length
    await network.open()
    await client.until('the domain', () => client.from(guestMac).length > before + 100)
    await network.shut()
    await scene.mark()
    const after = client.from(guestMac).length
    for (let marks = 0; marks < 20; marks++) await scene.mark()
    t.equal(client.from(guestMac).length, after, `round ${round}: nothing after ${after} frames`)
  }
})

void t.test('a device that goes and comes again finds the gate as it was', async (t) => {
  const domain = await gateAlone(t)
  const first = domain.comesUp()
  t.same(await first.passes(1), shut)
  await goes(first.guest)
  const second = domain.comesUp()
  t.same(await second.passes(1000), shut)
  await second.network.open()
  await second.untilPasses(true, 2000)
  await goes(second.guest)
  const third = domain.comesUp()
  await third.untilPasses(true, 3000)
  t.same(await third.passes(10_000), open, 'without another order')
  await goes(third.guest)
  await third.network.shut()
  const fourth = domain.comesUp()
  t.same(await fourth.passes(11_000), shut, 'it was shut while there was none')
})

void t.test('a gate that is opened before the device comes is open when it does', async (t) => {
  const domain = await gateAlone(t)
  await domain.scene.network.open()
  t.notOk(isThere())
  const scene = domain.comesUp()
  await scene.untilPasses(true, 1)
  t.same(await scene.passes(1000), open)
})

void t.test('the card that Xen emulates for a guest is behind the same gate', async (t) => {
  const domain = await gateAlone(t)
  const scene = domain.comesUp(`${vif}-emu`)
  t.same(await scene.passes(1), shut)
  await scene.network.open()
  await scene.untilPasses(true, 1000)
  t.same(await scene.passes(2), open)
  await scene.network.shut()
  t.same(await scene.passes(3), shut)
})

void t.test('a device of Xen that did not get its name brings no frame of the guest', async (t) => {
  const domain = await gateAlone(t)
  const scene = domain.comesUp(unnamed)
  const came = new Counter(unnamed)
  const passes = async (number: number): Promise<readonly boolean[]> => {
    scene.guest.send(number)
    scene.client.send(number, guestMac)
    await scene.mark()
    await scene.mark()
    return [scene.client.from(guestMac).includes(number), scene.guest.from(clientMac).includes(number)]
  }
  // The bridge passes frames from a port a moment after it is joined.
  await scene.client.until('the bridge to be reached', () => scene.guest.send(1) && came.frames > 0)
  t.same(await passes(2), shut)
  await scene.network.open()
  t.same(await passes(3), shut, 'it is not the device that was opened')
  const others = Station.at(t, 'vif8.0', '52:54:00:00:00:09')
  ip('link', 'set', 'dev', 'vif8.0', 'addrgenmode', 'none', 'master', 'lan', 'up')
  await scene.client.until('another domain', () => others.send(4)
    && scene.client.from('52:54:00:00:00:09').length > 0)
  scene.client.send(5, '52:54:00:00:00:09')
  await others.until('a frame to another domain', () => others.from(clientMac).includes(5))
})

void t.test('a device whose own name begins as Xen begins them is opened', async (t) => {
  makeBridge(t, 'lan')
  const network = networkOf(t, 'vif-g')
  await network.prepare()
  const scene = await Scene.around(t, network, comesUp(t, 'vif-g'))
  t.same(await scene.passes(1), shut)
  await network.open()
  await scene.untilPasses(true, 1000)
})
