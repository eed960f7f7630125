import type { MetricRegistry } from './metric-registry.ts'
import type { GatewayMetrics } from './metrics.ts'
import type { GatewayStatus, GuestStatus, ProtectionState } from './status.ts'
import { connectionStates } from './status.ts'

const protectionStates: readonly ProtectionState[] = [
  'unprotected', 'syncing', 'protected', 'failing-over', 'lost'
]

/**
 * Sets, at each scrape, every gauge that is a state from the same status that `tailgate status` shows. What
 * is not known is NaN, as Prometheus has it, and never 0.
 */
export function collectStatus(
  registry: MetricRegistry, metrics: GatewayMetrics, status: () => Pick<GatewayStatus, 'guests'>
): void {
  registry.onCollect(() => {
    const now = status()
    for (const guest of now.guests) {
      setProtection(metrics, guest)
      setConnections(metrics, guest)
      setPositions(metrics, guest)
      setCheckpoint(metrics, guest)
    }
    setLinks(metrics, now)
  })
}

function setProtection(metrics: GatewayMetrics, status: GuestStatus): void {
  const { guest } = status
  for (const state of protectionStates) {
    metrics.protectionState.with({ guest, state }).value = flag(status.protection.state === state)
  }
  metrics.generation.with({ guest }).value = status.generation
  metrics.diverged.with({ guest }).value = flag(status.divergence.diverged)
  for (const { host, heartbeatAgeMs } of status.hosts) {
    metrics.activeHost.with({ guest, host }).value = flag(status.activeHost === host)
    metrics.heartbeatAge.with({ guest, host }).value = seconds(heartbeatAgeMs)
  }
}

function setConnections(metrics: GatewayMetrics, status: GuestStatus): void {
  const { guest } = status
  for (const state of connectionStates) {
    metrics.connections.with({ guest, state }).value = status.connections[state]
  }
  for (const { service, release, connections } of status.services) {
    metrics.serviceInfo.with({ guest, service, release }).value = 1
    metrics.serviceConnections.with({ guest, service }).value = connections
  }
}

function setPositions(metrics: GatewayMetrics, status: GuestStatus): void {
  const labels = { guest: status.guest }
  metrics.loggedLsn.with(labels).value = status.positions.loggedLsn
  metrics.committedLsn.with(labels).value = status.positions.committedLsn
  metrics.lagEvents.with(labels).value = status.lag.lsn
  metrics.lagBytes.with(labels).value = status.lag.bytes
  metrics.lagSeconds.with(labels).value = status.lag.ms / 1000
  metrics.epochsInFlight.with(labels).value = status.epochsInFlight
  metrics.heldBytes.with(labels).value = status.heldBytes
  metrics.heldLimitBytes.with(labels).value = status.heldBytesMax
}

function setCheckpoint(metrics: GatewayMetrics, status: GuestStatus): void {
  const labels = { guest: status.guest }
  const { checkpoint, tail } = status
  metrics.checkpointAge.with(labels).value = seconds(checkpoint?.ageMs ?? null)
  metrics.checkpointBytes.with(labels).value = checkpoint?.bytes ?? NaN
  metrics.tailBytes.with(labels).value = tail?.bytes ?? NaN
  metrics.tailRecords.with(labels).value = tail?.records ?? NaN
}

/** One link serves every guest that has the same host, so a link is up if any guest sees it up. */
function setLinks(metrics: GatewayMetrics, status: Pick<GatewayStatus, 'guests'>): void {
  const up = new Map<string, boolean>()
  for (const { host, link } of status.guests.flatMap(guest => guest.hosts)) {
    up.set(host, up.get(host) === true || link === 'up')
  }
  for (const [peer, isUp] of up) metrics.linkUp.with({ peer }).value = flag(isUp)
}

function flag(value: boolean): number {
  return value ? 1 : 0
}

function seconds(ms: number | null): number {
  return ms === null ? NaN : ms / 1000
}
