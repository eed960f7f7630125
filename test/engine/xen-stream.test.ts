import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import fc from 'fast-check'
import t from 'tap'
import { TailgateError } from '../../src/base/errors.ts'
import { XenStream } from '../../src/engine/xen-stream.ts'
import { describedIn } from '../../src/engine/xl.ts'
import { libxcRecord, libxlRecord, recordAt, type StreamRecord } from '../xen/vectors/walk.ts'

// Streams that `xl remus` has written (test/xen/vectors), whole, in pieces, cut and damaged.

const vectors = Object.fromEntries((['pvh', 'hvm'] as const).map((name) =>
  [name, gunzipSync(readFileSync(new URL(`../xen/vectors/${name}.stream.gz`, import.meta.url)))]
)) as Readonly<Record<'pvh' | 'hvm', Buffer>>

interface Heard {
  readonly words: string[]
  readonly stream: XenStream
}

function listener(): Heard {
  const words: string[] = []
  const stream = new XenStream({
    configured: () => { words.push('configured') },
    began: (number) => { words.push(`began ${number}`) },
    ended: ({ number, bytes, standingBytes, pages }) => {
      words.push(`ended ${number}: ${bytes} bytes, ${standingBytes} standing, ${pages} pages`)
    },
    finished: () => { words.push('finished') }
  })
  return { words, stream }
}

function heardOf(bytes: Uint8Array): readonly string[] {
  const { words, stream } = listener()
  stream.push(bytes)
  return words
}

/** The records of a vector, by a walk that knows only where the next one begins. */
function recordsOf(vector: Buffer): readonly StreamRecord[] {
  const found: StreamRecord[] = []
  for (let one = recordAt(vector, undefined); one !== undefined; one = recordAt(vector, one)) found.push(one)
  return found
}

/** The same, from the walk. */
function wanted(vector: Buffer): readonly string[] {
  const words: string[] = ['configured']
  let [number, from, runs, pages, isFresh] = [0, 0, 0, 0, false]
  for (const { layer, type, at, end } of recordsOf(vector)) {
    if (isFresh) words.push(`began ${number}`)
    isFresh = false
    if (layer === 'libxc' && type === libxcRecord.pageData) {
      const count = vector.readUInt32LE(at + 8)
      pages += (vector.readUInt32LE(at + 4) - 8 - 8 * count) / 4096
    }
    if (layer === 'libxc' && type === libxcRecord.checkpoint) runs = end
    if (layer !== 'libxl' || type !== libxlRecord.checkpointEnd) continue
    words.push(`ended ${number++}: ${end - from} bytes, ${runs - from} standing, ${pages} pages`)
    from = end
    pages = 0
    isFresh = true
  }
  return words
}

/** What is heard until the end, or until it is refused with E_IMAGE. */
function attempt(bytes: Uint8Array): { readonly words: readonly string[], readonly refused: boolean } {
  const { words, stream } = listener()
  try {
    stream.push(bytes)
    return { words, refused: false }
  } catch (error) {
    if (!(error instanceof TailgateError) || error.code !== 'E_IMAGE') throw error
    return { words, refused: true }
  }
}

