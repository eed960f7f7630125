import { statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'

/** What the backup's log of one contender may take. Nothing prunes it, as there are no checkpoints. */
export interface LogRoom {
  readonly memoryBytes: number
  readonly diskBytes: number
}

/** `tailgate immediate` and `tailgate epoch` have theirs in memory. */
const logsInMemory = 2
/** The rest is for everything else that runs. */
const shareOfMemory = 0.7
const shareOfDisk = 0.5
/** The rest is for the other workloads, which log little. */
const shareOfBulk = 0.75
const mebibyte = 1 << 20
const mebibytesMin = 256
const mebibytesMax = 256 * 1024
/** Linux's magic number of tmpfs, in linux/magic.h. */
const tmpfsMagic = 0x01021994

/** In whole MiB, within what the configuration takes. */
export function roomIn(freeMemory: number, freeDisk: number): LogRoom {
  const bounded = (bytes: number): number =>
    Math.min(mebibytesMax, Math.max(mebibytesMin, Math.floor(bytes / mebibyte))) * mebibyte
  return {
    memoryBytes: bounded(freeMemory * shareOfMemory / logsInMemory),
    diskBytes: bounded(freeDisk * shareOfDisk)
  }
}

/**
 * The most that one run of a workload may send, so that the log takes all rounds, a run before them and a
 * repeated one.
 */
export function inputBytesMax(room: LogRoom, rounds: number): number {
  return Math.floor(Math.min(room.memoryBytes, room.diskBytes) * shareOfBulk / (rounds + 2))
}

const disk = statfsSync(tmpdir())

/** Measured once, before anything takes of it. */
export const logRoom = roomIn(process.availableMemory(), disk.bavail * disk.bsize)

/** Whether the directory of temporary files, where the logs are, is on a disk in earnest. */
export const logsOnDisk = disk.type !== tmpfsMagic
