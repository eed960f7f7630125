import { performance } from 'node:perf_hooks'
import type { HistogramCell, MetricCell, MetricFamily, MetricRegistry } from './metric-registry.ts'

/**
 * The metrics of gateway and agent. Every name here stands in docs/METRICS.md with the same type, labels and
 * help: test/observe/metrics-doc.test.ts holds the two together.
 *
 * Who moves bytes keeps the cells it needs and adds to their numbers; what is a state is set at each scrape,
 * from the same status that `tailgate status` shows (src/observe/status-metrics.ts).
 */

/** From 0.1 ms, the round trip of a good link, to 10 s, the patience of a client. */
const durationBounds = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10
] as const

/** For what takes as long as moving an image of a guest. */
const longBounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300] as const

const epochBounds = [64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576] as const

type Family<L extends string> = MetricFamily<L, MetricCell>
type Histogram<L extends string> = MetricFamily<L, HistogramCell>

/** What the supervisor of worker processes tells of itself and of them. */
export interface SupervisorMetrics {
  readonly buildInfo: Family<'version' | 'node' | 'part'>
  readonly logLinesDropped: Family<never>
  readonly workerUp: Family<'worker'>
  readonly workerDeaths: Family<'worker'>
}

/** What every process of ours tells of itself. */
export interface ProcessMetrics {
  readonly buildInfo: Family<'version' | 'node' | 'part'>
  /**
   * How late a timer of the process ran: the tick that also detects jumps of the clock observes it, in
   * seconds.
   */
  readonly eventLoopDelay: Histogram<never>
  readonly clockJumps: Family<never>
  readonly logLinesDropped: Family<never>
}

export interface GatewayMetrics extends ProcessMetrics {
  readonly protectionState: Family<'guest' | 'state'>
  readonly generation: Family<'guest'>
  readonly activeHost: Family<'guest' | 'host'>
  readonly diverged: Family<'guest'>
  readonly serviceInfo: Family<'guest' | 'service' | 'release'>
  readonly connections: Family<'guest' | 'state'>
  readonly serviceConnections: Family<'guest' | 'service'>
  readonly connectionsAccepted: Family<'guest' | 'service'>
  readonly connectionsEnded: Family<'guest' | 'service' | 'end'>
  readonly bytes: Family<'guest' | 'service' | 'direction'>
  readonly loggedLsn: Family<'guest'>
  readonly committedLsn: Family<'guest'>
  readonly lagEvents: Family<'guest'>
  readonly lagBytes: Family<'guest'>
  readonly lagSeconds: Family<'guest'>
  readonly epochsInFlight: Family<'guest'>
  readonly epochBytes: Histogram<'guest'>
  readonly commitSeconds: Histogram<'guest'>
  readonly heldBytes: Family<'guest'>
  readonly heldLimitBytes: Family<'guest'>
  readonly limitReached: Family<'limit'>
  readonly linkUp: Family<'peer'>
  readonly linkReconnects: Family<'peer'>
  readonly heartbeatAge: Family<'guest' | 'host'>
  readonly histories: Family<'guest'>
  readonly staleMessages: Family<'guest'>
  readonly checkpoints: Family<'guest' | 'result'>
  readonly checkpointSeconds: Histogram<'guest'>
  readonly checkpointAge: Family<'guest'>
  readonly checkpointBytes: Family<'guest'>
  readonly tailBytes: Family<'guest'>
  readonly tailRecords: Family<'guest'>
  readonly failovers: Family<'guest' | 'trigger' | 'result'>
  readonly failoverSeconds: Histogram<'guest' | 'phase'>
  readonly replayedBytes: Family<'guest'>
  readonly failoverConnections: Family<'guest' | 'outcome'>
  readonly divergences: Family<'guest'>
  readonly reordered: Family<'guest'>
  readonly unverifiedBytes: Family<'guest'>
}

export interface AgentMetrics extends ProcessMetrics {
  readonly role: Family<'guest' | 'role'>
  readonly generation: Family<'guest'>
  readonly condition: Family<'guest' | 'condition'>
  readonly leaseSeconds: Family<'guest'>
  readonly leaseEnds: Family<'guest'>
  readonly linkUp: Family<'peer'>
  readonly linkReconnects: Family<'peer'>
  readonly staleMessages: Family<'guest'>
  readonly logLsn: Family<'guest'>
  readonly logBytes: Family<'guest' | 'place'>
  readonly logAppendedBytes: Family<'guest'>
  readonly logPrunedBytes: Family<'guest'>
  readonly logCutBytes: Family<'guest'>
  readonly logFsyncSeconds: Histogram<'guest'>
  readonly tailBytes: Family<'guest'>
  readonly tailRecords: Family<'guest'>
  readonly checkpoints: Family<'guest' | 'result'>
  readonly checkpointSeconds: Histogram<'guest'>
  readonly checkpointPauseSeconds: Histogram<'guest'>
  readonly checkpointShippedBytes: Family<'guest'>
  readonly checkpointStoredBytes: Family<'guest'>
  readonly restoreSeconds: Histogram<'guest'>
}

