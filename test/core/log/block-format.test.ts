import { deepStrictEqual, ok, throws } from 'node:assert/strict'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import t from 'tap'
import { TailgateError } from '../../../src/base/errors.ts'
import { checkpointId, generation, historyId, lsn, outputHash, type Hash } from '../../../src/core/ids.ts'
import {
  FileKind, blockHeaderBytes, blockRecordsBytesMax, blockSeed, decodeFileHeader, encodeBlockHeader,
  encodeFileHeader, fileHeaderBytes, isTorn, readBlock, scan, type Block, type FileHeader, type TornTail
} from '../../../src/core/log/block-format.ts'

const hash: Hash = (bytes, previous) => outputHash(crc32(bytes, previous))

const header: FileHeader = {
  kind: FileKind.begin, history: historyId('0123456789abcdef'), generation: generation(7), firstLsn: lsn(40),
  checkpoint: checkpointId(0)
}

/** A file of blocks of these sizes, and where each of them ends. */
function fileOf(sizes: readonly number[], from = header): { file: Uint8Array, ends: number[] } {
  const head = encodeFileHeader(from, hash)
  const parts = [head]
  const ends: number[] = []
  let next: number = from.firstLsn
  let end = head.length
  for (const [n, size] of sizes.entries()) {
    const records = Uint8Array.from({ length: size }, (_, place) => place * 31 + n & 0xff)
    parts.push(encodeBlockHeader(lsn(next), lsn(next + 2), [records], blockSeed(head), hash), records)
    next += 3
    end += blockHeaderBytes + size
    ends.push(end)
  }
  return { file: Uint8Array.from(Buffer.concat(parts)), ends }
}

function scanned(file: Uint8Array, isNewest = true): { blocks: Block[], torn: TornTail | undefined } {
  const blocks: Block[] = []
  const walk = scan(file, isNewest, hash)
  for (;;) {
    const next = walk.next()
    if (next.done) return { blocks, torn: next.value }
    blocks.push(next.value)
  }
}

function codeOf(work: () => unknown): string {
  try {
    work()
    return 'none'
  } catch (error) {
    return error instanceof TailgateError ? error.code : `not ours: ${String(error)}`
  }
}

void t.test('a file header says what was put in it', t => {
  fc.assert(fc.property(
    fc.constantFrom(...Object.values(FileKind)), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    fc.maxSafeNat(), fc.maxSafeNat(), fc.maxSafeNat(), (kind, history, g, first, checkpoint) => {
      const said: FileHeader = {
        kind, history: historyId(history.toString(16).padStart(16, '0')), generation: generation(g),
        firstLsn: lsn(first), checkpoint: checkpointId(checkpoint)
      }
      const bytes = encodeFileHeader(said, hash)
      deepStrictEqual(bytes.length, fileHeaderBytes)
      deepStrictEqual(decodeFileHeader(bytes, hash), said)
    }))
  t.end()
})

void t.test('any changed bit of a file header is noticed', t => {
  const bytes = encodeFileHeader(header, hash)
  for (let bit = 0; bit < fileHeaderBytes * 8; bit++) {
    const changed = bytes.slice()
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ 1 << (bit & 7)
    if (codeOf(() => decodeFileHeader(changed, hash)) !== 'E_LOG_CORRUPT') t.fail(`bit ${bit}`)
  }
  for (let length = 0; length < fileHeaderBytes; length++) {
    const code = codeOf(() => decodeFileHeader(bytes.subarray(0, length), hash))
    if (code !== 'E_LOG_CORRUPT') t.fail(`cut at ${length}`)
  }
  const newer = bytes.slice()
  newer[8] = 2
  new DataView(newer.buffer).setUint32(60, crc32(newer.subarray(0, 60)), true)
  t.equal(codeOf(() => decodeFileHeader(newer, hash)), 'E_VERSION')
  t.end()
})

void t.test('a file yields its blocks', t => {
  const { file, ends } = fileOf([5, 0, 300])
  const { blocks, torn } = scanned(file, false)
  t.equal(torn, undefined)
  t.strictSame(blocks.map(block => [block.firstLsn, block.lastLsn, block.records.length, block.end]),
    [[40, 42, 5, ends[0]], [43, 45, 0, ends[1]], [46, 48, 300, ends[2]]])
  t.end()
})

