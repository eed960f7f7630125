import { bytesText, countText, durationText, groupDigits } from './quantity.ts'
import type {
  CheckpointStatus, ConnectionCounts, FailoverPlan, FailoverStatus, GatewayStatus, GuestStatus, HostStatus,
  PlanBlocker, PlanConnections, ProtectionState, ServiceStatus, TailStatus,
  WorkerStatus
} from './status.ts'
import { connectionStates, failoverPhases } from './status.ts'
import { renderTable } from './table.ts'

/** The states that want a person, before those that do not: in this order the headlines are printed. */
const urgency: readonly ProtectionState[] = ['lost', 'failing-over', 'unprotected', 'syncing', 'protected']

/**
 * One line: whether the guest is protected, and if not, why and what to do. Never more than one line, so that
 * it fits a log, systemd's STATUS= and the first line of `tailgate status`.
 */
export function headline(guest: GuestStatus): string {
  const { state, reason, todo } = guest.protection
  const why = todo === '' ? reason : `${reason}. ${todo}`
  const what = state === 'protected' ? protectedText(guest) : `${stateText(state)}: ${why}`
  const diverged = guest.divergence.diverged ? ' [DIVERGED: clients know things this guest does not]' : ''
  return oneLine(`${guest.guest}: ${what}${diverged}`)
}

/**
 * The whole of `tailgate status` for people: the headline of every guest first, then the figures. Ends in a
 * newline.
 */
export function renderStatus(status: GatewayStatus): string {
  const guests = status.guests.toSorted((a, b) => rank(a) - rank(b))
  const unheard = status.workers.flatMap(unheardLines)
  const lines = [...unheard, ...guests.map(headline)]
  if (lines.length === 0) lines.push('no guest is configured')
  lines.push('', `gateway ${status.gateway}, tailgate ${status.version}, `
    + `up ${durationText(status.uptimeMs)}, pid ${status.pid}, sockets: ${status.sockets}`)
  if (status.workers.length > 0) {
    lines.push(...renderTable([workerHeader, ...status.workers.map(workerRow)], table))
  }
  for (const guest of guests) lines.push('', ...guestLines(guest))
  return lines.join('\n') + '\n'
}

/**
 * The text of `tailgate failover --plan`. Its first line says whether it could be done now. Ends in a
 * newline.
 */
export function renderPlan(plan: FailoverPlan): string {
  const lines = [`${plan.guest}: ${verdict(plan)}`]
  for (const blocker of plan.blockers) lines.push(`  ${blockerText(blocker)}`)
  const rows: string[][] = []
  if (plan.from !== null) rows.push(['from', plan.from])
  if (plan.to !== null) rows.push(['to', `${plan.to}, generation ${plan.generation + 1}`])
  const { checkpoint } = plan
  rows.push(['restore', checkpoint === null ? 'nothing: no checkpoint counts' : checkpointText(checkpoint)])
  rows.push(['replay', plan.tail === null ? 'unknown' : tailText(plan.tail)])
  rows.push(['attach', connectionsText(plan.attach)])
  rows.push(['connect anew', connectionsText(plan.anew)])
  rows.push(['reset', connectionsText(plan.reset)])
  rows.push(['would take', plan.estimateMs === null ? 'unknown' : `about ${durationText(plan.estimateMs)}`])
  lines.push(...renderTable(rows, { indent: '  ' }))
  lines.push(...listed('attach', plan.attach))
  lines.push(...listed('connect anew', plan.anew), ...listed('reset', plan.reset))
  return lines.join('\n') + '\n'
}

/** One line about a failover that took place, for logs, status and the demo. */
export function failoverText(failover: FailoverStatus): string {
  const phases = failoverPhases
    .filter(phase => failover.phasesMs[phase] !== null)
    .map(phase => `${phase} ${durationText(failover.phasesMs[phase] ?? 0)}`)
  const loss = failover.acceptedLoss ? ', with accepted loss' : ''
  const { from, to, reason, totalMs, connectionsKept, connectionsReset, reordered } = failover
  const order = reordered === 0 ? '' : `, ${groupDigits(reordered)} reordered`
  return `${from} → ${to} (${reason}${loss}) in ${durationText(totalMs)}: ${phases.join(', ')}; `
    + `replayed ${bytesText(failover.replayedBytes)}, ${countText(connectionsKept, 'connection')} kept, `
    + `${groupDigits(connectionsReset)} reset${order}`
}

function rank(guest: GuestStatus): number {
  return urgency.indexOf(guest.protection.state)
}

function stateText(state: ProtectionState): string {
  return state === 'failing-over' ? 'FAILING OVER' : state.toUpperCase()
}

function protectedText(guest: GuestStatus): string {
  const backups = guest.hosts.filter(host => host.role === 'backup').map(host => host.host)
  const figures = [
    guest.checkpoint === null ? undefined : `checkpoint ${durationText(guest.checkpoint.ageMs)} ago`,
    guest.tail === null ? undefined : `tail ${bytesText(guest.tail.bytes)}`
  ].filter(text => text !== undefined)
  return `PROTECTED on ${guest.activeHost ?? 'no host'}, backup ${backups.join(' and ') || 'unknown'}, `
    + `generation ${guest.generation}${figures.length === 0 ? '' : ` (${figures.join(', ')})`}`
}

