import { TailgateError } from '../base/errors.ts'
import {
  libxcType, libxlType, pageBytes, pageDataHeaderBytes, pageNumberBytes, pagesMax, recordKind, type XenLayer
} from './xen-records.ts'

/** A checkpoint that was read to its last byte. */
export interface XenCheckpoint {
  /** 0 is the first pass, in which the guest runs for the most part. */
  readonly number: number
  readonly bytes: number
  /** So many of them up to the end of libxc's CHECKPOINT: once that is written the domain goes on. */
  readonly standingBytes: number
  /** Pages with contents. */
  readonly pages: number
}

export interface XenStreamEvents {
  /** The domain's configuration, libxl's JSON: once, before anything of the domain. */
  configured(json: string): void
  /**
   * The header of the first record with pages was read. A domain that is saved, and not migrated, stands by
   * then, and until the end of its stream was written.
   */
  pages?(): void
  /**
   * The first eight bytes of a checkpoint after the first pass were read: the domain stands. It goes on as
   * soon as libxc's CHECKPOINT is written, which a pipe with room for the rest takes without being read.
   */
  began(number: number): void
  ended(checkpoint: XenCheckpoint): void
  /** The stream of a domain that moves for good, or is saved, has come to its end. */
  finished(): void
}

/**
 * What is read next as a whole. `body`: what is passed over of a record; `over`: the stream has said its end.
 */
type Expected =
  | 'xl-header' | 'configuration' | 'libxl-header' | 'image-header' | 'domain-header' | 'record-header'
  | 'page-count' | 'body' | 'over'

/** Xen's tools/xl/xl.h: the configuration is JSON, and the stream of version 2. There are no others. */
const mandatoryFlags = 3
const xlMagic = 'Xen saved domain, xl format\n \0 \r'
const libxlMagic = 'LibxlFmt'
const libxcMagic = 'XENF'
const byteOrderMark = 0x0102_0304
/** xl's configuration of the domain is the text of one file. */
const configurationBytesMax = 4 * 1024 * 1024
const configurationLengthBytes = 4
const recordHeaderBytes = 8

const headerBytes: Readonly<Record<Exclude<Expected, 'configuration' | 'body' | 'over'>, number>> = {
  'xl-header': 48, 'libxl-header': 16, 'image-header': 24, 'domain-header': 16,
  'record-header': recordHeaderBytes, 'page-count': pageDataHeaderBytes
}

/**
 * Finds the checkpoints in the stream of `xl remus`, and the end of that of `xl save`, as it passes by:
 *
 *   xl │ LIBXC_CONTEXT │ PAGE_DATA … CHECKPOINT │ CHECKPOINT_END │ PAGE_DATA … CHECKPOINT │ CHECKPOINT_END
 *        │ libxl         │ libxc                  │ libxl          │ libxc                  │ libxl
 *   └──────────────────────── first pass ────────────────────────┘ └───────────── checkpoint 1 ──────────┘
 *
 * Nothing is kept but headers. What must be understood and is not, or is longer than it can be, is an error:
 * a stream that is passed on in spite of it could not be restored.
 */
export class XenStream {
  readonly #events: XenStreamEvents
  readonly #header = new DataView(new ArrayBuffer(64))
  readonly #headerBytes: Uint8Array
  #expected: Expected = 'xl-header'
  /** Bytes of the header that are there, and of the body that are not. */
  #have = 0
  #left = 0
  /** What comes after the body. */
  #next: Expected = 'libxl-header'
  #configuration: Uint8Array = new Uint8Array()
  #layer: XenLayer = 'libxl'
  /** The record with which libxc gave the word to libxl; undefined before the first. */
  #libxcEnded: number | undefined
  #pageRecordBytes = 0
  #hasPages = false
  #number = 0
  #bytes = 0
  #standingBytes = 0
  #pages = 0
  /** The next record is the first of its checkpoint. */
  #isFresh = false

  constructor(events: XenStreamEvents) {
    this.#events = events
    this.#headerBytes = new Uint8Array(this.#header.buffer)
  }