void t.test('a file cut at any byte: whole blocks, then a torn tail; damage if it is not the newest', t => {
  const { file, ends } = fileOf([5, 40, 0, 100, 7])
  for (let length = fileHeaderBytes; length <= file.length; length++) {
    const { blocks, torn } = scanned(file.subarray(0, length))
    const whole = ends.filter(end => end <= length)
    const at = whole.at(-1) ?? fileHeaderBytes
    deepStrictEqual(blocks.map(block => block.end), whole)
    if (at === length) {
      deepStrictEqual(torn, undefined)
    } else {
      deepStrictEqual([torn?.at, torn?.bytes], [at, length - at])
      deepStrictEqual(codeOf(() => scanned(file.subarray(0, length), false)), 'E_LOG_CORRUPT')
    }
  }
  t.pass('at every byte')
  t.end()
})

void t.test('any changed byte: damage, unless it is in the last block, which may be torn', t => {
  const { file, ends } = fileOf([5, 40, 100, 30])
  const lastStart = ends.at(-2) ?? 0
  fc.assert(fc.property(
    fc.integer({ min: fileHeaderBytes, max: file.length - 1 }), fc.integer({ min: 1, max: 255 }),
    (at, change) => {
      const changed = file.slice()
      changed[at] = (changed[at] ?? 0) ^ change
      if (at < lastStart) {
        deepStrictEqual(codeOf(() => scanned(changed)), 'E_LOG_CORRUPT')
      } else {
        const { blocks, torn } = scanned(changed)
        deepStrictEqual([blocks.length, torn?.at], [3, lastStart])
      }
    }), { numRuns: 400 })
  t.pass('at any byte')
  t.end()
})

void t.test('random bytes and random edits give our errors and never more than was written', t => {
  const { file } = fileOf([5, 40, 100])
  fc.assert(fc.property(
    fc.array(fc.record({
      at: fc.nat(file.length), drop: fc.nat(30), insert: fc.uint8Array({ maxLength: 30 })
    })),
    edits => {
      let changed: Uint8Array = file
      for (const { at, drop, insert } of edits) {
        changed = Buffer.concat([changed.subarray(0, at), insert, changed.subarray(at + drop)])
      }
      const code = codeOf(() => {
        for (const block of scanned(changed).blocks) {
          ok(Buffer.from(file).includes(Buffer.from(block.records)), 'a block that checks out was written')
        }
      })
      ok(['none', 'E_LOG_CORRUPT', 'E_VERSION'].includes(code), code)
    }), { numRuns: 500 })
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), bytes => {
    deepStrictEqual(codeOf(() => scanned(bytes)), 'E_LOG_CORRUPT')
  }))
  t.pass('only our errors')
  t.end()
})

void t.test('a block of another file is not a block of this one', t => {
  const { file } = fileOf([50])
  const other = fileOf([50], { ...header, history: historyId('ffffffffffffffff') })
  const mixed = Buffer.concat([file.subarray(0, fileHeaderBytes), other.file.subarray(fileHeaderBytes)])
  t.equal(scanned(mixed).blocks.length, 0)
  t.end()
})

void t.test('a block can be read as its bytes come in', t => {
  const { file, ends } = fileOf([100])
  const seed = blockSeed(file)
  const from = file.subarray(fileHeaderBytes)
  for (let length = 0; length <= from.length; length++) {
    const reading = readBlock(from.subarray(0, length), fileHeaderBytes, file.length, seed, hash)
    if (length < blockHeaderBytes) deepStrictEqual(reading, { type: 'short', need: blockHeaderBytes })
    else if (length < from.length) deepStrictEqual(reading, { type: 'short', need: from.length })
    else deepStrictEqual(reading.type === 'block' && reading.block.end, ends[0])
  }
  t.pass('byte by byte')
  t.end()
})

void t.test('damage longer than a block can be is not a torn tail', t => {
  const rest = new Uint8Array(blockHeaderBytes + blockRecordsBytesMax + 1)
  t.equal(isTorn(rest, 0, hash), false)
  t.end()
})

void t.test('the search behind damage ends, whatever lies there', t => {
  // At every eighth byte something that could be the header of a long block: its checksum would be asked for.
  const rest = new Uint8Array(1 << 20)
  const fields = new DataView(rest.buffer)
  for (let at = 1; at + 32 < rest.length; at += 24) {
    fields.setUint32(at, rest.length - at - blockHeaderBytes, true)
    fields.setBigUint64(at + 4, 1n, true)
    fields.setBigUint64(at + 12, 2n, true)
  }
  let hashed = 0
  const counting: Hash = (bytes, previous) => {
    hashed += bytes.length
    return hash(bytes, previous)
  }
  t.equal(isTorn(rest, 0, counting), false, 'in doubt it is damage')
  t.ok(hashed < rest.length * 80)
  throws(() => decodeFileHeader(new Uint8Array(0), hash))
  t.end()
})
