import type { Durability } from '../core/message.ts'
import { DiskLog, type RecoveryReport } from './disk-log.ts'
import { nodeFileSystem, type FileSystem } from './file-system.ts'
import type { LogStore } from './log-store.ts'
import { MemoryLog } from './memory-log.ts'

export interface LogOptions {
  /** The log's own directory, for its files or for what it spills; made if it is not there. */
  readonly directory: string
  readonly durability: Durability
  /** With `memory`: what may be in memory before the oldest records go to files, in bytes. */
  readonly memoryBytes: number
  /** What the log may take in all, in bytes. */
  readonly logBytes: number
}

export interface OpenedLog {
  readonly log: LogStore
  /** With `disk`: what was found there, and cut. A log in memory begins empty. */
  readonly recovery: RecoveryReport | undefined
}

/** Opens the kind of log that is asked for. Rejects with E_DISK, E_LOG_CORRUPT and E_VERSION. */
export async function openLog(options: LogOptions, files: FileSystem = nodeFileSystem): Promise<OpenedLog> {
  const { directory, durability, memoryBytes, logBytes } = options
  if (durability === 'memory') {
    return { log: await MemoryLog.open({ directory, memoryBytes, logBytes }, files), recovery: undefined }
  }
  const log = await DiskLog.open({ directory, logBytes }, files)
  return { log, recovery: log.recovery }
}
