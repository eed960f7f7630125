import { readFileSync } from 'node:fs'
import { installedAt } from './host.ts'

// docs/XEN.md, done as it says.

/** What the dom0 of the laboratory has in another way, or is given by the test: packages, files, services. */
const otherwise = /^(apt|reboot|update-grub|npm|systemctl|tar|tailgate certs|for m in)\b/
/** The document's names of interfaces, and those of the laboratory. */
const names = [['eno2', 'guest']] as const

/** The commands of a section of docs/XEN.md, whose heading begins so. */
export function commandsOf(section: string): string {
  const document = readFileSync(new URL('../../docs/XEN.md', import.meta.url), 'utf8')
  const text = document.split(/^## /m).find((one) => one.startsWith(section))
  const blocks = [...(text ?? '').matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block = '']) => block)
  if (blocks.length === 0) throw new Error(`docs/XEN.md has no commands in a section '${section}'`)
  const lines = blocks.join('').split('\n').filter((line) => !otherwise.test(line))
  return names.reduce((said, [theirs, ours]) => said.replaceAll(theirs, ours), lines.join('\n'))
}

/** How the unit of systemd starts the agent. */
export function agentCommand(): string {
  const unit = readFileSync(new URL('../../deploy/xen/tailgate-agent.service', import.meta.url), 'utf8')
  const command = /^ExecStart=(.*)$/m.exec(unit)?.[1]
  if (command?.includes(installedAt) === true) return command
  throw new Error(`the unit starts nothing in ${installedAt}`)
}
