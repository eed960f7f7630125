import { TailgateError, type ErrorCode } from '../base/errors.ts'
import { pathText } from '../attach/tcp-path.ts'
import { unreachable } from '../base/invariant.ts'
import type { Generation, HistoryId, Lsn } from '../core/ids.ts'
import type { LogMark } from '../core/log/connection-index.ts'
import { RecordKind, type LogRecord } from '../core/record.ts'
import { RecordCursor } from '../core/record-codec.ts'
import { recover, type Recovery, type TornReport } from '../log/disk-recovery.ts'
import { nodeFileSystem, type FileSystem } from '../log/file-system.ts'

/** What `tailgate log verify` finds. */
export type LogVerdict =
  /**
   * `history` is `noHistory` in a directory that holds no log. `leftovers`: files that opening the log
   * removes.
   */
  | {
    readonly verdict: 'sound' | 'torn'
    readonly history: HistoryId
    readonly generation: Generation
    readonly lastLsn: Lsn
    readonly base: LogMark | undefined
    readonly connections: number
    readonly tailRecords: number
    readonly tailBytes: number
    readonly torn: TornReport | undefined
    readonly leftovers: readonly string[]
  }
  | {
    readonly verdict: 'corrupt'
    readonly code: ErrorCode
    readonly reason: string
    readonly where: Readonly<Record<string, unknown>>
  }

/** Reads a log's directory and changes nothing. Rejects with E_DISK if it cannot be read. */
export async function verifyLog(directory: string, files: FileSystem = nodeFileSystem): Promise<LogVerdict> {
  try {
    return verdictOf(await recover(files, directory))
  } catch (error) {
    if (!(error instanceof TailgateError) || error.code === 'E_DISK') throw error
    return { verdict: 'corrupt', code: error.code, reason: error.message, where: error.context }
  }
}

function verdictOf(found: Recovery): LogVerdict {
  const { books, torn, leftovers } = found
  const { history, generation, lastLsn, base, connections, tailRecords, tailBytes } = books
  return {
    verdict: torn ? 'torn' : 'sound',
    history, generation, lastLsn, base, connections, tailRecords, tailBytes, torn, leftovers
  }
}

/**
 * The exit status of `tailgate log verify`: 0 for a sound log and a torn tail, which opening mends; else 1.
 */
export function verdictStatus(verdict: LogVerdict): 0 | 1 {
  return verdict.verdict === 'corrupt' ? 1 : 0
}

/** A verdict for people, in one line. */
export function verdictText(verdict: LogVerdict): string {
  if (verdict.verdict === 'corrupt') return `corrupt: ${verdict.code}: ${verdict.reason}`
  const { history, generation, lastLsn, base, connections, tailRecords, tailBytes, torn } = verdict
  const begins = base ? `from checkpoint ${base.checkpoint} at lsn ${base.lsn}` : 'no checkpoint counts'
  const figures = `history ${history}, generation ${generation}, last lsn ${lastLsn}, ${begins}; `
    + `tail: ${connections} connections, ${tailRecords} records, ${tailBytes} bytes of input`
  if (!torn) return `sound: ${figures}`
  return `torn tail: ${torn.bytes} bytes at byte ${torn.offset} of ${torn.file} (${torn.reason}), `
    + `which opening the log cuts off; ${figures}`
}

/**
 * Hands one line per record to `write`, and waits for it: the base first, with lsn 0. Rejects as {@link
 * verifyLog} does, and with E_LOG_CORRUPT when it comes to damage.
 */
export async function dumpLog(
  directory: string, options: { readonly json: boolean }, write: (line: string) => void | Promise<void>,
  files: FileSystem = nodeFileSystem
): Promise<void> {
  const cursor = new RecordCursor()
  await recover(files, directory, async ({ firstLsn, records }) => {
    cursor.reset(records)
    let at: number = firstLsn
    while (cursor.next()) {
      const fields = { lsn: at, ...fieldsOf(cursor.record()) }
      await write(options.json ? JSON.stringify(fields) : lineOf(fields))
      if (firstLsn > 0) at++
    }
  })
}

type Fields = Readonly<Record<string, string | number | boolean>>

/**
 * A record's fields as dumps show them: input by its length, for a log holds what clients sent, and so a path
 * that is not TCP's.
 */
function fieldsOf(record: LogRecord): Fields {
  switch (record.kind) {
    case RecordKind.adopt: {
      const { connection, service, connected, input, output, hash, client, path } = record
      return {
        kind: 'ADOPT', connection, service, connected, input, output, hash: hex(hash), client,
        path: pathText(path) ?? path.length
      }
    }
    case RecordKind.open: {
      const { connection, service, client } = record
      return { kind: 'OPEN', connection, service, client }
    }
    case RecordKind.connected:
      return {
        kind: 'CONNECTED', connection: record.connection, path: pathText(record.path) ?? record.path.length
      }
    case RecordKind.data:
      return { kind: 'DATA', connection: record.connection, bytes: record.bytes.length }
    case RecordKind.end: return { kind: 'END', connection: record.connection }
    case RecordKind.reset: return { kind: 'RESET', connection: record.connection }
    case RecordKind.read: {
      const { connection, output, hash } = record
      return { kind: 'READ', connection, output, hash: hex(hash) }
    }
    case RecordKind.guestEnd:
      return { kind: 'GUEST_END', connection: record.connection, output: record.output }
    case RecordKind.guestReset:
      return { kind: 'GUEST_RESET', connection: record.connection, output: record.output }
    case RecordKind.floor: return { kind: 'FLOOR', connection: record.connection, input: record.input }
    case RecordKind.mark: return { kind: 'MARK', checkpoint: record.checkpoint }
    default: return unreachable(record)
  }
}

function lineOf({ lsn, kind, ...rest }: Fields): string {
  const shown = Object.entries(rest).map(([name, value]) => `${name}=${value}`)
  return [String(lsn).padStart(8), String(kind).padEnd(11), ...shown].join(' ').trimEnd()
}

function hex(hash: number): string {
  return hash.toString(16).padStart(8, '0')
}
