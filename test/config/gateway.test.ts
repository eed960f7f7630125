import t, { type Test } from 'tap'
import { parseConfig } from '../../src/config/load.ts'
import type { GatewayConfig } from '../../src/config/types.ts'

/** A file that protects one guest. */
const protectedGuest = `
name: gw1
state_dir: state
guests:
  - name: shop
    hosts:
      - { name: host-a, link: 127.0.0.1:7400 }
      - { name: host-b, link: "[::1]:7400" }
    services:
      - { name: redis, listen: *:6379, to: 10.0.0.5:6379 }
`

function read(text: string): GatewayConfig {
  const loaded = parseConfig(text, '/etc/tailgate', { environment: {} })
  if (!loaded.ok) throw new Error(loaded.problems.map(({ message }) => message).join('\n'))
  if (loaded.config.kind !== 'gateway') throw new Error('an agent file')
  return loaded.config
}

/** What is wrong with a file, as `line:column: message` each. */
function wrong(text: string, withFiles = false): readonly string[] {
  const loaded = parseConfig(text, '/etc/tailgate', { environment: {}, withFiles })
  return loaded.ok ? [] : loaded.problems.map(({ line, column, message }) => `${line}:${column}: ${message}`)
}

/** Puts lines into the guest of {@link protectedGuest}, before its hosts: the first is line 6 of the file. */
function withKeys(...lines: string[]): string {
  return protectedGuest.replace('    hosts:', `${lines.map((line) => `    ${line}`).join('\n')}\n    hosts:`)
}

/** As many problems as patterns, each like its own. */
function matches(t: Test, problems: readonly string[], patterns: readonly (string | RegExp)[]): void {
  t.match(problems, patterns)
  t.equal(problems.length, patterns.length, problems.join('; '))
}

void t.test('ten lines are enough, and every default is filled in', (t) => {
  const config = read(protectedGuest)
  const [guest] = config.guests
  t.equal(config.stateDir, '/etc/tailgate/state')
  t.equal(config.admin, '/etc/tailgate/state/admin.sock')
  t.equal(config.limits.heldBytes, 64 * 1024 * 1024)
  t.equal(guest?.attach, 'tcp')
  t.equal(guest?.leaseMs, 1000)
  t.same(guest?.heartbeat, { intervalMs: 100, misses: 5 })
  t.same(guest?.hosts.map(({ link }) => link),
    [{ host: '127.0.0.1', port: 7400 }, { host: '::1', port: 7400 }])
  t.same(guest?.services, [{
    name: 'redis', listen: { host: '', port: 6379 }, to: { host: '10.0.0.5', port: 6379 },
    source: 'gateway', release: 'epoch'
  }])
  t.end()
})

void t.test('the result cannot be changed', (t) => {
  const config = read(protectedGuest)
  t.ok(Object.isFrozen(config))
  t.ok(Object.isFrozen(config.guests[0]?.services[0]?.listen))
  t.throws(() => Object.assign(config.limits, { heldBytes: 1 }), TypeError)
  t.end()
})

void t.test('a guest without hosts is plain: released at once', (t) => {
  const config = read('{ name: g, state_dir: /s, guests: [{ name: web, services: '
    + '[{ name: http, listen: "127.0.0.1:80", to: "127.0.0.1:8080" }] }] }')
  t.same(config.guests[0]?.hosts, [])
  t.equal(config.guests[0]?.services[0]?.release, 'immediate')
  t.end()
})

void t.test('every error is reported, where it stands', (t) => {
  t.same(wrong(`
name: gw 1
state_dri: state
guests:
  - name: shop
    attatch: tcp
    hosts:
      - { name: host-a, link: 127.0.0.1 }
    lease: 1
    services:
      - { name: redis, listen: 127.0.0.1:6379, to: 10.0.0.5:0, release: now }
limits: { held: 64MB, connections: many }
`), [
    "1:1: the key 'state_dir' is missing",
    "2:7: 'gw 1' must be a name of at most 63 letters, digits, dots, dashes and underlines, none of them "
    + "at the ends",
    "3:1: unknown key 'state_dri'; did you mean 'state_dir'?",
    "6:5: unknown key 'attatch' in guests[0]; did you mean 'attach'?",
    "8:31: '127.0.0.1' must be an address such as 10.0.0.1:6379, [::1]:6379 or *:6379, with a port up to "
    + "65535",
    "9:12: '1' must be a duration with its unit, such as 200ms, 5s, 1m or 2h",
    "11:52: '10.0.0.5:0' must be an address to connect to, so the port cannot be 0",
    "11:73: 'now' must be one of epoch, checkpoint, immediate",
    "12:17: '64MB' must be a size with its unit, such as 64KiB, 256MiB or 4GiB",
    "12:36: 'many' must be a whole number"
  ])
  t.end()
})