for (const [name, vector] of Object.entries(vectors)) {
  void t.test(`${name}: the checkpoints of a real stream are found, however it is cut into pieces`, (t) => {
    const expected = wanted(vector)
    t.equal(expected.filter((word) => word.startsWith('ended')).length, 4)
    t.same(heardOf(vector), expected)
    fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 9000 }), { minLength: 1 }), (lengths) => {
      const { words, stream } = listener()
      for (let at = 0, n = 0; at < vector.length; n++) {
        const length = lengths[n % lengths.length] ?? 1
        stream.push(vector.subarray(at, at + length))
        at += length
      }
      t.same(words, expected)
    }), { numRuns: 20 })
    t.end()
  })

  void t.test(`${name}: who reads what is wanted has not read on when a checkpoint begins`, (t) => {
    const { words, stream } = listener()
    for (let at = 0; at < vector.length;) {
      const known = words.length
      const { wanted: length, isBetween } = stream
      stream.push(vector.subarray(at, at + length))
      at += length
      if (words.length === known || !words.at(-1)?.startsWith('began')) continue
      t.ok(isBetween, 'nothing of it had been read')
      t.equal(stream.bytes, 8, 'only the header of its first record has')
    }
    t.equal(words.filter((word) => word.startsWith('began')).length, 4)
    t.end()
  })

  void t.test(`${name}: a stream that ends early tells of the checkpoints before, and of no other`, (t) => {
    const ends = recordsOf(vector).filter(({ layer, type }) =>
      layer === 'libxl' && type === libxlRecord.checkpointEnd).map(({ end }) => end)
    fc.assert(fc.property(fc.integer({ min: 0, max: vector.length }), (length) => {
      const ended = heardOf(vector.subarray(0, length)).filter((word) => word.startsWith('ended'))
      t.equal(ended.length, ends.filter((end) => end <= length).length)
    }))
    for (const end of ends) {
      t.equal(heardOf(vector.subarray(0, end - 1)).length + 1, heardOf(vector.subarray(0, end)).length)
    }
    t.end()
  })

  void t.test(`${name}: a record of an unknown type, or longer than it can be, is refused`, (t) => {
    for (const { layer, type, at } of recordsOf(vector)) {
      for (const [offset, value, what] of [[0, 0x7f, /0x7f/], [4, 0xffff_fff0, /bytes/]] as const) {
        const damaged = Buffer.from(vector)
        damaged.writeUInt32LE(value, at + offset)
        const refusal = { code: 'E_IMAGE', message: what }
        t.throws(() => heardOf(damaged), refusal, `${layer} ${type}, byte ${offset}`)
      }
    }
    t.end()
  })

  void t.test(`${name}: a header that says something else is refused`, (t) => {
    const first = recordsOf(vector)[0]
    const image = (first?.end ?? 0) - 40
    const libxl = (first?.at ?? 0) - 16
    const ofLibxl = [0, 11, 15].map((at) => libxl + at)
    const ofLibxc = [0, 8, 15, 17, 28].map((at) => image + at)
    for (const at of [0, 31, 32, 36, 47, ...ofLibxl, ...ofLibxc]) {
      const damaged = Buffer.from(vector)
      damaged[at] = (damaged[at] ?? 0) ^ 0x40
      t.throws(() => heardOf(damaged), { code: 'E_IMAGE' }, `byte ${at}`)
    }
    t.end()
  })

  void t.test(`${name}: damage to what is told is refused, or makes sizes differ`, (t) => {
    const flip = fc.record({
      at: fc.integer({ min: 0, max: vector.length - 1 }), bit: fc.integer({ min: 0, max: 7 })
    })
    const names = (words: readonly string[]) => words.map((word) => word.replace(/:.*/, ''))
    const whole = names(heardOf(vector))
    fc.assert(fc.property(flip, ({ at, bit }) => {
      const damaged = Buffer.from(vector)
      damaged[at] = (damaged[at] ?? 0) ^ (1 << bit)
      const { words, refused } = attempt(damaged)
      const told = names(words)
      // A damaged length has other bytes be read as records, and zeros are the END of either layer.
      if (told.at(-1) === 'finished') told.pop()
      t.same(told, whole.slice(0, told.length))
      t.ok(refused || words.length > 0)
    }), { numRuns: 300 })
    t.end()
  })
}

