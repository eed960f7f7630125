import type { Connection } from '../core/gateway/connection.ts'
import type { GuestGateway } from '../core/gateway/guest-gateway.ts'
import type { GuestConfig } from '../config/types.ts'
import {
  planConnectionsMax, statusFormat, type FailoverPlan, type PlanBlocker, type PlanConnection,
  type PlanConnections
} from '../observe/status.ts'
import type { GuestObserver } from './guest-observer.ts'
import { monotonicNow, type GuestRunner } from './guest-runner.ts'
import { checkpointStatus, tailStatus } from './guest-status.ts'

/** What a failover at this moment would do. Does nothing. */
export function failoverPlan(runner: GuestRunner, observer: GuestObserver): FailoverPlan {
  const { core, config } = runner
  const { backup, lastCounted } = core.replication
  const known: Connection[] = []
  const anew: Connection[] = []
  for (const connection of core.dataPath.connections.values()) {
    if (lastCounted !== undefined && connection.openedLsn < lastCounted.mark) known.push(connection)
    else anew.push(connection)
  }
  const isProtected = core.replication.protected
  const list = (connections: readonly Connection[], wanted: boolean): PlanConnections =>
    connectionList(wanted ? connections : [], config)
  return {
    format: statusFormat, guest: config.name, state: core.protection.state, generation: core.generation,
    from: core.active?.name ?? null, to: backup?.name ?? null,
    checkpoint: checkpointStatus(observer, monotonicNow()), tail: tailStatus(core),
    attach: list(known, isProtected), anew: list(anew, isProtected),
    reset: list([...known, ...anew], !isProtected),
    estimateMs: observer.lastFailover?.status.totalMs ?? null,
    blockers: blockers(core, config)
  }
}

function connectionList(connections: readonly Connection[], config: GuestConfig): PlanConnections {
  return {
    count: connections.length,
    first: connections.slice(0, planConnectionsMax).map(connection => planConnection(connection, config))
  }
}

function planConnection(connection: Connection, config: GuestConfig): PlanConnection {
  return {
    connection: connection.id, service: config.services[connection.service]?.name ?? '',
    client: connection.clientAddress, inputBytes: connection.inputLogged - connection.floor,
    heldBytes: connection.heldBytes
  }
}

function blockers(core: GuestGateway, config: GuestConfig): PlanBlocker[] {
  const found: PlanBlocker[] = []
  const { active, protection } = core
  const others = [...core.hosts.all()].filter(host => host !== active)
  if (others.length === 0) found.push({ kind: 'hard', text: 'The guest has no second host.', waitMs: null })
  else if (!others.some(host => host.linked)) {
    found.push({
      kind: 'hard', waitMs: null,
      text: `No other host is linked: start the agent on ${others[0]?.name ?? ''}.`
    })
  } else if (!core.replication.protected) {
    found.push({
      kind: 'loss', waitMs: null,
      text: `The guest is ${protection.state}: what came after the newest whole checkpoint would be lost, `
        + 'and every connection reset. Use --accept-loss if that is what you want.'
    })
  }
  const fenced = config.hosts.find(({ name }) => name === active?.name)?.fence.length !== 0
  const leaseMs = active === undefined ? 0 : active.leaseUntil - monotonicNow()
  if (!fenced && config.leaseMs > 0 && leaseMs > 0) {
    const name = active?.name ?? ''
    const waitMs = Number.isFinite(leaseMs) ? Math.ceil(leaseMs) : null
    const text = waitMs === null ? `The lease of ${name} is not known here: make sure that it is off first.`
      : `The lease of ${name} must run out first: ${waitMs} ms.`
    found.push({ kind: 'wait', waitMs, text })
  }
  return found
}