function guestLines(guest: GuestStatus): string[] {
  const { positions, lag, checkpoint } = guest
  const rows = [
    ['generation', `${guest.generation}, history ${guest.history ?? 'none'}, `
      + `active host ${guest.activeHost ?? 'none'}`],
    ['connections', connectionsByState(guest.connections)],
    ['received', `${bytesText(positions.receivedBytes)} of input`],
    ['logged', `lsn ${positions.loggedLsn}`],
    ['committed', `lsn ${positions.committedLsn} (durability ${guest.durability}), behind by `
      + `${countText(lag.lsn, 'event')}, ${bytesText(lag.bytes)}, ${durationText(lag.ms)}; `
      + `${countText(guest.epochsInFlight, 'epoch')} in flight`],
    ['released', `${bytesText(positions.releasedBytes)} of output; held `
      + `${bytesText(guest.heldBytes)} of at most ${bytesText(guest.heldBytesMax)}`],
    ['checkpoint', checkpoint === null ? 'none counts in this history' : checkpointText(checkpoint)],
    ['tail', guest.tail === null ? 'unknown: no backup has told it' : tailText(guest.tail)],
    ['last failover', lastFailoverText(guest.lastFailover)],
    ['divergence', divergenceText(guest)]
  ]
  return [
    `guest ${guest.guest}`,
    ...renderTable(rows, { indent: '  ' }),
    ...renderTable([hostHeader, ...guest.hosts.map(hostRow)], table),
    ...renderTable([serviceHeader, ...guest.services.map(serviceRow)], table)
  ]
}

function connectionsByState(counts: ConnectionCounts): string {
  return connectionStates.map(state => `${groupDigits(counts[state])} ${state}`).join(', ')
}

const unheardWhy = {
  silent: 'which serves it, does not answer. If it stays so, restart the gateway.',
  starting: 'which serves it, died and is being started again',
  ended: 'which served it, has ended: the gateway was asked to stop'
} as const

/** The headlines of guests of which their worker tells nothing. */
function unheardLines({ worker, state, guests }: WorkerStatus): string[] {
  if (state === 'serving') return []
  return guests.map(guest => `${guest}: UNKNOWN: worker ${worker}, ${unheardWhy[state]}`)
}

const workerHeader = ['worker', 'pid', 'state', 'deaths', 'guests']

function workerRow({ worker, pid, state, deaths, guests }: WorkerStatus): string[] {
  return [String(worker), pid === null ? 'none' : String(pid), state, groupDigits(deaths), guests.join(', ')]
}

const hostHeader = ['host', 'role', 'link', 'guest', 'heartbeat', 'agent']
const serviceHeader = ['service', 'listen', 'release', 'connections']
const table = { indent: '  ', gap: '   ' } as const

function hostRow(host: HostStatus): string[] {
  const heartbeat = host.heartbeatAgeMs === null ? 'never' : `${durationText(host.heartbeatAgeMs)} ago`
  return [host.host, host.role, host.link, host.condition, heartbeat, host.address]
}

function serviceRow(service: ServiceStatus): string[] {
  return [service.service, service.listen, service.release, groupDigits(service.connections)]
}

function checkpointText(checkpoint: CheckpointStatus): string {
  const took = checkpoint.durationMs === null ? '' : `, took ${durationText(checkpoint.durationMs)}`
  return `checkpoint ${checkpoint.id}, mark ${checkpoint.mark}, ${durationText(checkpoint.ageMs)} ago, `
    + `${bytesText(checkpoint.bytes)}${took}`
}

function tailText(tail: TailStatus): string {
  const connections = countText(tail.connections, 'connection')
  return `${bytesText(tail.bytes)} in ${countText(tail.records, 'record')}, ${connections}`
}

function lastFailoverText(failover: FailoverStatus | null): string {
  return failover === null ? 'none' : `${durationText(failover.agoMs)} ago, ${failoverText(failover)}`
}

function divergenceText(guest: GuestStatus): string {
  const { diverged, connections, unverifiedBytes } = guest.divergence
  return `${diverged ? 'DIVERGED, ' : ''}${countText(connections, 'connection')} diverged, `
    + `${bytesText(unverifiedBytes)} unverified`
}

function verdict(plan: FailoverPlan): string {
  const kinds = new Set(plan.blockers.map(blocker => blocker.kind))
  if (kinds.has('hard')) return 'a failover is NOT POSSIBLE'
  if (kinds.has('loss')) return 'a failover would LOSE DATA and needs --accept-loss'
  if (kinds.has('wait')) return `a failover is possible in ${durationText(longestWait(plan.blockers))}`
  return 'a failover is possible now'
}

function longestWait(blockers: readonly PlanBlocker[]): number {
  return Math.max(0, ...blockers.map(blocker => blocker.waitMs ?? 0))
}

const blockerWords = { wait: 'wait', loss: 'loss', hard: 'no' } as const

function blockerText(blocker: PlanBlocker): string {
  return `${blockerWords[blocker.kind]}: ${oneLine(blocker.text)}`
}

function connectionsText(connections: PlanConnections): string {
  return connections.count === 0 ? 'none' : countText(connections.count, 'connection')
}

function listed(title: string, connections: PlanConnections): string[] {
  if (connections.first.length === 0) return []
  const rows = connections.first.map(connection => [
    String(connection.connection), connection.service, connection.client,
    `${bytesText(connection.inputBytes)} to replay`, `${bytesText(connection.heldBytes)} held`
  ])
  const more = connections.count - connections.first.length
  const rest = more > 0 ? [`    and ${groupDigits(more)} more`] : []
  return ['', `  ${title}:`, ...renderTable(rows, { indent: '    ' }), ...rest]
}

/** Reasons come from other machines too: whatever they hold, they must not break the line or the terminal. */
function oneLine(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ')
}