/** Makes the gateway's metrics. */
export function gatewayMetrics(registry: MetricRegistry): GatewayMetrics {
  return {
    ...processMetrics(registry),
    ...protectionMetrics(registry),
    ...connectionMetrics(registry),
    ...commitMetrics(registry),
    ...linkMetrics(registry),
    ...gatewayLinkMetrics(registry),
    ...checkpointMetrics(registry),
    ...tailMetrics(registry),
    ...gatewayCheckpointMetrics(registry),
    ...failoverMetrics(registry)
  }
}

/** Makes the agent's metrics. What both have means the same in both. */
export function agentMetrics(registry: MetricRegistry): AgentMetrics {
  return {
    ...processMetrics(registry),
    ...agentGuestMetrics(registry),
    ...linkMetrics(registry),
    ...agentLogMetrics(registry),
    ...tailMetrics(registry),
    ...checkpointMetrics(registry),
    ...agentCheckpointMetrics(registry)
  }
}

/** Makes the metrics of a gateway's supervisor, which serves no guest itself. */
export function supervisorMetrics(registry: MetricRegistry): SupervisorMetrics {
  usageMetrics(registry)
  return {
    ...buildMetrics(registry),
    ...logMetrics(registry),
    workerUp: registry.gauge({
      name: 'tailgate_worker_up', help: '1 while this worker process serves its guests and answers',
      labels: ['worker']
    }),
    workerDeaths: registry.counter({
      name: 'tailgate_worker_deaths_total', help: 'Times this worker process ended by itself',
      labels: ['worker']
    })
  }
}

function processMetrics(r: MetricRegistry): ProcessMetrics {
  usageMetrics(r)
  return {
    ...buildMetrics(r),
    eventLoopDelay: r.histogram({
      name: 'tailgate_event_loop_delay_seconds',
      help: 'How late a timer of this process ran', bounds: durationBounds
    }),
    clockJumps: r.counter({
      name: 'tailgate_clock_jumps_total', help: 'Times this process noticed that it had been paused'
    }),
    ...logMetrics(r)
  }
}

/** What the kernel and the event loop know of this process, looked up at each scrape. */
function usageMetrics(r: MetricRegistry): void {
  const cpu = r.counter({
    name: 'process_cpu_seconds_total', help: 'CPU time used, user and system'
  }).with({})
  const memory = r.gauge({ name: 'process_resident_memory_bytes', help: 'Resident memory' }).with({})
  const start = r.gauge({
    name: 'process_start_time_seconds', help: 'When the process started, in seconds since 1970'
  }).with({})
  const busy = r.counter({
    name: 'tailgate_event_loop_busy_seconds_total', help: 'Time in which the event loop was not idle'
  }).with({})
  start.value = Math.round(performance.timeOrigin) / 1000
  r.onCollect(() => {
    const { user, system } = process.cpuUsage()
    cpu.value = (user + system) / 1e6
    memory.value = process.memoryUsage.rss()
    busy.value = performance.eventLoopUtilization().active / 1000
  })
}

function buildMetrics(r: MetricRegistry) {
  return {
    buildInfo: r.gauge({
      name: 'tailgate_build_info',
      help: '1, with what runs in the labels', labels: ['version', 'node', 'part']
    })
  }
}

function logMetrics(r: MetricRegistry) {
  return {
    logLinesDropped: r.counter({
      name: 'tailgate_log_lines_dropped_total',
      help: 'Log lines thrown away because their reader was too slow'
    })
  }
}

function protectionMetrics(r: MetricRegistry) {
  return {
    protectionState: r.gauge({
      name: 'tailgate_protection_state', help: '1 for the state the guest is in, 0 for the others',
      labels: ['guest', 'state']
    }),
    generation: generationMetric(r),
    activeHost: r.gauge({
      name: 'tailgate_active_host', help: '1 for the host the guest runs on, 0 for the others',
      labels: ['guest', 'host']
    }),
    diverged: r.gauge({
      name: 'tailgate_diverged',
      help: '1 when clients were told things the guest no longer knows', labels: ['guest']
    })
  }
}

