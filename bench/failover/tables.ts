import { renderTable } from '../../src/observe/table.ts'
import {
  phaseMs, sizeText, spreadOf, toldPhaseNames, totalMs,
  type CheckpointFigure, type FailoverFigure, type FailoverReport, type Point
} from './report.ts'

export function pointText({ connections, tailBytes, valueBytes, order }: Point): string {
  return `${connections} connections, a tail of ${sizeText(tailBytes)}, values of ${valueBytes} bytes, `
    + `replay.order: ${order}`
}

export const failoverHead = [
  'failover in ms', 'connections', 'tail', 'values', 'requests', 'order', 'rounds', ...toldPhaseNames,
  'after detection', 'of the rounds', 'in all', 'first byte'
] as const

/** Medians of the rounds. */
export function failoverCells(figure: FailoverFigure): string[] {
  const { guest, connections, tailBytes, valueBytes, requests, order, rounds } = figure
  const after = spreadOf(rounds, ({ afterDetectionMs }) => afterDetectionMs)
  return [
    guest, String(connections), sizeText(tailBytes), `${valueBytes} B`, String(connections * requests),
    order, String(rounds.length),
    ...toldPhaseNames.map((phase) => whole(spreadOf(rounds, (round) => phaseMs(round, phase)).median)),
    whole(after.median), `${whole(after.min)} to ${whole(after.max)}`,
    whole(spreadOf(rounds, totalMs).median), whole(spreadOf(rounds, ({ firstByteMs }) => firstByteMs).median)
  ]
}

export const checkpointHead = [
  'checkpoints of the virtual machine', 'memory', 'rewritten since the last', 'rounds', 'shipped',
  'stood still', 'from mark to counted', 'longest response meanwhile'
] as const

/** Medians of the rounds. */
export function checkpointCells({ guest, memoryMiB, dirtyBytes, rounds }: CheckpointFigure): string[] {
  const shipped = spreadOf(rounds, ({ shippedBytes }) => shippedBytes).median
  return [
    guest, `${memoryMiB} MiB`, `${dirtyBytes >> 20} MiB`, String(rounds.length),
    `${(shipped / (1 << 20)).toFixed(1)} MiB`,
    `${spreadOf(rounds, ({ pauseMs }) => pauseMs).median.toFixed(1)} ms`,
    `${whole(spreadOf(rounds, ({ durationMs }) => durationMs).median)} ms`,
    `${whole(spreadOf(rounds, ({ worstResponseMs }) => worstResponseMs).median)} ms`
  ]
}

/** For a terminal. */
export function failoverTables({ failovers, checkpoints }: FailoverReport): string[] {
  const right = Array.from({ length: failoverHead.length - 1 }, () => 'right' as const)
  const align = ['left' as const, ...right]
  const told = failovers.length === 0 ? []
    : [...renderTable([failoverHead, ...failovers.map(failoverCells)], { align }), '']
  const checkpointsTold = checkpoints.length === 0 ? []
    : [...renderTable([checkpointHead, ...checkpoints.map(checkpointCells)], { align }), '']
  return [...told, ...checkpointsTold]
}

function whole(ms: number): string {
  return ms < 10 ? ms.toFixed(1) : String(Math.round(ms))
}
