import { checkpointId, connectionId, generation, lsn } from '../../src/core/ids.ts'
import { RecordKind, type LogRecord } from '../../src/core/record.ts'
import { encodeRecord } from '../../src/core/record-codec.ts'
import { DiskLog } from '../../src/log/disk-log.ts'
import { history } from './compliance.ts'

/** A mark comes after so many records. */
const markEvery = 200

/** The record with this lsn in the log that this program writes. */
export function recordNumber(n: number): LogRecord {
  if (n % markEvery === 0) return { kind: RecordKind.mark, checkpoint: checkpointId(n / markEvery) }
  if (n === 1) return { kind: RecordKind.open, connection: connectionId(1), service: 0, client: 'a:1' }
  const bytes = new Uint8Array(1 + n * 37 % 2000).fill(n)
  return { kind: RecordKind.data, connection: connectionId(1), bytes }
}

/**
 * Appends epochs for ever, several at a time, prunes now and then, and prints each lsn that it was promised.
 */
async function write(directory: string): Promise<never> {
  const log = await DiskLog.open({ directory, logBytes: 1 << 28, fileBytes: 100_000 })
  if (log.history !== history) await log.begin(history, generation(1), lsn(1))
  for (let next = log.lastLsn + 1; ;) {
    const epochs = Array.from({ length: 5 }, () => {
      const first = next
      next += 7
      const records = Array.from({ length: 7 }, (_, n) => encodeRecord(recordNumber(first + n)))
      return log.append(lsn(first), lsn(first + 6), records)
    })
    for (const epoch of epochs) process.stdout.write(`${await epoch}\n`)
    const checkpoint = Math.floor((next - 1) / markEvery)
    const markLsn = log.markOf(checkpointId(checkpoint))
    if (markLsn !== undefined) await log.prune({ checkpoint: checkpointId(checkpoint), lsn: markLsn })
  }
}

const [, script, directory] = process.argv
if (script?.endsWith('log-writer.ts') && directory !== undefined) await write(directory)
