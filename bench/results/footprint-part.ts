import { median } from '../figures.ts'
import type { FootprintReport, IdleFigure, LinkFigure, WorkersFigure } from '../footprint/report.ts'
import {
  idleCells, idleHead, linkCells, linkHead, workersCells, workersHead, workersNote
} from '../footprint/tables.ts'
import { table } from './markdown-table.ts'

/**
 * What `npm run bench` does not tell: memory and latency with idle connections, bytes on the link, and what a
 * second worker process brings. Medians of the runs.
 */
export function footprintPart(reports: readonly FootprintReport[]): string[] {
  const idle = medians(reports.flatMap((report) => report.idle), keyOfIdle)
  const link = medians(reports.flatMap((report) => report.link), keyOfLink)
  const workers = medians(reports.flatMap((report) => report.workers), keyOfWorkers)
  return [
    ...idle.length === 0 ? [] : idlePart(idle, reports), ...link.length === 0 ? [] : linkPart(link),
    ...workers.length === 0 ? [] : workersPart(workers)
  ]
}

function idlePart(idle: readonly IdleFigure[], reports: readonly FootprintReport[]): string[] {
  const most = Math.min(...reports.map(({ connectionsMax }) => connectionsMax))
  return [
    '## Idle connections', '',
    'Resident memory of the process with connections that never asked for anything, without what the kernel '
      + 'holds for their sockets, and what one active connection feels of them. '
      + `The limit of open files allowed ${most} connections.`, '',
    ...table(idleHead, idle.map(idleCells))
  ]
}

function linkPart(link: readonly LinkFigure[]): string[] {
  return [
    '## Bytes on the link', '',
    'What went to the backup for each event, in bytes: the input in it, what its record adds, and its part '
      + 'of the frame of its epoch. An event is a record of the log: input as it was read, output as the '
      + 'gateway read it, a connection that opens or ends. Allowed are 1.05 × input + 16 per event.', '',
    ...table(linkHead, link.map(linkCells))
  ]
}

function workersPart(workers: readonly WorkersFigure[]): string[] {
  return [
    '## Worker processes', '',
    'The requests per second of all guests together, with one worker process and with two: medians of '
      + 'interleaved pairs of runs. ' + (workers[0] === undefined ? '' : workersNote(workers[0])), '',
    ...table(workersHead, workers.map(workersCells))
  ]
}

function keyOfWorkers({ contender, load }: WorkersFigure): string {
  return `${contender} ${load}`
}

function keyOfLink({ contender, load }: LinkFigure): string {
  return `${contender} ${load}`
}

function keyOfIdle({ contender, connections }: IdleFigure): string {
  return `${contender} ${connections}`
}

/** One for all that have the same key, with the median of each number. */
function medians<T extends object>(figures: readonly T[], keyOf: (figure: T) => string): readonly T[] {
  return [...new Set(figures.map(keyOf))].map((key) => {
    const group = figures.filter((figure) => keyOf(figure) === key)
    const [first] = group
    const merged = Object.entries(first ?? {}).map(([name, value]: [string, unknown]) => {
      if (typeof value !== 'number') return [name, value]
      return [name, median(group.map((one) => Number((one as Record<string, unknown>)[name])))]
    })
    return Object.fromEntries(merged) as T
  })
}
