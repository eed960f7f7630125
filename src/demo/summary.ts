import { failoverPhases } from '../observe/status.ts'
import { bytesText, durationText, groupDigits } from '../observe/quantity.ts'
import { renderTable } from '../observe/table.ts'
import type { LoadFigures } from './load.ts'

/** What a run of the demo found, as `npm start -- --json` prints it. Times in milliseconds. */
export interface DemoSummary {
  readonly requestsSent: number
  readonly requestsAnswered: number
  readonly answeredWrongly: number
  readonly lost: number
  readonly repeated: number
  readonly connections: number
  readonly connectionsReset: number
  readonly longestPauseMs: number
  readonly tailReplayedBytes: number
  readonly tailReplayedRecords: number
  readonly failoverMs: number
  readonly phasesMs: Readonly<Record<string, number | null>>
}

export function summarize(figures: LoadFigures, failover: Readonly<Record<string, unknown>>): DemoSummary {
  const phases = failover.phasesMs as Readonly<Record<string, number | null>>
  return {
    requestsSent: figures.sent,
    requestsAnswered: figures.answered,
    answeredWrongly: figures.wrong,
    lost: Math.max(figures.lost, figures.sent - figures.answered),
    repeated: figures.repeated,
    connections: figures.connections,
    connectionsReset: figures.reset,
    longestPauseMs: Math.round(figures.longestPauseMs),
    tailReplayedBytes: Number(failover.replayedBytes),
    tailReplayedRecords: Number(failover.replayedRecords),
    failoverMs: Number(failover.totalMs),
    phasesMs: phases
  }
}

/** The figures that must be 0, by name. */
export function faults(summary: DemoSummary): readonly string[] {
  const mustBeZero = {
    'answered wrongly': summary.answeredWrongly, lost: summary.lost, repeated: summary.repeated,
    'connections reset': summary.connectionsReset
  }
  return Object.entries(mustBeZero).filter(([, value]) => value !== 0).map(([name]) => name)
}

/** The closing table. */
export function summaryTable(summary: DemoSummary): string[] {
  const count = (n: number): string => groupDigits(n)
  const phases = failoverPhases.map(phase => [`  ${phase}`, phaseText(summary.phasesMs[phase])])
  return renderTable([
    ['requests sent', count(summary.requestsSent)],
    ['requests answered', count(summary.requestsAnswered)],
    ['answered wrongly', count(summary.answeredWrongly)],
    ['lost', count(summary.lost)],
    ['repeated', count(summary.repeated)],
    ['connections', count(summary.connections)],
    ['connections reset', count(summary.connectionsReset)],
    ['longest pause a client saw', durationText(summary.longestPauseMs)],
    ['tail replayed',
      `${bytesText(summary.tailReplayedBytes)}, ${count(summary.tailReplayedRecords)} records`],
    ['failover, after detection', durationText(summary.failoverMs)],
    ...phases
  ], { align: ['left', 'right'], indent: '  ' })
}

function phaseText(ms: number | null | undefined): string {
  return ms === null || ms === undefined ? '-' : durationText(ms)
}
