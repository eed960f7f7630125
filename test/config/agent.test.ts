import t from 'tap'
import { parseConfig } from '../../src/config/load.ts'
import type { AgentConfig } from '../../src/config/types.ts'

const head = 'name: host-a\nlink: 127.0.0.1:7400\ndata_dir: data\ngateways: [gw1]\n'
const embedded = `${head}guests:\n  - { name: shop, engine: embedded, listen: ["127.0.0.1:0"] }\n`

function read(text: string): AgentConfig {
  const loaded = parseConfig(text, '/etc/tailgate', { environment: {}, kind: 'agent' })
  if (!loaded.ok) throw new Error(loaded.problems.map(({ message }) => message).join('\n'))
  if (loaded.config.kind !== 'agent') throw new Error('a gateway file')
  return loaded.config
}

/** What is wrong with a file, as `line:column: message` each. */
function wrong(text: string): readonly string[] {
  const loaded = parseConfig(text, '/etc/tailgate', { environment: {}, kind: 'agent' })
  return loaded.ok ? [] : loaded.problems.map(({ line, column, message }) => `${line}:${column}: ${message}`)
}

/** What is wrong with one guest beside {@link head}. */
function wrongGuest(guest: string): readonly string[] {
  return wrong(`${head}guests:\n  - { name: shop, ${guest} }\n`)
}

void t.test('an agent with the embedded guest', (t) => {
  const config = read(embedded)
  t.equal(config.dataDir, '/etc/tailgate/data')
  t.same(config.gateways, ['gw1'])
  t.same(config.peers, [])
  t.same(config.guests, [{ engine: 'embedded', name: 'shop', listen: [{ host: '127.0.0.1', port: 0 }] }])
  t.ok(Object.isFrozen(config.guests[0]))
  t.end()
})

void t.test('each engine has its own keys', (t) => {
  const guests = read(`${head}guests:
  - { name: a, engine: blackhole, unsafe: true, endpoints: ["127.0.0.1:1"], pid_file: a.pid }
  - { name: b, engine: blackhole, unsafe: true, endpoints: ["127.0.0.1:1"], pids: [71, 72] }
  - { name: c, engine: none, endpoints: ["127.0.0.1:2"] }
`).guests
  t.match(guests[0], { engine: 'blackhole', pids: [], pidFile: '/etc/tailgate/a.pid' })
  t.match(guests[1], { engine: 'blackhole', pids: [71, 72], pidFile: undefined })
  t.same(guests[2], { engine: 'none', name: 'c', endpoints: [{ host: '127.0.0.1', port: 2 }] })

  t.same(wrongGuest('engine: embedded, listen: ["*:0"], endpoints: ["10.0.0.1:1"]'),
    ['6:65: `endpoints` has no place with engine `embedded`'])
  t.same(wrongGuest('engine: none, listen: ["*:0"], endpoints: ["10.0.0.1:1"], pids: [7], unsafe: true'), [
    '6:41: `listen` has no place with engine `none`',
    '6:83: `pids` has no place with engine `none`',
    '6:96: `unsafe` has no place with engine `none`'
  ])
  t.same(wrongGuest('engine: embedded'), ['6:5: engine `embedded` needs `listen`: one address for each '
    + 'service'])
  t.same(wrongGuest('engine: none'), ['6:5: engine `none` needs `endpoints`: one address for each service'])
  t.same(wrongGuest('engine: embedded, listen: ["*:1", "127.0.0.1:2"]'),
    ['6:45: an embedded guest listens on one address, with a port for each service; *:1 and 127.0.0.1:2 are '
      + 'on two'])
  t.same(wrongGuest('engine: lxc'), ["6:27: 'lxc' must be one of xen, qemu, embedded, blackhole, none"])
  t.end()
})

void t.test('a domain of Xen', (t) => {
  const keys = 'engine: xen, endpoints: ["10.0.0.9:80"]'
  const network = 'network: { vif: shop0, bridge: guests, mac: "00:16:3e:00:00:09" }'
  const endpoints = [{ host: '10.0.0.9', port: 80 }]
  t.same(read(`${head}guests:\n  - { name: shop, ${keys}, ${network} }\n`).guests, [{
    engine: 'xen', name: 'shop', domain: 'shop', config: undefined, checkpoints: 'remus', endpoints,
    network: { vif: 'shop0', bridge: 'guests', mac: '00:16:3e:00:00:09' }
  }])
  const named = `${keys}, ${network}, domain: d9, config: d9.cfg`
  t.match(read(`${head}guests:\n  - { name: shop, ${named} }\n`).guests,
    [{ domain: 'd9', config: '/etc/tailgate/d9.cfg' }])
  t.same(wrongGuest(keys), ['6:5: engine `xen` needs `network`: how the guest is joined to the network'])
  t.same(wrongGuest(`${keys}, network: { tap: t0, bridge: b, mac: "00:16:3e:00:00:09", card: [a] }`), [
    '6:69: engine `xen` needs `vif`: the name of the guest\'s device',
    '6:76: `tap` has no place with engine `xen`',
    '6:123: `card` has no place with engine `xen`: the domain\'s configuration describes it'
  ])
  t.match(wrongGuest(`${keys}, ${network.replace('shop0', 'shop-is-long')}`), [/'shop-is-long' is too long/])
  t.match(wrongGuest(`${keys}, ${network}, domain: "a b"`), [/'a b' is no name that Xen gives a domain/])
  t.end()
})

