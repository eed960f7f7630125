import type { Address, GatewayConfig, GuestConfig } from '../config/types.ts'
import type { GuestSettings } from '../core/gateway/settings.ts'

/**
 * What the core is told of one guest of the configuration. `resumes`: its TCP connections can be joined
 * again, and what the guest has acknowledged is asked of the kernel.
 */
export function guestSettings(config: GatewayConfig, guest: GuestConfig, resumes: boolean): GuestSettings {
  return {
    name: guest.name,
    hosts: guest.hosts.map(host => ({
      name: host.name, address: addressOf(host.link), fence: host.fence.length > 0
    })),
    services: guest.services.map(({ name, release }) => ({ name, release })),
    durability: guest.durability,
    checkpointMs: guest.checkpointIntervalMs,
    heartbeatMs: guest.heartbeat.intervalMs,
    misses: guest.heartbeat.misses,
    leaseMs: guest.leaseMs,
    onLinkLoss: guest.onLinkLoss,
    onDivergence: guest.onDivergence,
    replayOrder: guest.replay.order,
    replayTimeoutMs: guest.replay.timeoutMs,
    stepTimeoutMs: config.timeouts.promoteMs,
    logMemoryBytes: guest.log.memoryBytes,
    logBytes: guest.log.totalBytes,
    epochBytes: config.limits.epochBytes,
    inFlightBytes: config.limits.inFlightBytes,
    heldBytes: config.limits.heldBytes,
    connectionBytes: config.limits.clientBufferBytes,
    connections: config.limits.connections,
    floorsFromBacklog: guest.attach === 'tcp' && !resumes,
    resetsTold: guest.attach === 'embedded'
  }
}

/** `host:port`, with brackets where the host is an IPv6 address. */
export function addressOf(address: Address): string {
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`
}