function connectionMetrics(r: MetricRegistry) {
  return {
    serviceInfo: r.gauge({
      name: 'tailgate_service_info', help: '1, with the release mode of the service in a label',
      labels: ['guest', 'service', 'release']
    }),
    connections: r.gauge({
      name: 'tailgate_connections', help: 'Connections by their state', labels: ['guest', 'state']
    }),
    serviceConnections: r.gauge({
      name: 'tailgate_service_connections', help: 'Connections by their service', labels: ['guest', 'service']
    }),
    connectionsAccepted: r.counter({
      name: 'tailgate_connections_accepted_total',
      help: 'Connections taken from clients', labels: ['guest', 'service']
    }),
    connectionsEnded: r.counter({
      name: 'tailgate_connections_ended_total', help: 'Connections ended, by termination code (docs/LOGS.md)',
      labels: ['guest', 'service', 'end']
    }),
    bytes: r.counter({
      name: 'tailgate_bytes_total', help: 'Input received from clients and output released to them',
      labels: ['guest', 'service', 'direction']
    }),
    limitReached: r.counter({
      name: 'tailgate_limit_reached_total',
      help: 'Times a limit of the gateway was reached', labels: ['limit']
    })
  }
}

function commitMetrics(r: MetricRegistry) {
  const labels = ['guest'] as const
  return {
    loggedLsn: r.gauge({ name: 'tailgate_logged_lsn', help: 'The newest event in the log', labels }),
    committedLsn: r.gauge({
      name: 'tailgate_committed_lsn', help: 'The newest event the backup has acknowledged', labels
    }),
    lagEvents: r.gauge({
      name: 'tailgate_commit_lag_events', help: 'Events logged and not committed', labels
    }),
    lagBytes: r.gauge({ name: 'tailgate_commit_lag_bytes', help: 'Log not committed', labels }),
    lagSeconds: r.gauge({
      name: 'tailgate_commit_lag_seconds', help: 'Age of the oldest event that is not committed', labels
    }),
    epochsInFlight: r.gauge({
      name: 'tailgate_epochs_in_flight', help: 'Epochs sent and not acknowledged', labels
    }),
    epochBytes: r.histogram({
      name: 'tailgate_epoch_bytes', help: 'Length of an epoch', labels, bounds: epochBounds
    }),
    commitSeconds: r.histogram({
      name: 'tailgate_commit_duration_seconds', help: 'From sending an epoch to its acknowledgement', labels,
      bounds: durationBounds
    }),
    heldBytes: r.gauge({ name: 'tailgate_held_bytes', help: 'Output held back', labels }),
    heldLimitBytes: r.gauge({
      name: 'tailgate_held_limit_bytes', help: 'Held output at which reading from the guest stops', labels
    })
  }
}

function linkMetrics(r: MetricRegistry) {
  return {
    linkUp: r.gauge({
      name: 'tailgate_link_up', help: '1 while the link to this peer is up', labels: ['peer']
    }),
    linkReconnects: r.counter({
      name: 'tailgate_link_reconnects_total', help: 'Times the link came up again', labels: ['peer']
    }),
    staleMessages: r.counter({
      name: 'tailgate_stale_messages_total',
      help: 'Messages of an older generation, another history or another gateway, refused',
      labels: ['guest']
    })
  }
}

function gatewayLinkMetrics(r: MetricRegistry) {
  return {
    heartbeatAge: r.gauge({
      name: 'tailgate_heartbeat_age_seconds', help: 'Since the newest heartbeat', labels: ['guest', 'host']
    }),
    histories: r.counter({
      name: 'tailgate_histories_total',
      help: 'Histories begun: each makes the guest syncing again', labels: ['guest']
    })
  }
}

function checkpointMetrics(r: MetricRegistry) {
  const labels = ['guest'] as const
  return {
    checkpoints: r.counter({
      name: 'tailgate_checkpoints_total', help: 'Checkpoints that came to an end, or were lost afterwards',
      labels: ['guest', 'result']
    }),
    checkpointSeconds: r.histogram({
      name: 'tailgate_checkpoint_duration_seconds',
      help: 'From the stop of the guest until the checkpoint counted',
      labels, bounds: longBounds
    })
  }
}

function gatewayCheckpointMetrics(r: MetricRegistry) {
  const labels = ['guest'] as const
  return {
    checkpointAge: r.gauge({
      name: 'tailgate_checkpoint_age_seconds',
      help: 'Since the mark of the newest checkpoint that counts', labels
    }),
    checkpointBytes: r.gauge({
      name: 'tailgate_checkpoint_size_bytes', help: 'Length of the newest checkpoint that counts', labels
    })
  }
}

