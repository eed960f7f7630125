/** Types of records of libxl (Xen's docs/specs/libxl-migration-stream.pandoc). */
export const libxlRecord = {
  end: 0, libxcContext: 1, emulatorXenstoreData: 2, emulatorContext: 3, checkpointEnd: 4
} as const
/** Types of records of libxc (Xen's docs/specs/libxc-migration-stream.pandoc). */
export const libxcRecord = {
  end: 0x00, pageData: 0x01, tscInfo: 0x08, hvmContext: 0x09, hvmParams: 0x0a, checkpoint: 0x0e,
  staticDataEnd: 0x10, cpuidPolicy: 0x11, msrPolicy: 0x12
} as const

const xlMagic = 'Xen saved domain, xl format\n \0 \r'
const xlHeaderBytes = 48
const libxlHeaderBytes = 16
/** Of libxc: the image's header and the domain's. */
const libxcHeaderBytes = 24 + 16

/** A record of a stream: where its header begins, and where the next one does, after the padding. */
export interface StreamRecord {
  readonly layer: 'libxl' | 'libxc'
  readonly type: number
  readonly at: number
  /** After LIBXC_CONTEXT, which is followed by two headers, their end. */
  readonly end: number
  /** Whose record comes next. */
  readonly next: 'libxl' | 'libxc'
}

/** The length of what precedes the first record: xl's header with the configuration, and libxl's header. */
export function preambleBytes(stream: Buffer): number {
  if (stream.toString('latin1', 0, 32) !== xlMagic) throw new Error('this is not a stream of xl')
  return xlHeaderBytes + stream.readUInt32LE(xlHeaderBytes - 4) + libxlHeaderBytes
}

/**
 * The record after that one, or the first; undefined where the stream ends or is cut. Only for streams of
 * xl's own that lie in memory as a whole: it checks nothing.
 */
export function recordAt(stream: Buffer, after: StreamRecord | undefined): StreamRecord | undefined {
  const at = after?.end ?? preambleBytes(stream)
  const layer = after?.next ?? 'libxl'
  if (at + 8 > stream.length) return undefined
  const type = stream.readUInt32LE(at)
  const body = at + 8 + ((stream.readUInt32LE(at + 4) + 7) & ~7)
  const opens = layer === 'libxl' && type === libxlRecord.libxcContext
  const end = opens ? body + libxcHeaderBytes : body
  if (end > stream.length) return undefined
  return { layer, type, at, end, next: nextLayer(layer, type) }
}

/** A checkpoint goes from libxc's records to libxl's, and its end back, without a new header. */
function nextLayer(layer: 'libxl' | 'libxc', type: number): 'libxl' | 'libxc' {
  if (layer === 'libxc') {
    return type === libxcRecord.checkpoint || type === libxcRecord.end ? 'libxl' : 'libxc'
  }
  return type === libxlRecord.libxcContext || type === libxlRecord.checkpointEnd ? 'libxc' : 'libxl'
}