  /**
   * So many bytes can be read before something is decided: a reader that takes no more has not passed the
   * beginning of a checkpoint when it hears of it. 0 when nothing may follow.
   */
  get wanted(): number {
    if (this.#expected === 'over') return 0
    if (this.#expected === 'body') return this.#left
    if (this.#expected === 'configuration') return this.#configuration.length - this.#have
    return headerBytes[this.#expected] - this.#have
  }

  /** Bytes of the checkpoint under way that were read. */
  get bytes(): number { return this.#bytes }

  /** Whether the stream may be cut here: nothing of a checkpoint has been read. */
  get isBetween(): boolean { return this.#expected === 'over' || this.#isFresh && this.#have === 0 }

  /** Takes what comes next of the stream. Throws E_IMAGE. */
  push(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      if (this.#expected === 'over') throw wrong('it goes on after its end')
      const length = Math.min(this.wanted, bytes.length - at)
      if (this.#expected === 'body') this.#left -= length
      else this.#kept.set(bytes.subarray(at, at + length), this.#have)
      this.#have += length
      this.#bytes += length
      at += length
      if (this.wanted === 0) this.#complete()
    }
  }

  /** Where what is read as a whole gathers. */
  get #kept(): Uint8Array {
    return this.#expected === 'configuration' ? this.#configuration : this.#headerBytes
  }

  #complete(): void {
    const complete = this.#expected
    this.#have = 0
    switch (complete) {
      case 'xl-header': return this.#xlHeader()
      case 'configuration': return this.#configured()
      case 'libxl-header': return this.#libxlHeader()
      case 'image-header': return this.#imageHeader()
      case 'domain-header': return this.#domainHeader()
      case 'record-header': return this.#record()
      case 'page-count': return this.#pageCount()
      case 'body': this.#expected = this.#next; return
      case 'over': return
    }
  }

  // ---- headers

  #xlHeader(): void {
    if (this.#text(0, xlMagic.length) !== xlMagic) throw wrong('it does not begin as a domain that xl saves')
    if (this.#header.getUint32(32, true) !== byteOrderMark) throw wrong('its bytes are in another order')
    const flags = this.#header.getUint32(36, true)
    if (flags !== mandatoryFlags) throw wrong(`xl wrote it with the unknown flags ${flags}`)
    const length = this.#header.getUint32(44, true)
    const isPossible = length >= configurationLengthBytes && length <= configurationBytesMax
    if (!isPossible) throw wrong(`its configuration has ${length} bytes`)
    this.#expected = 'configuration'
    this.#configuration = new Uint8Array(length)
  }

  /** A length, and so much text with a zero at its end (Xen's tools/xl/xl.h, optional data). */
  #configured(): void {
    const bytes = this.#configuration
    this.#expected = 'libxl-header'
    this.#configuration = new Uint8Array()
    const length = new DataView(bytes.buffer).getUint32(0, true)
    if (length + configurationLengthBytes > bytes.length) throw wrong('its configuration is cut off')
    const text = bytes.subarray(configurationLengthBytes, configurationLengthBytes + length)
    this.#events.configured(new TextDecoder().decode(text).replace(/\0+$/, ''))
  }

  #libxlHeader(): void {
    const [version, options] = [this.#header.getUint32(8), this.#header.getUint32(12)]
    if (this.#text(0, libxlMagic.length) !== libxlMagic) throw wrong('the header of libxl is missing')
    if (version !== 2) throw wrong(`libxl wrote version ${version}, and 2 is known`)
    if (options !== 0) throw wrong(`libxl wrote it with the options ${options}: big-endian, or converted`)
    this.#expected = 'record-header'
  }

  #imageHeader(): void {
    const isMarked = this.#header.getBigUint64(0) === 0xffff_ffff_ffff_ffffn
    const isThere = isMarked && this.#text(8, libxcMagic.length) === libxcMagic
    if (!isThere) throw wrong('the header of libxc is missing')
    const version = this.#header.getUint32(12)
    if (version !== 2 && version !== 3) throw wrong(`libxc wrote version ${version}, and 2 and 3 are known`)
    if (this.#header.getUint16(16) !== 0) throw wrong('its pages come from a big-endian machine')
    this.#expected = 'domain-header'
  }

  #domainHeader(): void {
    const shift = this.#header.getUint16(4, true)
    if (2 ** shift !== pageBytes) throw wrong(`its pages have 2^${shift} bytes, not ${pageBytes}`)
    this.#expected = 'record-header'
  }

  // ---- records

  #record(): void {
    const [type, length] = [this.#header.getUint32(0, true), this.#header.getUint32(4, true)]
    const layer = this.#layer
    const kind = recordKind(layer, type)
    if (kind === undefined) {
      throw wrong(`it has a record of ${layer} of the type 0x${type.toString(16)}, which is not known`)
    }
    if (length > kind.bytesMax) {
      throw wrong(`${kind.name} of ${layer} has ${length} bytes, and at most ${kind.bytesMax} are possible`)
    }
    if (!this.#mayCome(layer, type)) throw wrong(`${kind.name} of ${layer} has no place there`)
    if (this.#isFresh) this.#begin(layer, type)
    this.#pass(Math.ceil(length / 8) * 8, 'record-header')
    if (layer === 'libxl') this.#ofLibxl(type)
    else this.#ofLibxc(type, length)
  }

  /** What opens and closes the parts of a stream comes in one order. */
  #mayCome(layer: XenLayer, type: number): boolean {
    if (layer === 'libxc') return true
    if (type === libxlType.libxcContext) return this.#libxcEnded === undefined
    if (type === libxlType.checkpointEnd) return this.#libxcEnded === libxcType.checkpoint
    return type !== libxlType.end || this.#libxcEnded === libxcType.end
  }

  #begin(layer: XenLayer, type: number): void {
    this.#isFresh = false
    if (layer === 'libxc' && type !== libxcType.end) this.#events.began(this.#number)
  }

  #ofLibxl(type: number): void {
    if (type === libxlType.libxcContext) {
      this.#layer = 'libxc'
      this.#expected = 'image-header'
    } else if (type === libxlType.checkpointEnd) this.#checkpointEnd()
    else if (type === libxlType.end) {
      this.#expected = 'over'
      this.#events.finished()
    }
  }

  #ofLibxc(type: number, length: number): void {
    if (type === libxcType.checkpoint || type === libxcType.end) {
      this.#layer = 'libxl'
      this.#libxcEnded = type
      this.#standingBytes = this.#bytes
    }
    if (type !== libxcType.pageData) return
    if (length < pageDataHeaderBytes) throw wrong(`PAGE_DATA has ${length} bytes, which hold no count`)
    this.#pageRecordBytes = length
    this.#expected = 'page-count'
    if (this.#hasPages) return
    this.#hasPages = true
    this.#events.pages?.()
  }

  #pageCount(): void {
    const count = this.#header.getUint32(0, true)
    const contents = this.#pageRecordBytes - pageDataHeaderBytes - count * pageNumberBytes
    const pages = contents / pageBytes
    if (count === 0 || count > pagesMax || !Number.isInteger(pages) || pages < 0 || pages > count) {
      throw wrong(`PAGE_DATA of ${this.#pageRecordBytes} bytes cannot have ${count} pages`)
    }
    this.#pages += pages
    this.#pass(this.#pageRecordBytes - pageDataHeaderBytes, 'record-header')
  }

  #checkpointEnd(): void {
    const checkpoint = {
      number: this.#number, bytes: this.#bytes, standingBytes: this.#standingBytes, pages: this.#pages
    }
    this.#layer = 'libxc'
    this.#number++
    this.#bytes = this.#pages = 0
    this.#isFresh = true
    this.#events.ended(checkpoint)
  }

  #pass(length: number, next: Expected): void {
    this.#left = length
    this.#next = next
    this.#expected = length === 0 ? next : 'body'
  }

  #text(from: number, length: number): string {
    return String.fromCharCode(...this.#headerBytes.subarray(from, from + length))
  }
}

function wrong(what: string): TailgateError {
  return new TailgateError('E_IMAGE', `the stream of the domain cannot be used: ${what}`)
}
