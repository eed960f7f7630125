import type { Hosts } from '../core/gateway/hosts.ts'
import type { Protection as CoreProtection } from '../core/gateway/protection.ts'
import type { GuestConfig } from '../config/types.ts'
import type { Protection } from '../observe/status.ts'

/**
 * What a person is told of a guest's protection: the state, why, and what to do. `hosts` is undefined before
 * any could be linked.
 */
export function protectionStatus(
  protection: CoreProtection, guest: GuestConfig, hosts: Hosts | undefined
): Protection {
  switch (protection.state) {
    case 'unprotected':
      return {
        state: 'unprotected', reason: protection.reason,
        todo: unprotectedTodo(protection.reason, guest, hosts)
      }
    case 'syncing':
      return {
        state: 'syncing', reason: `a checkpoint is on its way to ${protection.backup}`, todo: ''
      }
    case 'protected': return protection.stalled
      ? {
          state: 'protected', reason: `everything is held until the link to ${protection.backup} is back`,
          todo: `Start the agent on ${protection.backup}, or mend the network to it.`
        }
      : { state: 'protected', reason: `the backup is on ${protection.backup}`, todo: '' }
    case 'failing-over': {
      const { phase, reason, blocked } = protection
      return {
        state: 'failing-over', reason: blocked ?? `${reason}; in the phase ${phase}`,
        todo: blockedTodo(blocked, guest)
      }
    }
    case 'lost':
      return { state: 'lost', reason: protection.reason, todo: lostTodo(protection.reason, guest) }
  }
}

function lostTodo(reason: string, guest: GuestConfig): string {
  if (reason.endsWith('another gateway is in charge')) return 'Use that gateway, and stop this one.'
  return 'Bring its host back, or restore the newest checkpoint and lose what came after it: '
    + `tailgate failover ${guest.name} --accept-loss`
}

/** Whoever waits for a lease, which may be a long one, need not: an operator may vouch. */
function blockedTodo(blocked: string | undefined, guest: GuestConfig): string {
  if (blocked === undefined) return ''
  if (blocked.includes('tailgate failover')) return 'Do what the reason says.'
  return `Wait, or make sure that its host is off and run: tailgate failover ${guest.name}`
}

function unprotectedTodo(reason: string, guest: GuestConfig, hosts: Hosts | undefined): string {
  if (reason.startsWith('its input is replicated')) return ''
  if (guest.hosts.length < 2) return 'Configure a second host for it.'
  const away = guest.hosts.map(({ name }) => name).filter(name => hosts?.get(name)?.linked !== true)
  if (away.length === 0) return ''
  const agents = away.length === 1 ? 'agent' : 'agents'
  return `Start the ${agents} on ${away.join(' and ')}, and see to the network between.`
}