void t.test('records that open and close the parts of a stream come in their order', (t) => {
  const vector = vectors.pvh
  const records = recordsOf(vector)
  const first = records[0]?.at ?? 0
  const afterFirst = records.find(({ layer, type }) =>
    layer === 'libxl' && type === libxlRecord.checkpointEnd)
  const preamble = vector.subarray(0, first)
  const header = (type: number): Buffer => {
    const bytes = Buffer.alloc(8)
    bytes.writeUInt32LE(type, 0)
    return bytes
  }
  const whole = vector.subarray(0, afterFirst?.end ?? 0)
  const ended = Buffer.concat([vector.subarray(0, (afterFirst?.at ?? 0) - 8), header(libxcRecord.end)])
  const wrongs = {
    'a checkpoint without a domain': [preamble, header(libxlRecord.checkpointEnd)],
    'an end without a domain': [preamble, header(libxlRecord.end)],
    'a checkpoint after the end of libxc': [ended, header(libxlRecord.checkpointEnd)],
    'a second domain': [ended, header(libxlRecord.libxcContext)],
    'an end in the middle of a checkpoint': [whole, header(libxcRecord.checkpoint), header(libxlRecord.end)]
  }
  t.notOk(attempt(whole).refused)
  t.notOk(attempt(ended).refused)
  for (const [what, parts] of Object.entries(wrongs)) t.ok(attempt(Buffer.concat(parts)).refused, what)
  t.end()
})

void t.test('what it says of its domain is told', (t) => {
  const told: string[] = []
  const configured = (json: string): void => { told.push(json) }
  const nothing = (): void => undefined
  const stream = new XenStream({ configured, began: nothing, ended: nothing, finished: nothing })
  for (let at = 0; at < vectors.pvh.length; at += 100) stream.push(vectors.pvh.subarray(at, at + 100))
  t.match(told.map((json) => describedIn(json)), [{
    name: 'guest', type: 'pvh', writableDisks: [],
    cards: [{ mac: '02:77:00:00:02:65', bridge: 'guests', device: 'guest0' }]
  }])
  t.end()
})

void t.test('an optional record is passed over', (t) => {
  const vector = vectors.pvh
  const [, second] = recordsOf(vector)
  const at = second?.at ?? 0
  const extra = Buffer.alloc(8 + 16)
  extra.writeUInt32LE(0x8000_0077, 0)
  extra.writeUInt32LE(13, 4)
  const expected = heardOf(vector)
  const with24 = Buffer.concat([vector.subarray(0, at), extra, vector.subarray(at)])
  const grown = (expected[1] ?? '').replace(/\d+ (?=bytes|standing)/g,
    (text) => `${Number.parseInt(text, 10) + 24} `)
  t.same(heardOf(with24), ['configured', grown, ...expected.slice(2)])
  t.end()
})

void t.test('pages are counted by what the record has room for', (t) => {
  const vector = vectors.pvh
  const pages = recordsOf(vector).find(({ layer, type }) =>
    layer === 'libxc' && type === libxcRecord.pageData)
  for (const count of [0, 1025, 9]) {
    const damaged = Buffer.from(vector)
    damaged.writeUInt32LE(count, (pages?.at ?? 0) + 8)
    t.throws(() => heardOf(damaged), { code: 'E_IMAGE', message: /PAGE_DATA/ }, `${count} pages`)
  }
  t.end()
})

void t.test('a domain that is saved ends its stream, and nothing may follow', (t) => {
  const vector = vectors.pvh
  const records = recordsOf(vector)
  const first = records.findIndex(({ type, layer }) => layer === 'libxc' && type === libxcRecord.checkpoint)
  const end = Buffer.alloc(8)
  const saved = Buffer.concat([vector.subarray(0, records[first]?.at ?? 0), end, end])
  const { words, stream } = listener()
  stream.push(saved)
  t.same(words, ['configured', 'finished'])
  t.equal(stream.wanted, 0)
  t.ok(stream.isBetween)
  t.throws(() => stream.push(end), { code: 'E_IMAGE', message: /after its end/ })
  t.end()
})

void t.test('anything else is refused at its first bytes', (t) => {
  fc.assert(fc.property(fc.uint8Array({ minLength: 48, maxLength: 200 }), (bytes) => {
    t.ok(attempt(bytes).refused)
  }))
  t.end()
})