function tailMetrics(r: MetricRegistry) {
  const labels = ['guest'] as const
  return {
    tailBytes: r.gauge({ name: 'tailgate_tail_bytes', help: 'Input that a failover would replay', labels }),
    tailRecords: r.gauge({
      name: 'tailgate_tail_records', help: 'Records that a failover would replay', labels
    })
  }
}

function failoverMetrics(r: MetricRegistry) {
  return {
    failovers: r.counter({
      name: 'tailgate_failovers_total', help: 'Failovers that came to an end: done or failed',
      labels: ['guest', 'trigger', 'result']
    }),
    failoverSeconds: r.histogram({
      name: 'tailgate_failover_duration_seconds', help: 'Each phase of the failovers that were done',
      labels: ['guest', 'phase'], bounds: longBounds
    }),
    replayedBytes: r.counter({
      name: 'tailgate_replayed_bytes_total', help: 'Input replayed after failovers', labels: ['guest']
    }),
    failoverConnections: r.counter({
      name: 'tailgate_failover_connections_total',
      help: 'Connections that a failover met, by outcome: kept or reset',
      labels: ['guest', 'outcome']
    }),
    divergences: r.counter({
      name: 'tailgate_divergences_total',
      help: 'Connections whose regenerated output differed', labels: ['guest']
    }),
    reordered: r.counter({
      name: 'tailgate_reordered_total', labels: ['guest'],
      help: 'How often input was replayed before output that it had come after'
    }),
    unverifiedBytes: r.counter({
      name: 'tailgate_unverified_bytes_total', help: 'Regenerated output that could not be compared',
      labels: ['guest']
    })
  }
}

function generationMetric(r: MetricRegistry): Family<'guest'> {
  return r.gauge({ name: 'tailgate_generation', help: 'The generation of the guest', labels: ['guest'] })
}

function agentGuestMetrics(r: MetricRegistry) {
  return {
    role: r.gauge({
      name: 'tailgate_role', help: '1 for the role this host has for the guest, 0 for the others',
      labels: ['guest', 'role']
    }),
    generation: generationMetric(r),
    condition: r.gauge({
      name: 'tailgate_guest_condition', help: '1 for the condition the guest is in here, 0 for the others',
      labels: ['guest', 'condition']
    }),
    leaseSeconds: r.gauge({
      name: 'tailgate_lease_remaining_seconds',
      help: 'How long the path of the guest stays open unless renewed',
      labels: ['guest']
    }),
    leaseEnds: r.counter({
      name: 'tailgate_lease_ends_total', help: 'Times a lease ran out', labels: ['guest']
    })
  }
}

function agentLogMetrics(r: MetricRegistry) {
  const labels = ['guest'] as const
  return {
    logLsn: r.gauge({ name: 'tailgate_log_lsn', help: 'The newest event the log holds', labels }),
    logBytes: r.gauge({
      name: 'tailgate_log_bytes',
      help: 'What the log takes, by place: memory or disk', labels: ['guest', 'place']
    }),
    logAppendedBytes: r.counter({ name: 'tailgate_log_appended_bytes_total', help: 'Log taken in', labels }),
    logPrunedBytes: r.counter({
      name: 'tailgate_log_pruned_bytes_total', help: 'Log dropped by pruning', labels
    }),
    logCutBytes: r.counter({
      name: 'tailgate_log_cut_bytes_total', help: 'Torn tail cut at a start', labels
    }),
    logFsyncSeconds: r.histogram({
      name: 'tailgate_log_fsync_duration_seconds', help: 'Write and fdatasync of the log', labels,
      bounds: durationBounds
    })
  }
}

function agentCheckpointMetrics(r: MetricRegistry) {
  const labels = ['guest'] as const
  return {
    checkpointPauseSeconds: r.histogram({
      name: 'tailgate_checkpoint_pause_seconds', help: 'How long the guest stood still', labels,
      bounds: durationBounds
    }),
    checkpointShippedBytes: r.counter({
      name: 'tailgate_checkpoint_shipped_bytes_total', help: 'Checkpoints sent to the backup', labels
    }),
    checkpointStoredBytes: r.counter({
      name: 'tailgate_checkpoint_stored_bytes_total', help: 'Checkpoints taken in from the primary', labels
    }),
    restoreSeconds: r.histogram({
      name: 'tailgate_restore_duration_seconds',
      help: 'From the promotion until the guest stood ready', labels,
      bounds: longBounds
    })
  }
}
