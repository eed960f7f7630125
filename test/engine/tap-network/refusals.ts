import { execFileSync, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { TailgateError } from '../../../src/base/errors.ts'
import { withSystemPrograms } from '../../../src/engine/system-programs.ts'
import { deviceNameOf, TapNetwork } from '../../../src/engine/tap-network.ts'
import { clientMac, guestMac, ip, makeBridge, Scene, Station } from './ethernet.ts'

/** Says what becomes of a gate. */
const program = fileURLToPath(new URL('prepare.ts', import.meta.url))

function prepared(t: Test, bridge: string): Promise<void> {
  const network = new TapNetwork({ guest: 'g', bridge, mac: guestMac, addresses: [] })
  t.teardown(() => network.close())
  return network.prepare()
}

function nft(statement: string): void {
  execFileSync('nft', [statement], { env: withSystemPrograms(process.env) })
}

void t.test('a bridge that cannot serve is named', async (t) => {
  await t.rejects(prepared(t, 'lan'), { code: 'E_ENGINE', message: /^there is no bridge lan on this host/ })
  await t.rejects(prepared(t, 'lo'), { code: 'E_ENGINE', message: /^lo is not a bridge/ })
  makeBridge(t, 'lan')
  ip('link', 'set', 'dev', 'lan', 'type', 'bridge', 'stp_state', '1')
  await t.rejects(prepared(t, 'lan'), { code: 'E_ENGINE', message: /spanning tree.*stp_state 0$/ })
  ip('link', 'set', 'dev', 'lan', 'type', 'bridge', 'stp_state', '0')
  ip('link', 'add', 'name', 'tg-g', 'type', 'bridge')
  await t.rejects(prepared(t, 'lan'), { code: 'E_ENGINE', message: /tg-g is there and is no tap device/ })
  ip('link', 'delete', 'dev', 'tg-g')
})

void t.test('the device of a machine that runs already is adopted, and never removed', async (t) => {
  makeBridge(t, 'lan')
  const network = new TapNetwork({ guest: 'g', bridge: 'lan', mac: guestMac, addresses: [] })
  await t.rejects(network.adopt(), { code: 'E_ENGINE', message: /^there is no device tg-g on this host/ })
  const guest = Station.at(t, 'tg-g', guestMac)
  const client = Station.on(t, 'lan', 'client', clientMac)
  const index = (): string => ip('-o', 'link', 'show', 'dev', 'tg-g').split(':')[0] ?? ''
  const made = index()
  const refusal = { code: 'E_ENGINE', message: /^tg-g is the device of another program's machine/ }
  await t.rejects(prepared(t, 'lan'), refusal)
  ip('link', 'set', 'dev', 'tg-g', 'up')
  await network.adopt()
  t.notMatch(ip('-o', 'link', 'show', 'dev', 'tg-g'), /[<,]UP[,>]/, 'it is shut, although it was up')
  await network.open()
  let sent = 0
  await client.until('a frame of the guest', () => guest.send(++sent) && client.from(guestMac).length > 0)
  await network.close()
  t.equal(index(), made, 'it is the same device')
  t.notMatch(ip('-o', 'link', 'show', 'dev', 'tg-g'), / master /, 'and nobody is reached from it')
})

void t.test('a gate is not taken away from before the guest of an agent that died', async (t) => {
  makeBridge(t, 'lan')
  const guest = Station.at(t, 'tg-g', guestMac)
  const client = Station.on(t, 'lan', 'client', clientMac)
  const before = new TapNetwork({ guest: 'g', bridge: 'lan', mac: guestMac, addresses: [] })
  await before.adopt()
  await before.open()
  let sent = 0
  await client.until('a frame of the guest', () => guest.send(++sent) && client.from(guestMac).length > 0)
  const after = new TapNetwork({ guest: 'g', bridge: 'lan', mac: guestMac, addresses: [] })
  await t.rejects(after.prepare(), { code: 'E_ENGINE' })
  t.match(ip('-o', 'link', 'show', 'dev', 'tg-g'), / master lan /)
  await after.close()
  t.notMatch(ip('-o', 'link', 'show', 'dev', 'tg-g'), / master /, 'nobody is reached past the gate')
  await before.close()
})

void t.test('a device that others have made is left as it is by who has not adopted it', async (t) => {
  makeBridge(t, 'lan')
  ip('tuntap', 'add', 'dev', 'tg-g', 'mode', 'tap')
  t.teardown(() => ip('link', 'delete', 'dev', 'tg-g'))
  ip('link', 'set', 'dev', 'tg-g', 'master', 'lan')
  const network = new TapNetwork({ guest: 'g', bridge: 'lan', mac: guestMac, addresses: [] })
  await t.rejects(network.prepare(), { code: 'E_ENGINE' })
  await network.close()
  t.match(ip('-o', 'link', 'show', 'dev', 'tg-g'), / master lan /)
})

void t.test('without nft, or the right to use it, one sentence says so', (t) => {
  const say = (...before: readonly string[]): string => spawnSync('unshare',
    [...before, process.execPath, ...process.execArgv, program],
    { encoding: 'utf8', env: withSystemPrograms(process.env) }).stdout
  // In a user namespace of its own it may do nothing to the network, which belongs to this one.
  t.match(say('-U'), /^E_ENGINE .*CAP_NET_ADMIN, with systemd by AmbientCapabilities=\n$/)
  const hidden = say('-rm', 'sh', '-c', 'mount -t tmpfs none /usr/sbin && exec "$@"', 'sh')
  t.equal(hidden, 'E_ENGINE there is no nft on this host: install the package nftables\n')
  t.end()
})

void t.test('what nft says about a terminal that it does not know is not an answer', (t) => {
  const words = ['-rn', 'env', 'TERM=nonsense', process.execPath, ...process.execArgv, program]
  const { stdout } = spawnSync('unshare', words, {
    encoding: 'utf8', env: withSystemPrograms(process.env)
  })
  t.equal(stdout, 'made\n')
  t.end()
})

void t.test('a gate that another program has taken away shuts, and its owner hears of it', async (t) => {
  const scene = await Scene.set(t)
  const failed = new Promise<string>((resolve) => { scene.network.onFailure = resolve })
  scene.network.renewLease(60_000)
  await scene.network.open()
  await scene.untilPasses(true, 1)
  nft('flush ruleset')
  scene.network.renewLease(120_000)
  t.match(await failed, /the gate of tg-g could not be opened; if nft\(8\) has removed the table/)
  t.same(await scene.passes(5000), [false, false])
  await t.rejects(scene.network.open(), TailgateError)
  t.same(await scene.passes(6000), [false, false])
})

void t.test('devices have names that the kernel takes', (t) => {
  t.equal(deviceNameOf('redis'), 'tg-redis')
  t.match(deviceNameOf('a-guest-with-a-long-name'), /^tg-[0-9a-f]{8}$/)
  t.match(deviceNameOf('a b'), /^tg-[0-9a-f]{8}$/)
  t.not(deviceNameOf('a-guest-with-a-long-name'), deviceNameOf('a-guest-with-a-long-name2'))
  t.end()
})
