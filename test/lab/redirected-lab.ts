import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { withSystemPrograms } from '../../src/engine/system-programs.ts'
import { addressOf, NetworkLab } from './network-lab.ts'

export const script = fileURLToPath(new URL('../../deploy/redirect.sh', import.meta.url))
export const guestPort = 6379
export const families = [4, 6] as const
export const guest = (family: 4 | 6): string => addressOf('host-a', 'guest', family)
const services = [`${guest(4)}:${guestPort}=7004`, `[${guest(6)}]:${guestPort}=7006`]
export const interfaces = ['--client-if', 'service', '--guest-if', 'guest']
/** Leads clients of the guest to the ports 7004 and 7006 of the gateway, by their family. */
export const up = ['up', ...interfaces, ...services.flatMap((service) => ['--service', service])]

/**
 * A lab whose clients take the gateway for the way to the guests, and whose guest, which is host-a, takes it
 * for the way to the clients. It forwards nothing by itself.
 */
export async function redirectedLab(t: Test): Promise<NetworkLab> {
  const made = await NetworkLab.create(t, { hosts: ['host-a'] })
  for (const family of families) {
    const [clients, guests] = family === 4 ? ['10.77.1.0/24', '10.77.2.0/24'] : ['fd77:1::/64', 'fd77:2::/64']
    const args = [`-${family}`, 'route', 'add', guests, 'via', addressOf('gateway', 'service', family)]
    spawnSync('ip', args, { env: withSystemPrograms(process.env) })
    const back = [`-${family}`, 'route', 'add', clients, 'via', addressOf('gateway', 'guest', family)]
    made.machine('host-a').run(['ip', ...back])
  }
  // Who sends from an address of another machine asks for its neighbours from its link-local one, which every
  // interface has, but for those of the lab.
  made.machine('gateway').run(['ip', 'address', 'add', 'fe80::1/64', 'dev', 'guest', 'nodad'])
  return made
}

/** Runs deploy/redirect.sh on the gateway. */
export function redirect(on: NetworkLab, ...args: readonly string[]): string {
  return on.machine('gateway').run(['bash', script, ...args])
}
