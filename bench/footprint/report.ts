import { machineText } from '../latency/report.ts'
import { pinned } from '../program.ts'

/** What the footprint runs say with `--json`, and what bench/results reads. */
export interface FootprintReport {
  readonly kind: 'footprint'
  readonly machine: string
  readonly pinned: boolean
  readonly failures: readonly string[]
  readonly missing: readonly string[]
  /** How many connections a gateway can have open here, by the limit of open files. */
  readonly connectionsMax: number
  readonly idle: readonly IdleFigure[]
  readonly link: readonly LinkFigure[]
  readonly workers: readonly WorkersFigure[]
}

/** A contender with so many connections that are open and have never asked for anything. */
export interface IdleFigure {
  readonly contender: string
  readonly connections: number
  /** Resident memory of its process with and before them, without what the kernel holds for sockets. */
  readonly rssBytes: number
  readonly rssBeforeBytes: number
  /** GETs on one more connection, while they are open and while they are not: medians of the rounds. */
  readonly p50Ms: number
  readonly p99Ms: number
  readonly p50AloneMs: number
  readonly p99AloneMs: number
}

/** Resident bytes that came with each connection. */
export function bytesPerConnection({ connections, rssBytes, rssBeforeBytes }: IdleFigure): number {
  return (rssBytes - rssBeforeBytes) / connections
}

/** What one load put on the link to the backup. */
export interface LinkFigure {
  readonly contender: string
  readonly load: string
  /** Bytes that clients sent. */
  readonly inputBytes: number
  /** Records of the log: pieces of input as they were read, and what befell connections. */
  readonly events: number
  readonly epochs: number
  /** All records, with the input in them. */
  readonly recordBytes: number
  /** All that the link's socket sent to the backup: records, frames, answers to heartbeats. */
  readonly linkBytes: number
}

/** The goal: at most 1.05 of the input, and 16 bytes for each event. */
export const linkGoal = { perInputByte: 1.05, perEvent: 16 } as const

/** The parts of a {@link LinkFigure}. */
export interface LinkParts {
  /** What the goal allows, in bytes. */
  readonly allowedBytes: number
  /** Of what is allowed: 1 at most. */
  readonly ofAllowed: number
  readonly eventsPerEpoch: number
  readonly inputPerEvent: number
  /** What records add to the input in them, per event. */
  readonly recordHeadPerEvent: number
  /** What frames add to the records, per event. */
  readonly framePerEvent: number
  /** The same per epoch. */
  readonly framePerEpoch: number
}

export function linkParts(figure: LinkFigure): LinkParts {
  const { inputBytes, events, epochs, recordBytes, linkBytes } = figure
  const allowedBytes = linkGoal.perInputByte * inputBytes + linkGoal.perEvent * events
  return {
    allowedBytes, ofAllowed: linkBytes / allowedBytes, eventsPerEpoch: events / epochs,
    inputPerEvent: inputBytes / events, recordHeadPerEvent: (recordBytes - inputBytes) / events,
    framePerEvent: (linkBytes - recordBytes) / events, framePerEpoch: (linkBytes - recordBytes) / epochs
  }
}

/** Several guests, all under the same load at once, served by one worker and by two. */
export interface WorkersFigure {
  readonly contender: string
  /** What is done with each guest. */
  readonly load: string
  readonly guests: number
  /** How many there are for gateway, agents, services and load together. */
  readonly processors: number
  readonly pairs: number
  /** Requests per second of all guests together, medians of the runs. */
  readonly oneRate: number
  readonly twoRate: number
  /** Processors that the one used, and each of the two: medians. 1 is all that one thread can use. */
  readonly oneBusy: number
  readonly firstBusy: number
  readonly secondBusy: number
}

/** What two workers reach, of what one reaches: the ratio of the medians. */
export function workersRatio({ oneRate, twoRate }: WorkersFigure): number {
  return twoRate / oneRate
}

export function footprintOf(figures: Omit<FootprintReport, 'kind' | 'machine' | 'pinned'>): FootprintReport {
  return { kind: 'footprint', machine: machineText(), pinned, ...figures }
}