void t.test('a QEMU guest', (t) => {
  const network = 'network: { tap: vm0, bridge: guests, mac: "52:54:00:77:00:0A" }'
  const whole = `engine: qemu, endpoints: ["10.0.0.9:6379"], arguments: [-m, 96], ${network}`
  const disks = 'disks: [{ base: a.img, format: raw }]'
  t.same(read(`${head}guests:\n  - { name: shop, ${whole}, ${disks} }\n`).guests, [{
    engine: 'qemu', name: 'shop', endpoints: [{ host: '10.0.0.9', port: 6379 }], arguments: ['-m', '96'],
    program: ['qemu-system-x86_64'], attach: undefined,
    network: { tap: 'vm0', bridge: 'guests', mac: '52:54:00:77:00:0a', card: [] },
    disks: [{ base: '/etc/tailgate/a.img', format: 'raw' }]
  }])
  t.match(wrongGuest('engine: qemu, endpoints: ["10.0.0.9:6379"]'),
    [/needs `network`/, /needs `arguments`.*`qmp`/])
  t.match(wrongGuest(whole.replace('-m, 96', '-S, --netdev, user')),
    [/'-S' has no place here: the agent decides/, /'--netdev' has no place here: the network/])
  t.match(wrongGuest(whole.replace('00:0A', '00:0')), [/must be the MAC address of one card/])
  t.match(wrongGuest(whole.replace('52:', '53:')), [/must be the MAC address of one card/], 'not of a group')
  t.match(wrongGuest(whole.replace('vm0', 'a-name-that-is-too-long')), [/1 to 15 characters/])
  t.match(wrongGuest(`engine: qemu, endpoints: ["10.0.0.9:1"], qmp: q, ${network}, disks: [{ base: a }]`),
    [/a machine that runs already has its own/])
  t.match(wrong(embedded.replace('data_dir: data', `data_dir: ${'d'.repeat(100)}`)
    .replace(/{ name: .* }/, `{ name: shop, ${whole} }`)), [/may have 107 bytes, not \d+/])
  t.end()
})

void t.test('a blackhole is asked for by name, with one way to find its processes', (t) => {
  const endpoints = 'engine: blackhole, endpoints: ["10.0.0.1:1"]'
  t.same(wrongGuest(`${endpoints}, pids: [7]`),
    ['6:27: a guest under `blackhole` is never protected; say `unsafe: true` if that is what you want'])
  t.same(wrongGuest(`${endpoints}, unsafe: true`), ['6:5: engine `blackhole` needs one of `pids` and '
    + '`pid_file`'])
  t.same(wrongGuest(`${endpoints}, unsafe: true, pids: [7], pid_file: x`),
    ['6:5: engine `blackhole` needs one of `pids` and `pid_file`, not both'])
  t.same(wrongGuest(`${endpoints}, unsafe: yes, pids: [1]`),
    ["6:73: 'yes' must be true or false", "6:85: '1' must be from 2 to 4194304"])
  t.end()
})

void t.test('what does not fit together', (t) => {
  t.same(wrong(embedded.replace('127.0.0.1:7400', '*:7400')),
    ['2:7: *:7400 is not a loopback address, so the link needs `tls`; `tailgate certs` makes the files'])
  t.same(wrong(`${embedded}metrics: 127.0.0.1:7400\n`), ['7:10: 127.0.0.1:7400 collides with 127.0.0.1:7400, '
    + 'which is listened on too'])
  t.same(wrong(`${embedded}peers: [host-b, host-a]\n`), ["7:17: 'host-a' is this host itself; name the "
    + "others"])
  t.same(wrong(`${embedded}  - { name: shop, engine: none, endpoints: ["10.0.0.1:1"] }\n`),
    ["7:13: 'shop' is also the name of another guest"])
  t.same(wrong(embedded.replace('[gw1]', '[]')),
    ['4:11: must have at least one name: nobody could command this agent'])
  t.same(wrong(`${head}guests: []\n`), ['5:9: must have at least one guest'])
  t.end()
})
