import type { Connection } from '../core/gateway/connection.ts'
import type { GuestGateway } from '../core/gateway/guest-gateway.ts'
import type { Host } from '../core/gateway/hosts.ts'
import { noHistory } from '../core/ids.ts'
import type {
  CheckpointStatus, ConnectionCounts, ConnectionState, DivergenceStatus, GuestStatus, HostStatus,
  PositionStatus,
  ServiceStatus, TailStatus
} from '../observe/status.ts'
import type { GuestObserver } from './guest-observer.ts'
import { monotonicNow, type GuestRunner } from './guest-runner.ts'
import { protectionStatus } from './protection-status.ts'

/** The status of one guest at this moment. `listening` are the addresses of its services, in their order. */
export function guestStatus(
  runner: GuestRunner, observer: GuestObserver, listening: readonly string[]
): GuestStatus {
  const { core, config } = runner
  const now = monotonicNow()
  const { writer, dataPath } = core
  const { state } = core.protection
  return {
    guest: config.name,
    protection: protectionStatus(core.protection, config, core.hosts),
    generation: core.generation,
    history: writer.history === noHistory ? null : writer.history,
    activeHost: state === 'lost' || state === 'failing-over' ? null : core.active?.name ?? null,
    hosts: [...core.hosts.all()].map(host => hostStatus(host, core, now)),
    services: services(runner, listening),
    connections: connectionCounts(core),
    durability: config.durability,
    positions: positions(core, observer),
    lag: {
      lsn: writer.lastLsn - writer.committed, bytes: writer.unacknowledgedBytes,
      ms: observer.commits.oldestMs(now)
    },
    heldBytes: dataPath.heldBytes,
    heldBytesMax: core.settings.heldBytes,
    epochsInFlight: writer.epochsInFlight,
    checkpoint: checkpointStatus(observer, now),
    tail: tailStatus(core),
    lastFailover: observer.lastFailover === undefined
      ? null : { ...observer.lastFailover.status, agoMs: Math.round(now - observer.lastFailover.at) },
    divergence: divergence(core, observer)
  }
}

function hostStatus(host: Host, core: GuestGateway, now: number): HostStatus {
  return {
    host: host.name, address: host.settings.address,
    role: host === core.active ? 'primary' : host === core.replication.backup ? 'backup' : 'idle',
    link: host.linked ? 'up' : 'down',
    heartbeatAgeMs: host.heard === undefined ? null : Math.round(now - host.heard),
    condition: host.condition
  }
}

function services({ core, config }: GuestRunner, listening: readonly string[]): ServiceStatus[] {
  const counts = config.services.map(() => 0)
  for (const { service } of core.dataPath.connections.values()) counts[service] = (counts[service] ?? 0) + 1
  return config.services.map(({ name, release }, index) => ({
    service: name, listen: listening[index] ?? '', release, connections: counts[index] ?? 0
  }))
}

/** Which of the states of `status` a connection is in. */
export function connectionState(connection: Connection, failingOver: boolean): ConnectionState {
  if (failingOver) return 'replaying'
  if (!connection.connected) return 'connecting'
  return connection.inputEnded || connection.outputEnd !== 'open' ? 'closing' : 'open'
}

function connectionCounts(core: GuestGateway): ConnectionCounts {
  const counts = { connecting: 0, open: 0, closing: 0, replaying: 0 }
  const failingOver = core.failover !== undefined
  for (const connection of core.dataPath.connections.values()) {
    counts[connectionState(connection, failingOver)]++
  }
  return counts
}

/** Bytes through each service since the gateway started, ended connections included. */
export function serviceBytes(
  core: GuestGateway, observer: GuestObserver
): readonly { readonly inputBytes: number, readonly outputBytes: number }[] {
  const totals = observer.ended.map(total => ({ ...total }))
  for (const connection of core.dataPath.connections.values()) {
    const total = totals[connection.service]
    if (total === undefined) continue
    total.inputBytes += connection.inputLogged - (connection.inputEnded ? 1 : 0)
    total.outputBytes += connection.released - (connection.endReleased ? 1 : 0)
  }
  return totals
}

function positions(core: GuestGateway, observer: GuestObserver): PositionStatus {
  let receivedBytes = 0
  let releasedBytes = 0
  for (const { inputBytes, outputBytes } of serviceBytes(core, observer)) {
    receivedBytes += inputBytes
    releasedBytes += outputBytes
  }
  return { receivedBytes, loggedLsn: core.writer.lastLsn, committedLsn: core.writer.committed, releasedBytes }
}

export function checkpointStatus(observer: GuestObserver, now: number): CheckpointStatus | null {
  const { checkpoint } = observer
  if (checkpoint === undefined) return null
  return { ...checkpoint.status, ageMs: Math.round(now - checkpoint.markAt) }
}

/** As the backup last told it. */
export function tailStatus(core: GuestGateway): TailStatus | null {
  const log = core.replication.backup?.log
  if (log === undefined || !core.replication.protected) return null
  return { bytes: log.tailBytes, records: log.tailRecords, connections: log.connections }
}

function divergence(core: GuestGateway, observer: GuestObserver): DivergenceStatus {
  return {
    diverged: core.diverged !== undefined, connections: observer.divergences,
    unverifiedBytes: observer.unverifiedBytes
  }
}