void t.test('kinds of value that do not fit', (t) => {
  matches(t, wrong('name: [a]\nstate_dir: {}\nguests: 3\n'), [
    "1:7: must be a name, not a list", '2:12: must be a path, not a table', "3:9: must be a list of "
      + "guests, not '3'"
  ])
  matches(t, wrong(withKeys('durability:')), [/6:\d+: has no value; give one, or leave the key out/])
  matches(t, wrong('- a\n'), ["1:1: must be a gateway file, not a list"])
  matches(t, wrong(''), ['1:1: the file is empty'])
  matches(t, wrong('name: a\nname: b\n'), [/missing/, /missing/, '2:1: Map keys must be unique'])
  t.end()
})

void t.test('errors of YAML come with their place and what to do', (t) => {
  matches(t, wrong('name: gw1\nadmin: [::1]:80\n'), [/^2:13: .*an address in brackets must be in quotes/])
  matches(t, wrong('limits: { held: ${HELD} }\n'), [/^1:\d+: .*must be in quotes/])
  matches(t, wrong('name: "gw1\n'), [/^\d+:\d+: Missing closing "quote/])
  t.end()
})

void t.test('an anchor stands for its value, and an unknown one is an error', (t) => {
  const config = read(protectedGuest.replace('state_dir: state', 'state_dir: &d x\nadmin: *d'))
  t.equal(config.admin, '/etc/tailgate/x')
  matches(t, wrong(protectedGuest.replace('state_dir: state', 'state_dir: *d')), [/the unknown alias \*d/])
  t.end()
})

void t.test('values are within their limits', (t) => {
  matches(t, wrong(withKeys('checkpoint_interval: 1ms')), ["6:26: '1ms' must be from 10ms to 24h"])
  matches(t, wrong(withKeys('heartbeat: { misses: 1 }')), ["6:26: '1' must be from 2 to 1000"])
  t.end()
})

void t.test('a lease is not shorter than the silence that counts as death', (t) => {
  matches(t, wrong(withKeys('lease: 400ms')),
    [/^6:12: `lease` \(400ms\) is smaller than .* \(500ms\): the guest's network/])
  matches(t, wrong(withKeys('heartbeat: { interval: 1s }')),
    [/^6:16: `lease` \(1s\) is smaller than .* \(5s\)/])
  t.same(wrong(withKeys('lease: 500ms')), [])
  t.end()
})

void t.test('limits that contradict each other', (t) => {
  const limits = (text: string): readonly string[] => wrong(`${protectedGuest}limits: { ${text} }\n`)
  matches(t, limits('held: 64KiB'),
    [/^11:17: `limits.held` \(64KiB\) is smaller than `limits.client_buffer` \(256KiB\)/])
  matches(t, limits('in_flight: 512KiB'), [/^11:22: `limits.in_flight` .* a full epoch could never leave/])
  matches(t, wrong(withKeys('log: { total: 128MiB }')), [/^6:19: `log.total` .* includes what is in memory/])
  t.same(limits('epoch: 16MiB'), [])
  matches(t, wrong(`${withKeys('log: { memory: 1MiB }')}limits: { epoch: 2MiB }\n`),
    [/^6:20: `log.memory` \(1MiB\) is smaller than `limits.epoch` \(2MiB\)/])
  t.end()
})

void t.test('names are unique where they must be', (t) => {
  const twice = (from: string, to: string): readonly string[] => wrong(protectedGuest.replace(from, to))
  matches(t, twice('name: host-b', 'name: host-a'),
    [/'host-a' is also the name of another host/, /one agent only/])
  matches(t, wrong(`${protectedGuest}      - { name: redis, listen: *:6380, to: 10.0.0.5:6380 }\n`),
    [/'redis' is also the name of another service/])
  const second = '  - { name: shop, services: [{ name: x, listen: "*:1", to: "127.0.0.1:2" }] }\n'
  matches(t, wrong(protectedGuest + second), [/^11:13: 'shop' is also the name of another guest/])
  t.end()
})

void t.test('a host has one link, and a link one host', (t) => {
  const second = (host: string): readonly string[] => wrong(`${protectedGuest}  - name: other
    hosts: [${host}]
    services: [{ name: x, listen: "*:1", to: "127.0.0.1:2" }]\n`)
  t.same(second('{ name: host-a, link: "127.0.0.1:7400" }'), [])
  matches(t, second('{ name: host-a, link: "127.0.0.1:7401" }'), [/has the link 127.0.0.1:7400 elsewhere/])
  matches(t, second('{ name: host-c, link: "127.0.0.1:7400" }'), [/is the link of host 'host-a' already/])
  t.end()
})

void t.test('nothing listens where something else does', (t) => {
  matches(t, wrong(`${protectedGuest}metrics: 127.0.0.1:6379\n`),
    [/^10:\d+: \*:6379 collides with 127.0.0.1:6379/])
  matches(t, wrong(`${protectedGuest}      - { name: b, listen: 10.0.0.1:6379, to: 10.0.0.5:1 }\n`),
    [/collides with \*:6379/])
  matches(t, wrong(protectedGuest.replace('*:6379', '10.0.0.5:6379')),
    [/is the address that the gateway itself listens on/])
  t.end()
})

void t.test('links that leave the machine need TLS', (t) => {
  const outside = protectedGuest.replace('127.0.0.1:7400', '10.0.0.1:7400')
  matches(t, wrong(outside), [/^7:31: 10.0.0.1:7400 is not a loopback address, so the link needs `tls`/])
  const tls = 'tls: { ca: ca.crt, cert: gw1.crt, key: gw1.key }\n'
  t.same(wrong(outside + tls), [])
  t.same(wrong(outside + tls, true), [
    '11:12: /etc/tailgate/ca.crt does not exist',
    '11:26: /etc/tailgate/gw1.crt does not exist',
    '11:40: /etc/tailgate/gw1.key does not exist'
  ])
  t.end()
})

void t.test('a fence is a program that is there', (t) => {
  const fence = (words: string): readonly string[] =>
    wrong(protectedGuest.replace('127.0.0.1:7400', `127.0.0.1:7400, fence: ${words}`), true)
  t.same(fence('[sh, -c, "exit 0"]'), [], 'a name is looked up when it is called')
  t.same(fence(`[${process.execPath}]`), [])
  matches(t, fence('[/nowhere/fence]'), [/the program \/nowhere\/fence does not exist/])
  matches(t, fence('[/etc]'), [/is not a file/])
  matches(t, fence('[/etc/passwd]'), process.getuid?.() === undefined ? [] : [/cannot be executed/])
  matches(t, fence('[./fence]'), [/must be an absolute path/])
  matches(t, fence('[]'), [/must begin with a program/])
  t.end()
})

void t.test('keys that have no effect are errors', (t) => {
  const plain = protectedGuest.replace(/    hosts:\n.*\n.*\n/, '')
  t.same(wrong(plain), [])
  matches(t, wrong(plain.replace('    services:', '    lease: 5s\n    services:')),
    [/^6:12: `lease` has no effect on a guest/])
  matches(t, wrong(plain.replace('6379 }', '6379, release: epoch }')), [/`epoch` waits for a backup/])
  matches(t, wrong(plain.replace('    services:', '    attach: embedded\n    services:')),
    [/needs a host whose agent runs the guest/, /`to` has no place/])
  const one = protectedGuest.replace(/.*host-b.*\n/, '    on_link_loss: stall\n')
  matches(t, wrong(one), [/a guest with one host never has one/])
  t.end()
})

void t.test('`to` belongs to attach tcp', (t) => {
  const untold = protectedGuest.replace(', to: 10.0.0.5:6379', '')
  matches(t, wrong(untold), [/^10:9: the key 'to' is missing/])
  matches(t, wrong(withKeys('attach: embedded')), [/^11:\d+: `to` has no place with attach `embedded`/])
  t.same(wrong(untold.replace('    hosts:', '    attach: embedded\n    hosts:')), [])
  t.end()
})

void t.test('source client is for attach tcp', (t) => {
  const clients = protectedGuest.replace('6379 }', '6379, source: client }')
  t.equal(read(clients).guests[0]?.services[0]?.source, 'client')
  const embedded = clients.replace(', to: 10.0.0.5:6379', '')
    .replace('    hosts:', '    attach: embedded\n    hosts:')
  matches(t, wrong(embedded), [/^11:\d+: `client` has no place with attach `embedded`/])
  t.end()
})

void t.test('an admin socket has a path that fits', (t) => {
  matches(t, wrong(`${protectedGuest}admin: /run/${'x'.repeat(110)}\n`), [/^11:8: .* has 115 bytes/])
  matches(t, wrong(protectedGuest.replace('state_dir: state', `state_dir: /${'x'.repeat(100)}`)),
    [/^3:12: .* has 112 bytes/])
  t.end()
})

void t.test('lists that must not be empty', (t) => {
  matches(t, wrong('{ name: g, state_dir: s, guests: [] }'), [/must have at least one guest/])
  matches(t, wrong('{ name: g, state_dir: s, guests: [{ name: a, services: [] }] }'),
    [/at least one service/])
  t.end()
})

void t.test('there is a guest for every worker, and a connection', (t) => {
  t.equal(read(protectedGuest).workers, 1)
  matches(t, wrong(`${protectedGuest}workers: 2\n`),
    [/^11:10: 2 workers, and there is one guest: a guest is served by one worker/])
  const second = '  - { name: wiki, services: [{ name: x, listen: "*:1", to: "127.0.0.1:2" }] }\n'
  t.equal(read(`${protectedGuest}${second}workers: 2\n`).workers, 2)
  matches(t, wrong(`${protectedGuest}${second}workers: 3\n`), [/3 workers, and there are 2 guests/])
  matches(t, wrong(`${protectedGuest}${second}workers: 2\nlimits: { connections: 1 }\n`),
    [/`limits.connections` \(1\) is smaller than `workers` \(2\)/])
  matches(t, wrong(`${protectedGuest}workers: 65\n`), [/'65' must be from 1 to 64/])
  t.end()
})
