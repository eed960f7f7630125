import { crc32 } from 'node:zlib'
import t from 'tap'
import { outputHash, type Hash } from '../../../src/core/ids.ts'
import {
  blockSeed, decodeFileHeader, encodeBlockHeader, encodeFileHeader, scan
} from '../../../src/core/log/block-format.ts'
import { vectorsOf } from '../vectors.ts'

const hash: Hash = (bytes, previous) => outputHash(crc32(bytes, previous))

void t.test('the files of the document', t => {
  for (const lines of vectorsOf('LOG_FORMAT.md', 'file')) {
    const file = Uint8Array.from(Buffer.from(lines.slice(0, -1).join(''), 'hex'))
    const said: unknown = JSON.parse(lines.at(-1) ?? '')
    const blocks = [...scan(file, false, hash)]
    const header = decodeFileHeader(file, hash)
    t.strictSame({ ...header, blocks: blocks.map(block => [block.firstLsn, block.lastLsn]) }, said)
    const head = encodeFileHeader(header, hash)
    const again = blocks.flatMap(({ firstLsn, lastLsn, records }) =>
      [encodeBlockHeader(firstLsn, lastLsn, [records], blockSeed(head), hash), records])
    t.equal(Buffer.concat([head, ...again]).toString('hex'), Buffer.from(file).toString('hex'))
  }
  t.end()
})
