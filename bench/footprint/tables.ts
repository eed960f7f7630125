import { renderTable } from '../../src/observe/table.ts'
import { bytesPerConnection, linkParts, workersRatio } from './report.ts'
import type { FootprintReport, IdleFigure, LinkFigure, WorkersFigure } from './report.ts'

/** For a terminal. */
export function footprintTables({ idle, link, workers, connectionsMax }: FootprintReport): string[] {
  const right = Array.from({ length: 9 }, () => 'right' as const)
  const told = idle.length === 0 ? [] : [
    ...renderTable([idleHead, ...idle.map(idleCells)], { align: ['left', ...right] }),
    `The limit of open files allows ${connectionsMax} connections.`, ''
  ]
  const linkTold = link.length === 0 ? [] : [
    ...renderTable([linkHead, ...link.map(linkCells)], { align: ['left', 'left', ...right] }), ''
  ]
  const workersTold = workers.length === 0 ? [] : [
    ...renderTable([workersHead, ...workers.map(workersCells)], { align: ['left', 'left', ...right] }),
    ...workers.slice(0, 1).map(workersNote), ''
  ]
  return [...told, ...linkTold, ...workersTold]
}

export const idleHead = [
  'idle connections', 'how many', 'memory before', 'with them', 'bytes each', 'p50 without', 'p50 with',
  'p99 without', 'p99 with'
] as const

export function idleCells(figure: IdleFigure): string[] {
  const { contender, connections, rssBytes, rssBeforeBytes } = figure
  const times = [figure.p50AloneMs, figure.p50Ms, figure.p99AloneMs, figure.p99Ms]
  return [
    contender, String(connections), mebibytes(rssBeforeBytes), mebibytes(rssBytes),
    String(Math.round(bytesPerConnection(figure))), ...times.map((time) => `${time.toFixed(3)} ms`)
  ]
}

export const linkHead = [
  'bytes on the link', 'load', 'events', 'events per epoch', 'input per event', '+ record head', '+ frame',
  'frame per epoch', 'of what is allowed'
] as const

export function linkCells(figure: LinkFigure): string[] {
  const parts = linkParts(figure)
  const { eventsPerEpoch, inputPerEvent, recordHeadPerEvent, framePerEvent, framePerEpoch, ofAllowed } = parts
  return [
    figure.contender, figure.load, String(Math.round(figure.events)),
    ...[eventsPerEpoch, inputPerEvent, recordHeadPerEvent, framePerEvent, framePerEpoch]
      .map((value) => value.toFixed(1)),
    ofAllowed.toFixed(2)
  ]
}

export const workersHead = [
  'worker processes', 'load on each guest', 'guests', 'with one', 'with two', 'ratio', 'CPU of the one',
  'CPU of the two'
] as const

export function workersCells(figure: WorkersFigure): string[] {
  const { contender, load, guests, oneRate, twoRate, oneBusy, firstBusy, secondBusy } = figure
  return [
    contender, load, String(guests), `${Math.round(oneRate)}/s`, `${Math.round(twoRate)}/s`,
    workersRatio(figure).toFixed(2), percent(oneBusy), `${percent(firstBusy)}, ${percent(secondBusy)}`
  ]
}

/** What bounds the figures. */
export function workersNote({ processors, guests }: WorkersFigure): string {
  return `Gateway, agents, ${guests} services and ${guests} load generators shared ${processors} processors. `
    + 'CPU is what a process used of one processor.'
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`
}

function mebibytes(bytes: number): string {
  return `${(bytes / (1 << 20)).toFixed(1)} MiB`
}
