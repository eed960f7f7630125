import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { RemusImages } from '../../src/engine/remus-images.ts'
import { openPart, xenHeaderBytes } from '../../src/engine/xen-image.ts'
import { inPieces } from './compliance.ts'
import { StandIn } from './remus/stand-in.ts'

// The stream of `xl remus` in images. A program stands in for xl (remus/xl.ts); the pipe is a real one, and
// what a real domain does is tried on a real Xen (test/xen).

const vector = gunzipSync(readFileSync(new URL('../xen/vectors/pvh.stream.gz', import.meta.url)))

interface Begun {
  readonly xl: StandIn
  readonly images: RemusImages
  readonly told: { readonly configured: string[], readonly pages: number[], readonly paused: number[] }
}

async function begin(t: Test, check: (json: string) => void = () => undefined): Promise<Begun> {
  const xl = new StandIn(t)
  const told = { configured: [] as string[], pages: [] as number[], paused: [] as number[] }
  const images = await RemusImages.begin({
    domain: 'guest', periodMs: 100,
    check: (json) => { told.configured.push(json); check(json) },
    paused: (ms, pages) => {
      told.paused.push(ms)
      told.pages.push(pages)
    }
  })
  t.teardown(async () => {
    const closed = images.close('the test is over')
    xl.order('q')
    await closed
  })
  return { xl, images, told }
}

interface Taken {
  readonly index: number
  readonly bytes: Buffer
}

/** Takes an image that ends with this checkpoint, which is ordered when all before it was read. */
async function take({ xl, images }: Begun, checkpoint: number, order: 'c' | 't' | 'e' = 'c'): Promise<Taken> {
  const pieces: Uint8Array[] = []
  const mark = async (): Promise<void> => {
    await xl.until(`stands ${checkpoint}`)
    xl.note(`mark ${checkpoint}`)
  }
  for await (const piece of images.next(mark)) {
    pieces.push(piece)
    // After our header comes the first pass, in one piece; later images begin with what is ordered.
    if (pieces.length === (checkpoint === 1 ? 2 : 1)) xl.order(order)
  }
  const whole = Buffer.concat(pieces)
  const { part } = await openPart(inPieces(whole))
  return { index: part.index, bytes: whole.subarray(xenHeaderBytes) }
}

const title = 'images follow one another, and each ends with a checkpoint that waited for its mark'
void t.test(title, async (t) => {
  const begun = await begin(t)
  const { xl, images, told } = begun
  const first = await take(begun, 1)
  t.equal(first.index, 0)
  t.match(told.configured[0], /"name": "guest"/)
  const second = await take(begun, 2)
  t.equal(second.index, 1)
  await xl.until('runs 2')
  t.same(xl.said, [
    'wrote the first pass', 'stands 1', 'mark 1', 'runs 1', 'stands 2', 'mark 2', 'runs 2'
  ])
  const all = Buffer.concat([first.bytes, second.bytes])
  t.ok(all.equals(vector.subarray(0, all.length)), 'nothing is lost or added')
  t.same(told.pages, [8, 8])
  t.notOk(images.over)
})

void t.test('a domain has stood since Xen said so, until its checkpoint was read', async (t) => {
  const begun = await begin(t)
  const { images, told } = begun
  const since = performance.now()
  images.suspended()
  await take(begun, 1)
  const [first = 0] = told.paused
  t.ok(first > 0 && first <= performance.now() - since, String(first))
  const again = performance.now()
  await take(begun, 2)
  const [, second = 0] = told.paused
  t.ok(second < performance.now() - again, 'what was said before the last checkpoint is over')
})

void t.test('a checkpoint that nobody had asked for is a part of the next image', async (t) => {
  const begun = await begin(t)
  const { xl } = begun
  const first = await take(begun, 1)
  xl.order('c')
  await xl.until('runs 2')
  const second = await take(begun, 3)
  t.equal(second.index, 1)
  t.equal(begun.told.paused.length, 3, 'the domain has stood for it, too')
  const all = Buffer.concat([first.bytes, second.bytes])
  t.ok(all.equals(vector.subarray(0, all.length)), 'nothing is lost or added')
  t.notOk(xl.said.includes('mark 2'))
})

void t.test('nor can one have a mark that began before the pipe could hold it', async (t) => {
  process.env.STAND_IN_AHEAD = 'yes'
  const { xl, images, told } = await begin(t)
  delete process.env.STAND_IN_AHEAD
  xl.order('c')
  const pieces: Uint8Array[] = []
  const mark = (): Promise<void> => {
    xl.note('mark')
    return Promise.resolve()
  }
  for await (const piece of images.next(mark)) {
    pieces.push(piece)
    if (told.pages.length === 1) xl.order('c')
  }
  t.same(xl.said.filter((line) => line.startsWith('mark')), ['mark'])
  t.same(told.pages, [8, 8], 'the image ends with the second')
  const bytes = Buffer.concat(pieces).subarray(xenHeaderBytes)
  t.ok(bytes.equals(vector.subarray(0, bytes.length)), 'nothing is lost or added')
})

void t.test('without a mark the domain runs on, and the stream has ended', async (t) => {
  const begun = await begin(t)
  const { xl, images } = begun
  const refused = (async () => {
    const noMark = (): Promise<void> => Promise.reject(new Error('no mark'))
    let pieces = 0
    for await (const piece of images.next(noMark)) {
      t.ok(piece.length > 0)
      if (++pieces === 2) xl.order('c')
    }
  })()
  await t.rejects(refused, { message: 'no mark' })
  await xl.until('runs on, since nobody reads')
  t.notOk(xl.said.includes('runs 1'), 'it stood until then')
  t.ok(images.over)
  await images.gone
  await t.rejects(take(begun, 2), { code: 'E_ENGINE' })
})

void t.test('an image that is left in the middle ends the stream, too', async (t) => {
  const begun = await begin(t)
  const { xl, images } = begun
  for await (const piece of images.next(() => Promise.resolve())) {
    t.ok(piece.length > 0)
    break
  }
  t.ok(images.over)
  xl.order('c')
  await xl.until('runs on, since nobody reads')
  await images.gone
})

void t.test('a checkpoint that the pipe takes whole has not waited, and does not count', async (t) => {
  const begun = await begin(t)
  await take(begun, 1)
  await t.rejects(take(begun, 2, 't'), { code: 'E_ENGINE', message: /did not wait for the mark/ })
})

void t.test('nor does one of which it takes all but the part for which no domain stands', async (t) => {
  const begun = await begin(t)
  await take(begun, 1)
  await t.rejects(take(begun, 2, 'e'), { code: 'E_ENGINE', message: /did not wait for the mark/ })
})

void t.test('an xl that ends', async (t) => {
  const begun = await begin(t)
  begun.xl.order('q')
  await t.rejects(take(begun, 1), { code: 'E_ENGINE', message: /xl remus has ended: Told to end/ })
})

void t.test('an xl that ends while the mark is exchanged', async (t) => {
  const { xl, images } = await begin(t)
  const xlEnds = async (): Promise<void> => {
    images.kill()
    await images.gone
  }
  const taken = async (): Promise<void> => {
    for await (const piece of images.next(xlEnds)) if (piece.length > xenHeaderBytes) xl.order('c')
  }
  await t.rejects(taken(), { code: 'E_ENGINE', message: 'the domain is gone' })
})

void t.test('a domain that does not fit', async (t) => {
  const other = await begin(t, () => { throw new Error('it has two cards') })
  await t.rejects(take(other, 1), { code: 'E_ENGINE', message: 'it has two cards' })
})
