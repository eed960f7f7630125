import type { HostName } from '../ids.ts'
import type { GatewayLife, GatewayMessage, Role } from '../message.ts'
import type { Host } from './hosts.ts'
import type { GuestSettings } from './settings.ts'

export interface Assignment {
  readonly role: Role
  /** A primary's guest may be started from nothing. */
  readonly boot: boolean
  /** Clients are served from the primary's guest. */
  readonly served: boolean
  /** To where a primary's checkpoints go. */
  readonly backup: Host | undefined
}

/** The order that gives a host its role. */
export function assignment(
  settings: GuestSettings, life: GatewayLife, { role, boot, served, backup }: Assignment
): GatewayMessage {
  return {
    type: 'assign', ...life, role, boot, served,
    peer: backup?.name ?? '' as HostName, peerAddress: backup?.settings.address ?? '',
    checkpointMs: settings.checkpointMs, heartbeatMs: settings.heartbeatMs,
    // Where nobody could take over, the guest's path never shuts.
    leaseMs: settings.hosts.length > 1 ? settings.leaseMs : 0,
    durability: settings.durability, logMemoryBytes: settings.logMemoryBytes, logBytes: settings.logBytes
  }
}
