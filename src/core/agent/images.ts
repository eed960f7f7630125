import type { CheckpointId, Generation, HistoryId, Lsn, OutputHash } from '../ids.ts'
import { checkpointId, noLsn, outputHash } from '../ids.ts'
import type { LogPosition } from '../message.ts'
import type { BackupLog } from './backup-log.ts'
import type { AgentLimits, AgentPort, ImageInfo, LinkId } from './port.ts'
import type { AgentVoice } from './voice.ts'

/** A checkpoint on its way in, from a primary's agent. */
interface Incoming {
  readonly link: LinkId
  readonly checkpoint: CheckpointId
  readonly mark: Lsn
  readonly history: HistoryId
  readonly generation: Generation
  bytes: number
  crc: OutputHash
  /** `whole`: all bytes came, were right and are stored; it waits for its MARK record in the log. */
  phase: 'receiving' | 'storing' | 'whole'
}

/**
 * The checkpoints at a backup: one kept, which is the newest whole one, and one coming in.
 *
 *   begin ─► receiving ─► (bytes and CRC right) storing ─► whole ─► (MARK in the log) counts: kept
 *                └────────────── torn, refused ────────────────┴──► dropped
 *
 * A kept one counts while its mark lies in the log's present history. When a new history begins it stays, for
 * `--accept-loss`, until one counts in the new history.
 */
export class Images {
  readonly #port: AgentPort
  readonly #voice: AgentVoice
  readonly #log: BackupLog
  readonly #limits: AgentLimits
  /** Whole ones found at the start, until the log tells which of them counts. */
  #found: readonly ImageInfo[]
  #kept: ImageInfo | undefined
  #incoming: Incoming | undefined

  constructor(
    port: AgentPort, voice: AgentVoice, log: BackupLog, limits: AgentLimits, found: readonly ImageInfo[]
  ) {
    this.#port = port
    this.#voice = voice
    this.#log = log
    this.#limits = limits
    this.#found = [...found].sort(newestFirst)
  }

  /** The newest that counts in the present history. */
  get counted(): ImageInfo | undefined {
    return this.#kept !== undefined && this.#log.open && this.#log.history === this.#kept.history
      && this.#log.base === this.#kept.checkpoint
      ? this.#kept
      : undefined
  }

  /** The newest whole one, of whatever history. */
  get newest(): ImageInfo | undefined {
    return this.#kept ?? this.#found[0]
  }

  begin(link: LinkId, checkpoint: CheckpointId, mark: Lsn, history: HistoryId, generation: Generation): void {
    this.#dropIncoming('another checkpoint begins')
    // A primary never uses a number again; one that comes twice must not overwrite the image that counts.
    if (this.#holds(checkpoint)) return this.#refuse(link, history, checkpoint, 'it is stored already')
    this.#incoming = {
      link, checkpoint, mark, history, generation, bytes: 0, crc: outputHash(0), phase: 'receiving'
    }
    this.#port.report({ type: 'image-begun', checkpoint, lsn: mark, history })
    this.#port.beginImage(checkpoint)
  }

  data(link: LinkId, checkpoint: CheckpointId, bytes: Uint8Array): void {
    const incoming = this.#receiving(link, checkpoint)
    if (incoming === undefined) return
    incoming.bytes += bytes.length
    if (incoming.bytes > this.#limits.imageBytesMax) {
      return this.#refuseIncoming(`the image is longer than the limit of ${this.#limits.imageBytesMax} bytes`)
    }
    incoming.crc = this.#port.hash(bytes, incoming.crc)
    this.#port.imagePiece(checkpoint, bytes)
  }

  end(link: LinkId, checkpoint: CheckpointId, bytes: number, crc: number): void {
    const incoming = this.#receiving(link, checkpoint)
    if (incoming === undefined) return
    if (incoming.bytes !== bytes || incoming.crc !== crc) {
      return this.#refuseIncoming(`not whole: ${incoming.bytes} of ${bytes} bytes, or a wrong CRC`)
    }
    incoming.phase = 'storing'
    const { mark, history, generation } = incoming
    this.#port.finishImage(
      { checkpoint, mark, history, generation, bytes, crc }, this.#log.durability,
      (_now, outcome) => {
        if (this.#incoming !== incoming) return
        if (!outcome.ok) return this.#refuseIncoming(outcome.reason)
        incoming.phase = 'whole'
        this.review()
      })
  }

  /** The primary gave it up. One that already counts stays. */
  aborted(link: LinkId, checkpoint: CheckpointId, reason: string): void {
    const incoming = this.#incoming
    if (incoming?.link === link && incoming.checkpoint === checkpoint) this.#dropIncoming(reason)
  }

  /** A torn one never counts. One that came whole may still, when its MARK arrives. */
  peerDown(link: LinkId): void {
    if (this.#incoming?.link === link && this.#incoming.phase === 'receiving') {
      this.#dropIncoming('the link to the primary is gone')
    }
  }

