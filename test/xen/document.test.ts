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

void t.test('the user of the gateway is made, and can read what it is given', (t) => {
  const user = /^User=(.*)$/m.exec(textOf('deploy/tailgate-gateway.service'))?.[1] ?? ''
  const commands = /^useradd .*?systemctl enable --now tailgate-gateway$/ms
  const [shown = ''] = commands.exec(textOf('docs/XEN.md')) ?? []
  t.match(shown, new RegExp(`^useradd --system --user-group .* ${user}\n`))
  t.match(shown, `\nchown -R root:${user} /etc/tailgate\n`)
  t.match(shown, `\nrunuser -u ${user} -- tailgate check -c /etc/tailgate/tailgate.yaml\n`)
  t.equal(commands.exec(textOf('docs/OPERATIONS.md'))?.[0], shown, 'docs/OPERATIONS.md says the same')
  t.end()
})

void t.test("...and Tailgate is put where the units start it", (t) => {
  const put = /^mkdir -p (\S+)\ntar -c .*? -C \1$/m
  const [shown, place = ''] = put.exec(textOf('docs/XEN.md')) ?? []
  for (const unit of ['deploy/tailgate-gateway.service', 'deploy/xen/tailgate-agent.service']) {
    t.match(textOf(unit), `\nExecStart=/usr/bin/node ${place}/dist/cli/main.js `)
  }
  t.equal(put.exec(textOf('docs/OPERATIONS.md'))?.[0], shown, 'docs/OPERATIONS.md says the same')
  t.end()
})
