import { checkpointCells, checkpointHead, failoverCells, failoverHead } from '../failover/tables.ts'
import type { FailoverFigure, FailoverReport } from '../failover/report.ts'
import { table } from './markdown-table.ts'

/** Phases of failovers against connections and tails, and checkpoints of the virtual machine. */
export function failoverPart(reports: readonly FailoverReport[], chart: readonly string[]): string[] {
  const failovers = reports.flatMap((report) => report.failovers).toSorted(inOrder)
  const checkpoints = reports.flatMap((report) => report.checkpoints)
    .toSorted((a, b) => a.dirtyBytes - b.dirtyBytes)
  return [
    ...failovers.length === 0 ? [] : [
      '## Failovers', '',
      'The guest\'s host is killed after clients have sent so much since the last checkpoint: SETs, each '
        + 'connection its next one when it has the reply to the one before. Every connection was kept, and '
        + 'every client found what it had set. Medians of the rounds, in milliseconds; *after detection* is '
        + 'all but *detect*, which the configured heartbeats decide, and *first byte* what a client waits '
        + 'that asks right after the kill. `embedded` is the guest of our own, on loopback; `qemu` a Redis '
        + 'in a virtual machine, emulated (TCG), on hosts that are namespaces. Gateway, agents, guests and '
        + 'clients share the processors of one machine.', '',
      ...chart,
      ...table(failoverHead, failovers.map(failoverCells))
    ],
    ...checkpoints.length === 0 ? [] : [
      '## Checkpoints of a virtual machine', '',
      'Under QEMU, emulated, with a Redis of which so much is rewritten between two checkpoints. Medians '
        + 'of the rounds. What a client feels of a checkpoint is the longest response, of one that asks '
        + 'again and again from just before it until it counts.', '',
      ...table(checkpointHead, checkpoints.map(checkpointCells))
    ]
  ]
}

/** By guest, then by connections, then by the tail. */
function inOrder(one: FailoverFigure, other: FailoverFigure): number {
  return one.guest.localeCompare(other.guest) || one.connections - other.connections
    || one.tailBytes - other.tailBytes || one.valueBytes - other.valueBytes
    || other.order.localeCompare(one.order)
}