  /** The log has changed: what is whole may count now, or never will. */
  review(): void {
    if (!this.#log.open) return
    this.#settleFound()
    const incoming = this.#incoming
    if (incoming?.phase !== 'whole') return
    if (incoming.history !== this.#log.history) return this.#keepUncounted(incoming)
    if (this.#log.holdsMark(incoming.checkpoint, incoming.mark)) {
      this.#incoming = undefined
      this.#count(infoOf(incoming))
      this.#voice.toPeer(incoming.link, incoming.history, {
        type: 'checkpoint-stored', checkpoint: incoming.checkpoint
      })
    } else if (this.#log.stored >= incoming.mark) {
      this.#refuseIncoming(`the log holds no MARK of this checkpoint at lsn ${incoming.mark}`)
    }
  }

  /** What the backup holds, for its heartbeats. */
  position(): LogPosition {
    const counted = this.counted
    return {
      lastLsn: this.#log.stored, checkpoint: counted?.checkpoint ?? checkpointId(0),
      mark: counted?.mark ?? noLsn, checkpointBytes: counted?.bytes ?? 0,
      ...this.#port.logFigures()
    }
  }

  /** Says again what counts: the gateway may have missed it while its link was down. */
  tellCounted(): void {
    const counted = this.counted
    if (counted === undefined) return
    this.#voice.toGateway(counted.history, {
      type: 'counted', checkpoint: counted.checkpoint, mark: counted.mark, bytes: counted.bytes
    })
  }

  /** Not a backup any more, or about to restore: what is not whole is of no use. */
  stopReceiving(reason: string): void {
    this.#dropIncoming(reason)
  }

  /** The guest lives here now. */
  dropAll(): void {
    this.#dropIncoming('the guest runs here')
    for (const image of this.#found) this.#port.dropImage(image.checkpoint)
    this.#found = []
    if (this.#kept !== undefined) this.#port.dropImage(this.#kept.checkpoint)
    this.#kept = undefined
  }

  #count(info: ImageInfo): void {
    const older = this.#kept
    this.#kept = info
    this.#port.report({ type: 'counted', checkpoint: info.checkpoint, lsn: info.mark, bytes: info.bytes })
    if (this.#log.base !== info.checkpoint) this.#log.prune(info.checkpoint, info.mark)
    this.tellCounted()
    if (older !== undefined) this.#port.dropImage(older.checkpoint)
  }

  /** After a restart: the newest that counts is kept; if none does, the newest for `--accept-loss`. */
  #settleFound(): void {
    if (this.#found.length === 0) return
    const found = this.#found
    this.#found = []
    const counts = found.find(image => image.history === this.#log.history
      && this.#log.holdsMark(image.checkpoint, image.mark))
    const kept = counts ?? found[0]
    for (const image of found) if (image !== kept) this.#port.dropImage(image.checkpoint)
    if (counts !== undefined) this.#count(counts)
    else this.#kept = kept
  }

  /** Whole, but of a history that has ended: the newest state there is, as long as none counts. */
  #keepUncounted(incoming: Incoming): void {
    const reason = 'its mark does not lie in the present history'
    if (this.counted !== undefined || this.#kept !== undefined && newestFirst(this.#kept, incoming) <= 0) {
      return this.#refuseIncoming(reason)
    }
    this.#incoming = undefined
    if (this.#kept !== undefined) this.#port.dropImage(this.#kept.checkpoint)
    this.#kept = infoOf(incoming)
    this.#refuse(incoming.link, incoming.history, incoming.checkpoint, reason)
  }

  #receiving(link: LinkId, checkpoint: CheckpointId): Incoming | undefined {
    const incoming = this.#incoming
    return incoming?.link === link && incoming.checkpoint === checkpoint && incoming.phase === 'receiving'
      ? incoming
      : undefined
  }

  #holds(checkpoint: CheckpointId): boolean {
    return this.#kept?.checkpoint === checkpoint || this.#found.some(image => image.checkpoint === checkpoint)
  }

  #refuseIncoming(reason: string): void {
    const incoming = this.#incoming
    if (incoming === undefined) return
    this.#dropIncoming(reason)
    this.#refuse(incoming.link, incoming.history, incoming.checkpoint, reason)
  }

  #refuse(link: LinkId, history: HistoryId, checkpoint: CheckpointId, reason: string): void {
    this.#port.report({ type: 'image-refused', checkpoint, reason })
    this.#voice.toPeer(link, history, { type: 'checkpoint-refused', checkpoint, reason })
  }

  #dropIncoming(reason: string): void {
    const incoming = this.#incoming
    if (incoming === undefined) return
    this.#incoming = undefined
    this.#port.report({ type: 'image-refused', checkpoint: incoming.checkpoint, reason })
    this.#port.dropImage(incoming.checkpoint)
  }
}

function infoOf({ checkpoint, mark, history, generation, bytes, crc }: Incoming): ImageInfo {
  return { checkpoint, mark, history, generation, bytes, crc }
}

function newestFirst(
  a: { readonly generation: Generation, readonly checkpoint: CheckpointId },
  b: { readonly generation: Generation, readonly checkpoint: CheckpointId }
): number {
  return b.generation - a.generation || b.checkpoint - a.checkpoint
}
