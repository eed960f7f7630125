import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { inNamespace, run } from '../namespace.ts'

const program = fileURLToPath(new URL('joinable.ts', import.meta.url))

interface Found {
  readonly guests: readonly string[]
  readonly lines: readonly { readonly event: string, readonly missing: string, readonly without: string }[]
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
    const { guests, lines } = find(t, [guest('a', '10.0.0.5:7'), guest('b', '10.0.0.6:7', 'off')])
    t.same(guests, ['a'])
    t.match(lines, [{ event: 'resume.possible' }])
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
      event: 'resume.impossible', missing: /^mark: .*; capture: .*cap_net_raw/,
      without: 'guests are served and their input is replicated, but they are not protected: '
        + "connections of a restored guest cannot be joined; guests see the gateway's address in place of "
        + "their clients': services cannot have the source 'client'"
    }])
    t.equal(lines.length, 1)
    t.end()
  })

  void t.test('where no guest wants it, nothing is tried and nothing said', (t) => {
    t.same(find(t, [guest('a', '10.0.0.5:7', 'off')]), { guests: [], lines: [] })
    t.end()
  })
}
