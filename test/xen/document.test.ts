import { readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import { parseConfig } from '../../src/config/load.ts'
import { agentCommand, commandsOf } from './document.ts'

// docs/XEN.md and deploy/xen against the code and each other; test/xen/cases do what they say.

const textOf = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
const parsed = (text: string): unknown =>
  parseConfig(text, '/etc/tailgate', { withFiles: false, environment: {} })
const agentFile = textOf('deploy/xen/agent.yaml')
const guestFile = textOf('deploy/xen/guest.cfg')
const blocks = [...textOf('docs/XEN.md').matchAll(/^```yaml\n(.*?)^```$/gms)].map(([, block = '']) => block)

interface AgentFile {
  readonly guests: readonly [{ readonly config: string, readonly network: Readonly<Record<string, string>> }]
}

void t.test('the example of an agent is right as it is', (t) => {
  t.match(parsed(agentFile), { ok: true, config: { kind: 'agent', guests: [{ engine: 'xen' }] } })
  t.end()
})

void t.test("and has what the document shows, but for what it leaves out", (t) => {
  const shown = blocks.find((block) => block.includes('engine: xen')) ?? ''
  t.match(parse(shown), { guests: (parse(agentFile) as AgentFile).guests })
  const before = agentFile.slice(0, agentFile.indexOf('guests:'))
  t.match(parsed(`${before}${shown}`), { ok: true })
  t.end()
})

void t.test('the gateway file of the document is right as it is', (t) => {
  const shown = blocks.find((block) => block.includes('state_dir')) ?? ''
  t.match(parsed(shown), { ok: true, config: { kind: 'gateway' } })
  t.end()
})

void t.test("the example of a domain is the agent's guest", (t) => {
  const { guests: [{ config, network }] } = parse(agentFile) as AgentFile
  t.match(commandsOf('4.'), `/opt/tailgate/deploy/xen/guest.cfg ${config}\n`)
  t.match(guestFile, `mac=${network.mac},bridge=${network.bridge},vifname=${network.vif},`)
  t.match(agentCommand(), /agent -c \/etc\/tailgate\/agent\.yaml$/)
  t.end()
})
