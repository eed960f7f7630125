import type { ConnectionId } from '../ids.ts'
import type { ReadRecord } from '../record.ts'
import type { ReplayStream } from './replay-stream.ts'

/** READ records that were read ahead of the joining of their stream. */
export class ForeseenOutput {
  readonly #records = new Map<ConnectionId, ReadRecord[]>()

  /** The tail, as far as it has been read, awaits this. */
  note(record: ReadRecord, stream: ReplayStream | undefined): void {
    if (stream?.state === 'gone') return
    if (stream?.state === 'joined') return stream.want(record.output, record.hash)
    const records = this.#records.get(record.connection)
    if (records === undefined) this.#records.set(record.connection, [record])
    else records.push(record)
  }

  /** What is awaited of a stream that has just been joined. */
  tell(stream: ReplayStream): void {
    for (const record of this.#records.get(stream.id) ?? []) stream.want(record.output, record.hash)
    this.#records.delete(stream.id)
  }
}
