import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { RstShield, shieldTable } from '../../src/net/rst-shield.ts'
import {
  checkTcpResume, missingText, withoutText, type SupportPartName, type TcpResumeSupport
} from '../../src/net/tcp-resume-support.ts'
import { inNamespace, run } from '../namespace.ts'

const options = { family: 4, mark: 7, shieldName: 'support test' } as const
const withoutIpv6 = new URL('without-ipv6.ts', import.meta.url).href
const load = createRequire(import.meta.url)

/** Packages without one of them, as on a machine where it was not installed. */
function without(name: string): (wanted: string) => unknown {
  return (wanted) => {
    if (wanted !== name) return load(wanted) as unknown
    throw Object.assign(new Error(`Cannot find module '${name}'`), { code: 'MODULE_NOT_FOUND' })
  }
}

/** What a process that is started by `words` finds. */
function checkIn(words: readonly string[], family: 4 | 6 = 4): TcpResumeSupport {
  const program = "const { checkTcpResume } = await import('./src/net/tcp-resume-support.ts');"
    + `console.log(JSON.stringify(await checkTcpResume(${JSON.stringify({ ...options, family })})))`
  const [first, ...rest] = [...words, process.execPath, '--import=tsx', '--input-type=module', '-e', program]
  return JSON.parse(run(first ?? '', ...rest)) as TcpResumeSupport
}

if (inNamespace(t, fileURLToPath(import.meta.url))) {
  void t.test('with all rights and packages everything works, and nothing is left behind', async (t) => {
    for (const family of [4, 6] as const) {
      const support = await checkTcpResume({ ...options, family })
      const failed = support.parts.filter(({ ok }) => !ok)
      // Whether the kernel translates addresses is the machine's affair.
      t.same(failed.filter(({ part }) => part !== 'redirect'), [])
      t.equal(support.resumes, true)
      t.notMatch(run('nft', 'list', 'tables'), shieldTable(options.shieldName))
    }
  })

  void t.test('without IPv6 in the kernel it is told for IPv6 only', (t) => {
    const without6 = ['env', `NODE_OPTIONS=--import=tsx --import=${withoutIpv6}`]
    t.equal(checkIn(without6).resumes, true)
    const support = checkIn(without6, 6)
    t.equal(support.resumes, false)
    const parts = new Map(support.parts.map((part) => [part.part, part]))
    for (const part of ['info', 'mark', 'repair', 'transparent'] as const) {
      t.match(parts.get(part), { missing: /EAFNOSUPPORT \(this kernel has no IPv6, or .*ipv6.disable=1\)/ })
    }
    t.match(parts.get('probe'), { missing: /IPv6 cannot be opened: Address family not supported[^;]*$/ })
    for (const part of ['calls', 'capture', 'shield'] as const) t.equal(parts.get(part)?.ok, true)
    t.end()
  })

  const packages: readonly [string, SupportPartName][] = [
    ['koffi', 'calls'], ['raw-socket', 'probe'], ['pcap', 'capture']
  ]
  for (const [name, part] of packages) {
    void t.test(`without the package ${name}`, async (t) => {
      const support = await checkTcpResume({ ...options, load: without(name) })
      t.equal(support.resumes, false)
      const found = support.parts.find((one) => one.part === part)
      t.match(found, {
        ok: false,
        missing: `the package ${name} is not installed: run npm install ${name} && npm rebuild ${name}`,
        without: /cannot be joined/
      })
      t.match(missingText(support), new RegExp(`^${part}[a-z, ]*: the package ${name} [^;]*$`))
      t.match(withoutText(support), /^guests are served [^;]* cannot be joined(;|$)/)
    })
  }

  void t.test('a package that was built for another Node', async (t) => {
    const broken = (wanted: string): unknown => {
      if (wanted === 'pcap') throw new Error('wrong ELF class')
      return load(wanted) as unknown
    }
    const { parts } = await checkTcpResume({ ...options, load: broken })
    t.match(parts.find(({ part }) => part === 'capture'), {
      missing: 'the package pcap cannot be loaded (wrong ELF class): run npm install pcap && npm rebuild pcap'
    })
  })

  void t.test('without nft', async (t) => {
    const support = await checkTcpResume({ ...options, nft: '/nowhere/nft' })
    t.equal(support.resumes, false)
    t.match(support.parts.find(({ part }) => part === 'shield'), { missing: /install the package nftables/ })
  })

  void t.test('without capabilities each part says which one it wants', (t) => {
    const bare = ['--bounding-set=-net_admin,-net_raw', '--inh-caps=-net_admin,-net_raw']
    const { parts, resumes } = checkIn(['setpriv', ...bare])
    t.equal(resumes, false)
    const told = new Map(parts.map((part) => [part.part, part.ok ? 'ok' : part.missing]))
    t.equal(told.get('calls'), 'ok')
    t.equal(told.get('info'), 'ok')
    for (const part of ['mark', 'repair', 'transparent'] as const) {
      t.match(told.get(part), /EPERM \(the right is missing: give cap_net_admin,cap_net_raw\)/)
    }
    t.match(told.get('probe'), /capability cap_net_raw/)
    t.match(told.get('capture'), /capability cap_net_raw/)
    t.match(told.get('shield'), /capability cap_net_admin/)
    t.end()
  })

  void t.test('with the two capabilities as ambient ones root is not needed', (t) => {
    // Only root can become another user here; in a user namespace anybody can be called one.
    const nobody = ['-Un', '--map-user=65534', '--map-group=65534', '--keep-caps']
    const up = ['sh', '-c', 'ip link set lo up && exec "$@"', 'sh']
    const two = '=-all,+net_admin,+net_raw'
    const setpriv = ['setpriv', `--inh-caps${two}`, `--ambient-caps${two}`, `--bounding-set${two}`]
    const words = [...nobody, ...up, ...setpriv]
    const says = run('unshare', ...words, 'sh', '-c', 'id -u; grep ^Cap /proc/self/status')
    const sets = ['Inh', 'Prm', 'Eff', 'Bnd', 'Amb'].map((set) => `Cap${set}:\t0000000000003000\n`)
    t.equal(says, `65534\n${sets.join('')}`, 'CAP_NET_ADMIN is bit 12, CAP_NET_RAW 13')
    for (const family of [4, 6] as const) {
      const { parts, resumes } = checkIn(['unshare', ...words], family)
      t.same(parts.filter(({ part, ok }) => !ok && part !== 'redirect'), [])
      t.equal(resumes, true)
    }
    t.end()
  })

  void t.test('the shield: armed twice, found by a later process, taken away once', async (t) => {
    const shield = new RstShield({ name: 'a-b', mark: 7 })
    await shield.arm(['10.0.0.1', '10.0.0.1'])
    await shield.arm(['10.0.0.2', 'fd00::2'])
    const rules = run('nft', 'list', 'table', 'inet', shield.table)
    t.match(rules, /ip daddr 10\.0\.0\.2 tcp flags & rst == rst meta mark != 0x0+7 drop/)
    t.match(rules, /ip6 daddr fd00::2 /)
    t.notMatch(rules, '10.0.0.1')
    const later = new RstShield({ name: 'a-b', mark: 7 })
    await later.disarm()
    t.throws(() => run('nft', 'list', 'table', 'inet', shield.table))
    await later.disarm()
    t.not(shieldTable('a-b'), shieldTable('a_b'), 'other names are other tables')
  })
}
