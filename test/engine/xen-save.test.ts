import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { openPart, xenHeaderBytes } from '../../src/engine/xen-image.ts'
import { restoreDomain, saveDomain } from '../../src/engine/xen-save.ts'
import { libxcRecord, recordAt, type StreamRecord } from '../xen/vectors/walk.ts'
import { inPieces } from './compliance.ts'

// A domain that is saved whole. A script stands in for `xl save`; what a real one does is tried on a real Xen
// (test/xen).

/** Far more than a pipe takes. */
const pageRecords = 600
/** An END of libxc and one of libxl, which have no contents. */
const ends = Buffer.alloc(16)

/** What `xl save` would write: the beginning of a stream of Remus, with its first pages so many times. */
function savedStream(pageCount = pageRecords): Buffer {
  const vector = gunzipSync(readFileSync(new URL('../xen/vectors/pvh.stream.gz', import.meta.url)))
  const isPages = ({ layer, type }: StreamRecord): boolean =>
    layer === 'libxc' && type === libxcRecord.pageData
  let record = recordAt(vector, undefined)
  while (record !== undefined && !isPages(record)) record = recordAt(vector, record)
  if (record === undefined) throw new Error('the vector has no pages')
  const pages = vector.subarray(record.at, record.end)
  return Buffer.concat([vector.subarray(0, record.at), ...Array<Buffer>(pageCount).fill(pages), ends])
}

const domain = { domain: 'guest', check: () => undefined } as const

interface StandIn {
  readonly directory: string
  /** The file that is there when it was started. */
  readonly begun: string
  /** The file that is there when all was written. */
  readonly ended: string
}

/** An `xl` that writes the stream, and does that then. */
function standIn(t: Test, stream: Buffer, ending = 'exit 0'): StandIn {
  const directory = mkdtempSync(join(tmpdir(), 'tg-save-'))
  const at = (name: string): string => join(directory, name)
  const [source, begun, ended] = [at('stream'), at('begun'), at('ended')]
  writeFileSync(source, stream)
  const script = `#!/bin/sh\n>${begun}\ncat ${source} >"$4" && >${ended}\n${ending}\n`
  writeFileSync(join(directory, 'xl'), script, { mode: 0o755 })
  const { PATH } = process.env
  process.env.PATH = `${directory}:${PATH ?? ''}`
  t.teardown(() => {
    process.env.PATH = PATH
    rmSync(directory, { recursive: true })
  })
  return { directory, begun, ended }
}

void t.test('while the domain stands, what was read of it waits', async (t) => {
  const stream = savedStream()
  const { directory, ended } = standIn(t, stream)
  const pauses: number[] = []
  const pieces: Uint8Array[] = []
  let early = 0
  let marks = 0
  const standing = (): Promise<void> => {
    marks++
    t.notOk(existsSync(ended), 'xl has not written all when the mark is exchanged')
    return Promise.resolve()
  }
  const paused = (ms: number): void => { pauses.push(ms) }
  for await (const piece of saveDomain({ ...domain, directory, paused }, standing)) {
    pieces.push(piece)
    if (marks > 0 && !existsSync(ended)) early++
  }
  t.equal(marks, 1)
  t.equal(early, 0, 'nothing was handed on before xl had ended')
  t.equal(pauses.length, 1)
  const whole = Buffer.concat(pieces)
  t.equal((await openPart(inPieces(whole))).part.index, 0)
  t.ok(whole.subarray(xenHeaderBytes).equals(stream), 'and all of it comes then')
})

/** Takes all of an image. */
async function take(t: Test, directory: string): Promise<void> {
  const options = { ...domain, directory, paused: () => undefined }
  let bytes = 0
  for await (const piece of saveDomain(options, () => Promise.resolve())) bytes += piece.length
  t.comment(`${bytes} bytes came`)
}

void t.test('an xl that fails in the end is an error', async (t) => {
  const { directory } = standIn(t, savedStream(), 'exit 1')
  await t.rejects(take(t, directory), { code: 'E_ENGINE', message: /xl save has failed/ })
})

void t.test('so is one that ends well and has not written all', async (t) => {
  const { directory } = standIn(t, savedStream().subarray(0, -ends.length))
  const message = 'xl save has ended its stream too early'
  await t.rejects(take(t, directory), { code: 'E_ENGINE', message })
})

void t.test('nothing is begun for who wants no more than the header', async (t) => {
  const { directory, begun } = standIn(t, savedStream())
  const options = { ...domain, directory, paused: () => undefined }
  for await (const piece of saveDomain(options, () => Promise.resolve())) {
    t.equal(piece.length, xenHeaderBytes)
    break
  }
  t.notOk(existsSync(begun))
})

void t.test('an image that is left in the middle ends xl, which has nobody to write to', async (t) => {
  const { directory, ended } = standIn(t, savedStream())
  const options = { ...domain, directory, paused: () => undefined }
  for await (const piece of saveDomain(options, () => Promise.resolve())) {
    if (piece.length !== xenHeaderBytes) break
  }
  t.notOk(existsSync(ended))
})

void t.test('...and by force, where it does not end by itself', async (t) => {
  const { directory, begun, ended } = standIn(t, savedStream(), 'exec sleep infinity')
  const options = { ...domain, directory, paused: () => undefined, letGoMsMax: 1 }
  const noMark = (): Promise<void> => Promise.reject(new Error('no mark'))
  const left = async (): Promise<void> => {
    for await (const piece of saveDomain(options, noMark)) t.ok(piece.length > 0)
  }
  await t.rejects(left(), { message: 'no mark' })
  t.ok(existsSync(begun))
  t.notOk(existsSync(ended))
})

const cut = savedStream().subarray(0, -1)
for (const [what, stream, refused] of [
  ['whose image is cut off', cut, { code: 'E_IMAGE', message: 'the image is cut off' }],
  ['that is late', savedStream(), { code: 'E_ENGINE', message: 'xl restore has made no headway for 1 s' }]
] as const) {
  void t.test(`an xl ${what} ends with what it has started to read the pipe`, async (t) => {
    const { directory } = standIn(t, Buffer.alloc(0))
    // A shell's program reads on when the shell is killed, as a helper of xl's would.
    writeFileSync(join(directory, 'xl'), '#!/bin/sh\ncat "$3" >/dev/null\nexit 0\n', { mode: 0o755 })
    await t.rejects(restoreDomain(inPieces(stream), directory, () => undefined, 1000), refused)
  })
}

const stuck = [['that takes none of it', pageRecords], ['that does not come to its end', 1]] as const
for (const [what, pages] of stuck) {
  void t.test(`a domain is restored by no xl ${what}`, async (t) => {
    const { directory } = standIn(t, Buffer.alloc(0))
    writeFileSync(join(directory, 'xl'), '#!/bin/sh\nexec sleep infinity\n', { mode: 0o755 })
    const restored = restoreDomain(inPieces(savedStream(pages)), directory, () => undefined, 1)
    const message = 'xl restore has made no headway for 0.001 s'
    await t.rejects(restored, { code: 'E_ENGINE', message })
  })
}
