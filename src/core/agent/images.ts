import type { CheckpointId, Generation, HistoryId, Millis, OutputHash } from '../ids.ts'
import { checkpointId, noLsn, outputHash } from '../ids.ts'
import type { LogPosition } from '../message.ts'
import type { BackupLog } from './backup-log.ts'
import type { AgentPort, AgentSettings, ImageInfo, LinkId, Outcome } from './port.ts'
import type { AgentVoice } from './voice.ts'

/** `settled` is called when what was being stored is, or is not: what can be restored may have changed. */
export interface ImageSettings extends Pick<AgentSettings, 'absorbs' | 'limits' | 'images'> {
  settled(now: Millis): void
}

/** A checkpoint on its way in, from a primary's agent. */
interface Incoming {
  readonly link: LinkId
  readonly checkpoint: CheckpointId
  readonly generation: Generation
  bytes: number
  crc: OutputHash
  /** Set when all bytes came and were right: it waits for its MARK record in the log. */
  info: ImageInfo | undefined
}

/** A whole one that is being made durable, and absorbed by an engine that does that. */
interface Storing {
  readonly link: LinkId
  readonly info: ImageInfo
}

const otherHistory = 'its mark does not lie in the present history'

/**
 * The checkpoints at a backup: one kept, which is the newest whole one, one being stored, and one coming in.
 *
 *   begin ─► receiving ─► (bytes and CRC right) whole ─► (MARK in the log) storing ─► counts: kept
 *                └───────── torn, refused ────────┴─────────────┴──► dropped
 *
 * Nothing is stored that could not count, because an engine that absorbs its images has then only this one to
 * restore. What has gone there cannot be taken back, so one that is being stored is settled whatever its
 * primary says meanwhile.
 *
 * A kept one counts while its mark lies in the log's present history. When a new history begins it stays, for
 * `--accept-loss`, until one counts in the new history; one of an older history that comes whole meanwhile
 * takes its place.
 */
export class Images {
  readonly #port: AgentPort
  readonly #voice: AgentVoice
  readonly #log: BackupLog
  readonly #settings: ImageSettings
  /** Whole ones found at the start, until the log tells which of them counts. */
  #found: readonly ImageInfo[]
  #kept: ImageInfo | undefined
  #storing: Storing | undefined
  #incoming: Incoming | undefined

