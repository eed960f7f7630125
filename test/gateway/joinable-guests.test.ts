import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { inNamespace, run } from '../namespace.ts'

const withoutIpv6 = new URL('../net/without-ipv6.ts', import.meta.url).href
const without6 = ['env', `NODE_OPTIONS=--import=tsx --import=${withoutIpv6}`]
const program = fileURLToPath(new URL('joinable.ts', import.meta.url))

interface Found {
  readonly guests: readonly string[]
  readonly lines: readonly {
    readonly event: string, readonly family: string, readonly missing: string, readonly without: string
  }[]
}

/** A guest with hosts and one service. */
function guest(name: string, to: string, resume = 'auto'): string {
  const hosts = [1, 2].map((n) => `{ name: host-${n}, link: "127.0.0.1:${7400 + n}" }`).join(', ')
  return `  - { name: ${name}, resume: ${resume}, hosts: [${hosts}], `
    + `services: [{ name: echo, listen: "127.0.0.1:0", to: "${to}" }] }\n`
}

/** What a process that is started by `words` finds for these guests. */
function find(t: Test, guests: readonly string[], ...words: readonly string[]): Found {
  const file = join(t.testdir({}), 'gateway.yaml')
  writeFileSync(file, `name: gw\nstate_dir: state\nadmin: /run/gw.sock\nguests:\n${guests.join('')}`)
  const [first, ...rest] = [...words, process.execPath, '--import=tsx', program, file]
  return JSON.parse(run(first ?? '', ...rest)) as Found
}

if (inNamespace(t, fileURLToPath(import.meta.url))) {
  void t.test('where everything works, guests can be joined, and one line says so', (t) => {
    const { guests, lines } = find(t, [guest('a', '10.0.0.5:7'), guest('b', '[fd00::6]:7', 'off')])
    t.same(guests, ['a'])
    t.match(lines, [{ event: 'resume.possible', family: 'IPv4' }])
    t.equal(lines.length, 1)
    // Whether the kernel translates addresses is the machine's affair.
    for (const { missing, without } of lines) t.equal(missing === '', without === '')
    t.end()
  })

  void t.test('without rights, the line says what is missing and what can be done without', (t) => {
    const weak = ['setpriv', '--bounding-set=-net_admin,-net_raw', '--inh-caps=-net_admin,-net_raw']
    const { guests, lines } = find(t, [guest('a', '10.0.0.5:7')], ...weak)
    t.same(guests, [])
    t.match(lines, [{
      event: 'resume.impossible', family: 'IPv4', missing: /^mark: .*; capture: .*cap_net_raw/,
      without: 'guests are served and their input is replicated, but they are not protected: '
        + "connections of a restored guest cannot be joined; guests see the gateway's address in place of "
        + "their clients': services cannot have the source 'client'"
    }])
    t.equal(lines.length, 1)
    t.end()
  })

  void t.test('without IPv6, guests with IPv4 addresses are joined, and IPv6 is told only to those', (t) => {
    const four = guest('four', '10.0.0.5:7')
    const { lines: [line, ...more], ...found } = find(t, [four], ...without6)
    t.match([found.guests, line?.event, line?.family], [['four'], 'resume.possible', 'IPv4'])
    t.notMatch(line?.missing, /IPv6/)
    t.same(more, [])
    const { guests, lines } = find(t, [four, guest('six', '[fd00::5]:7')], ...without6)
    t.same(guests, ['four'])
    t.match(lines, [
      { event: 'resume.possible', family: 'IPv4' },
      { event: 'resume.impossible', family: 'IPv6', missing: /no IPv6/, without: /not protected/ }
    ])
    t.end()
  })

  void t.test('a host name counts as the address that it has, and as IPv4 where it has none', (t) => {
    const script = 'echo fd00::7 named >"$0" && mount --bind "$0" /etc/hosts && exec "$@"'
    const named = ['unshare', '-m', 'sh', '-c', script, join(t.testdirName, 'hosts')]
    const { guests, lines } = find(t, [guest('a', 'named:7'), guest('b', 'no-name.invalid:7')], ...named)
    t.same(guests, ['a', 'b'])
    t.same(lines.map(({ family }) => family), ['IPv4', 'IPv6'])
    t.end()
  })

  void t.test('where no guest wants it, nothing is tried and nothing said', (t) => {
    t.same(find(t, [guest('a', '10.0.0.5:7', 'off')]), { guests: [], lines: [] })
    t.end()
  })
}
