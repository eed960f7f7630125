import { readFileSync, writeFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { libxcRecord, libxlRecord, preambleBytes, recordAt, type StreamRecord } from './walk.ts'

// Makes a vector of a stream that `xl remus` has written:
//
//   node --import=tsx test/xen/vectors/trim.ts STREAM VECTOR.gz
//
// All records but those with pages stay as they were. Of the first pass the first two records of pages stay,
// one without contents, and the last four, which are of its later rounds; of each record of pages the first
// eight numbers, and of the contents of each page the first 64 bytes, with zeros up to the page's end.
// Lengths and counts say what there is then. Three checkpoints stay after the first pass, and half of one.

const pageBytes = 4096
const pagesKept = 8
const contentsKept = 64
const firstKept = 2
const lastKept = 4
const checkpointsKept = 3
/** Types of pages from here on up have no contents (XEN_DOMCTL_PFINFO_BROKEN, XALLOC and XTAB). */
const withoutContents = 0xd
const typeShift = 60n

/** A record of pages, cut as said above. */
function trimmedPages(record: Buffer): Buffer {
  const count = record.readUInt32LE(8)
  const kept = Math.min(count, pagesKept)
  const numbers = record.subarray(16, 16 + 8 * kept)
  const contents: Buffer[] = []
  for (let n = 0; n < kept; n++) {
    if (Number(numbers.readBigUInt64LE(8 * n) >> typeShift) >= withoutContents) continue
    const page = Buffer.alloc(pageBytes)
    record.copy(page, 0, 16 + 8 * count + pageBytes * contents.length, 16 + 8 * count
      + pageBytes * contents.length + contentsKept)
    contents.push(page)
  }
  const header = Buffer.alloc(16)
  header.writeUInt32LE(libxcRecord.pageData, 0)
  header.writeUInt32LE(8 + numbers.length + pageBytes * contents.length, 4)
  header.writeUInt32LE(kept, 8)
  return Buffer.concat([header, numbers, ...contents])
}

function isPages(stream: Buffer, record: StreamRecord): boolean {
  return record.layer === 'libxc' && stream.readUInt32LE(record.at) === libxcRecord.pageData
}

/** Whether a record of pages has the contents of none. */
function isEmpty(stream: Buffer, { at }: StreamRecord): boolean {
  return stream.readUInt32LE(at + 4) === 8 + 8 * stream.readUInt32LE(at + 8)
}

/** The records of pages of the first pass that stay. */
function keptOfFirst(stream: Buffer, pass: readonly StreamRecord[]): ReadonlySet<StreamRecord> {
  const pages = pass.filter((record) => isPages(stream, record))
  const empty = pages.find((record) => isEmpty(stream, record))
  const kept = new Set([...pages.slice(0, firstKept), ...pages.slice(-lastKept)])
  if (empty !== undefined) kept.add(empty)
  return kept
}

function trimmed(stream: Buffer): Buffer {
  const parts = [stream.subarray(0, preambleBytes(stream))]
  const passes: StreamRecord[][] = [[]]
  let record = recordAt(stream, undefined)
  for (; record !== undefined && passes.length <= checkpointsKept + 2; record = recordAt(stream, record)) {
    passes.at(-1)?.push(record)
    if (record.layer === 'libxl' && record.type === libxlRecord.checkpointEnd) passes.push([])
  }
  const first = keptOfFirst(stream, passes[0] ?? [])
  for (const [number, pass] of passes.slice(0, checkpointsKept + 2).entries()) {
    const torn = number === checkpointsKept + 1
    for (const one of torn ? pass.slice(0, pass.length / 2) : pass) {
      if (!isPages(stream, one)) parts.push(stream.subarray(one.at, one.end))
      else if (number > 0 || first.has(one)) parts.push(trimmedPages(stream.subarray(one.at, one.end)))
    }
  }
  return Buffer.concat(parts)
}

const [from, to] = process.argv.slice(2)
if (from === undefined || to === undefined) throw new Error('usage: trim.ts STREAM VECTOR.gz')
writeFileSync(to, gzipSync(trimmed(readFileSync(from)), { level: 9 }))