  constructor(port: AgentPort, voice: AgentVoice, log: BackupLog, settings: ImageSettings) {
    this.#port = port
    this.#voice = voice
    this.#log = log
    this.#settings = settings
    this.#found = [...settings.images].sort(newestFirst)
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

  /** One is on its way into the engine: which one can be restored is known afterwards. */
  get absorbing(): boolean {
    return this.#settings.absorbs && this.#storing !== undefined
  }

  begin(link: LinkId, checkpoint: CheckpointId, history: HistoryId, generation: Generation): void {
    this.#dropIncoming('another checkpoint begins')
    // A primary never uses a number again; one that comes twice must not overwrite the image that counts.
    if (this.#holds(checkpoint)) return this.#refuse(link, history, checkpoint, 'it is stored already')
    this.#incoming = { link, checkpoint, generation, bytes: 0, crc: outputHash(0), info: undefined }
    this.#port.report({ type: 'image-begun', checkpoint })
    this.#port.beginImage(checkpoint)
  }

  data(link: LinkId, checkpoint: CheckpointId, history: HistoryId, bytes: Uint8Array): void {
    const incoming = this.#receiving(link, checkpoint)
    if (incoming === undefined) return
    incoming.bytes += bytes.length
    const { imageBytesMax } = this.#settings.limits
    if (incoming.bytes > imageBytesMax) {
      return this.#refuseIncoming(history, `the image is longer than the limit of ${imageBytesMax} bytes`)
    }
    incoming.crc = this.#port.hash(bytes, incoming.crc)
    this.#port.imagePiece(checkpoint, bytes)
  }

  /** All of it came: `history` is the one in which the mark lies. */
  end(
    link: LinkId, checkpoint: CheckpointId, history: HistoryId,
    { mark, bytes, crc }: Pick<ImageInfo, 'mark' | 'bytes' | 'crc'>
  ): void {
    const incoming = this.#receiving(link, checkpoint)
    if (incoming === undefined) return
    if (incoming.bytes !== bytes || incoming.crc !== crc) {
      return this.#refuseIncoming(history, `not whole: ${incoming.bytes} of ${bytes} bytes, or a wrong CRC`)
    }
    incoming.info = { checkpoint, mark, history, generation: incoming.generation, bytes, crc }
    this.review()
  }

  /** The primary gave it up. One that is being stored, or counts, stays. */
  aborted(link: LinkId, checkpoint: CheckpointId, reason: string): void {
    const incoming = this.#incoming
    if (incoming?.link === link && incoming.checkpoint === checkpoint) this.#dropIncoming(reason)
  }

  /** A torn one never counts. One that came whole may still, when its MARK arrives. */
  peerDown(link: LinkId): void {
    if (this.#incoming?.link === link && this.#incoming.info === undefined) {
      this.#dropIncoming('the link to the primary is gone')
    }
  }

  /** The log has changed: what is whole may count now, or never will. */
  review(): void {
    if (!this.#log.open) return
    this.#settleFound()
    const incoming = this.#incoming
    const info = incoming?.info
    if (incoming === undefined || info === undefined || this.#storing !== undefined) return
    if (info.history !== this.#log.history) {
      if (this.#isNewest(info)) this.#store(incoming.link, info)
      else this.#refuseIncoming(info.history, otherHistory)
    } else if (this.#log.holdsMark(info.checkpoint, info.mark)) this.#store(incoming.link, info)
    else if (this.#log.stored >= info.mark) {
      this.#refuseIncoming(info.history, `the log holds no MARK of this checkpoint at lsn ${info.mark}`)
    }
  }

  /**
   * The engine has nothing any more that it could restore. One that is being stored is what takes the place
   * of what was lost. False if there was nothing to lose.
   */
  lost(reason: string): boolean {
    const gone = this.#kept === undefined ? this.#found : [this.#kept, ...this.#found]
    this.#kept = undefined
    this.#found = []
    for (const { checkpoint } of gone) {
      this.#port.report({ type: 'image-lost', checkpoint, reason })
      this.#port.dropImage(checkpoint)
    }
    return gone.length > 0
  }

  /**
   * The engine was given one to restore, and could not if there is a `failure`. One that absorbs its images
   * has nothing left for a second time.
   */
  restored(failure: string | undefined): void {
    if (!this.#settings.absorbs) return
    if (failure !== undefined) this.lost(failure)
    else this.#dropStored()
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
    if (!this.#settings.absorbs) this.#dropStoring(reason)
  }

  /** The guest lives here now. */
  dropAll(): void {
    const reason = 'the guest runs here'
    this.#dropIncoming(reason)
    this.#dropStoring(reason)
    this.#dropStored()
  }

  /** Whole ones, without a word: they have done what they were for. */
  #dropStored(): void {
    for (const image of this.#found) this.#port.dropImage(image.checkpoint)
    this.#found = []
    if (this.#kept !== undefined) this.#port.dropImage(this.#kept.checkpoint)
    this.#kept = undefined
  }

  #store(link: LinkId, info: ImageInfo): void {
    const storing = this.#storing = { link, info }
    this.#incoming = undefined
    this.#port.finishImage(info, this.#log.durability, (now, outcome) => {
      if (this.#storing !== storing) return
      this.#storing = undefined
      this.#stored(storing, outcome)
      this.review()
      this.#settings.settled(now)
    })
  }

  #stored({ link, info }: Storing, outcome: Outcome): void {
    const { checkpoint, history } = info
    if (!outcome.ok) {
      this.#port.dropImage(checkpoint)
      return this.#refuse(link, history, checkpoint, outcome.reason)
    }
    if (this.#log.open && history === this.#log.history && this.#log.holdsMark(checkpoint, info.mark)) {
      this.#count(info)
      this.#voice.toPeer(link, history, { type: 'checkpoint-stored', checkpoint })
      return
    }
    // Whole, but of a history that has ended: the newest state there is, as long as none counts.
    this.#keep(info)
    this.#refuse(link, history, checkpoint, this.#log.open ? otherHistory : 'the log cannot be used')
  }

  #count(info: ImageInfo): void {
    this.#port.report({ type: 'counted', checkpoint: info.checkpoint, lsn: info.mark, bytes: info.bytes })
    if (this.#log.base !== info.checkpoint) this.#log.prune(info.checkpoint, info.mark)
    this.#keep(info)
    this.tellCounted()
  }

  #keep(info: ImageInfo): void {
    const older = this.#kept
    this.#kept = info
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

  /** Nothing counts, and nothing newer is kept. */
  #isNewest(info: ImageInfo): boolean {
    return this.counted === undefined && (this.#kept === undefined || newestFirst(info, this.#kept) < 0)
  }

  #receiving(link: LinkId, checkpoint: CheckpointId): Incoming | undefined {
    const incoming = this.#incoming
    return incoming?.link === link && incoming.checkpoint === checkpoint && incoming.info === undefined
      ? incoming
      : undefined
  }

  #holds(checkpoint: CheckpointId): boolean {
    const held = [this.#kept, this.#storing?.info, ...this.#found]
    return held.some(image => image?.checkpoint === checkpoint)
  }

  #refuseIncoming(history: HistoryId, reason: string): void {
    const incoming = this.#incoming
    if (incoming === undefined) return
    this.#incoming = undefined
    this.#port.dropImage(incoming.checkpoint)
    this.#refuse(incoming.link, history, incoming.checkpoint, reason)
  }

  #refuse(link: LinkId, history: HistoryId, checkpoint: CheckpointId, reason: string): void {
    this.#port.report({ type: 'image-refused', checkpoint, reason })
    this.#voice.toPeer(link, history, { type: 'checkpoint-refused', checkpoint, reason })
  }

  #dropIncoming(reason: string): void {
    const incoming = this.#incoming
    this.#incoming = undefined
    if (incoming !== undefined) this.#drop(incoming.checkpoint, reason)
  }

  #dropStoring(reason: string): void {
    const storing = this.#storing
    this.#storing = undefined
    if (storing !== undefined) this.#drop(storing.info.checkpoint, reason)
  }

  #drop(checkpoint: CheckpointId, reason: string): void {
    this.#port.report({ type: 'image-refused', checkpoint, reason })
    this.#port.dropImage(checkpoint)
  }
}

function newestFirst(
  a: { readonly generation: Generation, readonly checkpoint: CheckpointId },
  b: { readonly generation: Generation, readonly checkpoint: CheckpointId }
): number {
  return b.generation - a.generation || b.checkpoint - a.checkpoint
}
