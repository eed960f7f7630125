import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { RstShield, shieldTable } from '../../src/net/rst-shield.ts'
import { checkTcpResume, missingText, type SupportPartName } from '../../src/net/tcp-resume-support.ts'
import { inNamespace, run } from '../namespace.ts'

const options = { mark: 7, shieldName: 'support test' }
const load = createRequire(import.meta.url)

/** Packages without one of them, as on a machine where it was not installed. */
function without(name: string): (wanted: string) => unknown {
  return (wanted) => {
    if (wanted !== name) return load(wanted) as unknown
    throw Object.assign(new Error(`Cannot find module '${name}'`), { code: 'MODULE_NOT_FOUND' })
  }
}

if (inNamespace(t, fileURLToPath(import.meta.url))) {
  void t.test('with all rights and packages everything works, and nothing is left behind', async (t) => {
    const support = await checkTcpResume(options)
    const failed = support.parts.filter(({ ok }) => !ok)
    // Whether the kernel translates addresses is the machine's affair.
    t.same(failed.filter(({ part }) => part !== 'redirect'), [])
    t.equal(support.resumes, true)
    t.notMatch(run('nft', 'list', 'tables'), shieldTable(options.shieldName))
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
      t.match(missingText(support), `${part}: the package ${name}`)
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
    const program = "const { checkTcpResume } = await import('./src/net/tcp-resume-support.ts');"
      + `console.log(JSON.stringify(await checkTcpResume(${JSON.stringify(options)})))`
    const bare = ['--bounding-set=-net_admin,-net_raw', '--inh-caps=-net_admin,-net_raw']
    const node = [process.execPath, '--import=tsx', '--input-type=module', '-e', program]
    const { stdout, stderr } = spawnSync('setpriv', [...bare, ...node], { encoding: 'utf8' })
    const { parts, resumes } = JSON.parse(stdout || stderr) as Awaited<ReturnType<typeof checkTcpResume>>
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
