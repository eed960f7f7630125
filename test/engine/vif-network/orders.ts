import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { announcementsOf } from '../../../src/engine/announcement.ts'
import { setWhereThere } from '../../../src/engine/network-device.ts'
import { VifNetwork } from '../../../src/engine/vif-network.ts'
import { guestMac, ip, makeBridge, Scene } from '../tap-network/ethernet.ts'
import { comesUp, gateAlone, goes, isThere, lineOf, networkOf, nft, open, shut, vif } from './domain.ts'

const isUp = /[<,]UP[,>]/

/** A domain that runs, on a bridge with a client and a witness; no gate was laid before it. */
async function runs(t: Test): Promise<Scene> {
  makeBridge(t, 'lan')
  const scene = await Scene.around(t, networkOf(t), comesUp(t))
  await scene.untilPasses(true, 1)
  return scene
}

void t.test('preparing shuts out a domain that runs, and leaves its device as it is', async (t) => {
  const scene = await runs(t)
  const before = lineOf()
  await scene.network.prepare()
  t.same(await scene.passes(1000), shut)
  t.equal(lineOf(), before)
  await scene.network.open()
  await scene.untilPasses(true, 2000)
  const next = networkOf(t)
  await next.prepare()
  t.same(await scene.passes(10_000), shut, 'what an agent before it opened is shut')
  t.equal(lineOf(), before)
})

void t.test('a bridge that cannot serve is named', async (t) => {
  const network = networkOf(t)
  for (const order of ['prepare', 'adopt'] as const) {
    await t.rejects(network[order](), { code: 'E_ENGINE', message: /^there is no bridge lan on this host/ })
  }
})

void t.test('a host that could not announce the guest is told so when it is prepared', (t) => {
  const program = fileURLToPath(new URL('prepare.ts', import.meta.url))
  const pcap = fileURLToPath(new URL('.', import.meta.resolve('pcap')))
  const say = (shell: string): string => {
    const words = ['sh', '-c', `${shell} exec "$@"`, pcap, process.execPath, ...process.execArgv, program]
    return spawnSync('unshare', ['-rnm', ...words], { encoding: 'utf8' }).stdout
  }
  t.equal(say(''), 'prepared\n')
  const hidden = say('mount -t tmpfs none "$0" &&')
  t.match(hidden, /^E_ENGINE the package pcap is not installed.*npm install pcap && npm rebuild pcap\n$/)
  t.end()
})

void t.test('the device of a domain that is adopted is there, on the bridge', async (t) => {
  const { scene } = await gateAlone(t)
  const { network } = scene
  await t.rejects(network.adopt(), {
    code: 'E_ENGINE', message: /^there is no device guest0 on this host: .* vifname=guest0 in the vif/
  })
  makeBridge(t, 'other')
  const guest = comesUp(t)
  for (const words of [['nomaster'], ['master', 'other']]) {
    ip('link', 'set', 'dev', vif, ...words)
    await t.rejects(network.adopt(), {
      code: 'E_ENGINE', message: /^guest0 is not on the bridge lan: start the domain with bridge=lan/
    })
  }
  ip('link', 'set', 'dev', vif, 'master', 'lan')
  await network.adopt()
  const adopted = new Scene(network, guest, scene.client, scene.witness)
  t.same(await adopted.passes(1), shut)
  t.match(lineOf(), isUp)
  await network.open()
  await adopted.untilPasses(true, 1000)
})

void t.test('a device that was left down is set up when its network is opened', async (t) => {
  const domain = await gateAlone(t)
  const scene = domain.comesUp()
  await scene.network.open()
  await scene.untilPasses(true, 1)
  await scene.network.shut()
  t.notMatch(lineOf(), isUp, 'it is shut twice')
  const next = networkOf(t)
  await next.prepare()
  t.notMatch(lineOf(), isUp, 'nothing but an order to open sets it up')
  await next.open()
  t.match(lineOf(), isUp)
  await new Scene(next, scene.guest, scene.client, scene.witness).untilPasses(true, 1000)
})

void t.test('a gate is taken away only when there is no device that it holds', async (t) => {
  const domain = await gateAlone(t)
  const { network } = domain.scene
  const scene = domain.comesUp()
  await network.open()
  await scene.untilPasses(true, 1)
  await network.close()
  t.match(nft('list tables'), /tailgate-guest0/)
  t.match(lineOf(), / master lan /)
  ip('link', 'set', 'dev', vif, 'up')
  t.same(await scene.passes(1000), shut, 'the domain that runs on is off the wire')
  await goes(scene.guest)
  await network.close()
  t.notMatch(nft('list tables'), /tailgate/)
})

void t.test('a domain before which no gate was laid is left alone', async (t) => {
  const scene = await runs(t)
  const before = lineOf()
  await scene.network.close()
  t.equal(lineOf(), before)
  t.same(await scene.passes(1000), open)
})

void t.test('where another program took the gate away the device is down', async (t) => {
  const domain = await gateAlone(t)
  const scene = domain.comesUp()
  const failed = new Promise<string>((resolve) => { scene.network.onFailure = resolve })
  scene.network.renewLease(60_000)
  await scene.network.open()
  await scene.untilPasses(true, 1)
  nft('flush ruleset')
  scene.network.renewLease(120_000)
  const reason = await failed
  t.match(reason, /the gate of guest0 could not be opened; if nft\(8\) has removed the table/)
  t.notMatch(reason, /is not shut/)
  t.same(await scene.passes(5000), shut)
})

void t.test('a gate that another program took away is laid once more', async (t) => {
  const domain = await gateAlone(t)
  const scene = domain.comesUp()
  nft('flush ruleset')
  await scene.untilPasses(true, 1)
  await scene.network.layGate()
  t.same(await scene.passes(1000), shut)
  t.match(lineOf(), isUp, 'the device is not touched')
  await scene.network.open()
  await scene.untilPasses(true, 2000)
})

void t.test('that a device goes before it can be set is no failure', async (t) => {
  t.notOk(isThere())
  await setWhereThere(vif, 'taken down', ['down'])
  await t.rejects(setWhereThere('lo', 'set up', ['master', 'nobody']), {
    code: 'E_ENGINE', message: /^the device lo could not be set up: /
  })
})

void t.test('where neither gate nor device is there, nobody says that it is shut', async (t) => {
  const { scene: { network } } = await gateAlone(t)
  await network.open()
  nft('flush ruleset')
  await t.rejects(network.shut(), { code: 'E_ENGINE', message: /^the gate of guest0 could not be shut/ })
})

void t.test('it is announced when it has been opened, for as long as it is', async (t) => {
  const domain = await gateAlone(t)
  const { client, network } = domain.scene
  await t.rejects(network.announce(), { code: 'E_ENGINE', message: /^guest0 is shut/ })
  await network.open()
  await network.announce()
  await client.until('an announcement and its repeats', () => client.announcements.length === 4)
  t.same(client.announcements[0], announcementsOf(guestMac, [])[0])
  network.renewLease(0)
  await network.announce()
  await domain.scene.mark()
  t.equal(client.announcements.length, 4)
})

void t.test('a name is refused to which Xen cannot add its own', (t) => {
  const place = { guest: 'g', bridge: 'lan', mac: guestMac, addresses: [] }
  t.throws(() => new VifNetwork({ ...place, device: 'a-long-guest' }), {
    code: 'E_ENGINE', message: /^a-long-guest is too long .* a vifname of 11 characters at most$/
  })
  t.equal(new VifNetwork({ ...place, device: 'a-long-gues' }).device, 'a-long-gues')
  t.end()
})
