/*
 * Names and limits of the records in a stream that Xen's toolstack writes (Xen's docs/specs:
 * libxl-migration-stream.pandoc and libxc-migration-stream.pandoc, both of version 2; libxc's header says 3
 * since Xen 4.14). A record is a type, a length, a body, and zeros up to a multiple of eight bytes.
 */

export type XenLayer = 'libxl' | 'libxc'

interface RecordKind {
  readonly name: string
  /** The longest body, in bytes. */
  readonly bytesMax: number
}

const small = 64 * 1024
/** State of devices and processors grows with them; Xen itself takes no longer record. */
const large = 128 * 1024 * 1024

export const pageBytes = 4096
/** MAX_BATCH_SIZE of Xen's xc_sr_common.h. */
export const pagesMax = 1024
/** What precedes a record's page numbers: their count, and four bytes of zero. */
export const pageDataHeaderBytes = 8
export const pageNumberBytes = 8

export const libxlType = { end: 0, libxcContext: 1, checkpointEnd: 4 } as const
export const libxcType = { end: 0x00, pageData: 0x01, checkpoint: 0x0e } as const

const empty = 0

const libxlKinds: ReadonlyMap<number, RecordKind> = new Map([
  [libxlType.end, { name: 'END', bytesMax: empty }],
  [libxlType.libxcContext, { name: 'LIBXC_CONTEXT', bytesMax: empty }],
  [2, { name: 'EMULATOR_XENSTORE_DATA', bytesMax: large }],
  [3, { name: 'EMULATOR_CONTEXT', bytesMax: large }],
  [libxlType.checkpointEnd, { name: 'CHECKPOINT_END', bytesMax: empty }]
])

const libxcKinds: ReadonlyMap<number, RecordKind> = new Map([
  [libxcType.end, { name: 'END', bytesMax: empty }],
  [libxcType.pageData, {
    name: 'PAGE_DATA', bytesMax: pageDataHeaderBytes + pagesMax * (pageNumberBytes + pageBytes)
  }],
  [0x02, { name: 'X86_PV_INFO', bytesMax: small }],
  [0x03, { name: 'X86_PV_P2M_FRAMES', bytesMax: large }],
  [0x04, { name: 'X86_PV_VCPU_BASIC', bytesMax: large }],
  [0x05, { name: 'X86_PV_VCPU_EXTENDED', bytesMax: large }],
  [0x06, { name: 'X86_PV_VCPU_XSAVE', bytesMax: large }],
  [0x07, { name: 'SHARED_INFO', bytesMax: small }],
  [0x08, { name: 'X86_TSC_INFO', bytesMax: small }],
  [0x09, { name: 'HVM_CONTEXT', bytesMax: large }],
  [0x0a, { name: 'HVM_PARAMS', bytesMax: small }],
  [0x0c, { name: 'X86_PV_VCPU_MSRS', bytesMax: large }],
  [libxcType.checkpoint, { name: 'CHECKPOINT', bytesMax: empty }],
  [0x10, { name: 'STATIC_DATA_END', bytesMax: empty }],
  [0x11, { name: 'X86_CPUID_POLICY', bytesMax: large }],
  [0x12, { name: 'X86_MSR_POLICY', bytesMax: large }]
])

/** A record with this bit may be passed over by who does not know it. */
const optional = 0x8000_0000
const unknownOptional: RecordKind = { name: 'an optional record', bytesMax: large }

/** What is known of a record; undefined for one that must be understood, and is not. */
export function recordKind(layer: XenLayer, type: number): RecordKind | undefined {
  const kind = (layer === 'libxl' ? libxlKinds : libxcKinds).get(type)
  if (kind !== undefined) return kind
  return type >= optional ? unknownOptional : undefined
}
