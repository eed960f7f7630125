import t, { type Test } from 'tap'
import { CheckpointPump } from '../../src/agent/checkpoint-pump.ts'
import { checkpointId, millis } from '../../src/core/ids.ts'
import { NoEngine } from '../../src/engine/blackhole.ts'
import type { Engine } from '../../src/engine/engine.ts'
import { RemusImages } from '../../src/engine/remus-images.ts'
import { xenHeaderBytes } from '../../src/engine/xen-image.ts'
import { XenStream } from '../../src/engine/xen-stream.ts'
import { grownBytes, type Order } from './remus/orders.ts'
import { StandIn } from './remus/stand-in.ts'

// Checkpoints of `xl remus` that are not sent as fast as they come: the domain never stands for that. A
// program stands in for xl (remus/xl.ts), which says that the domain runs when a real pipe has taken the
// checkpoint.

interface Begun {
  readonly xl: StandIn
  readonly images: RemusImages
}

const givenUp = 'checkpoints come faster than they can be sent to the backup'

async function begin(t: Test): Promise<Begun> {
  const xl = new StandIn(t)
  let read = 0
  const images = await RemusImages.begin({
    domain: 'guest', periodMs: 100, check: () => undefined, paused: () => { xl.note(`read ${++read}`) }
  })
  t.teardown(async () => {
    const closed = images.close('the test is over')
    xl.order('q')
    await closed
  })
  return { xl, images }
}

/** An image that ends with a checkpoint, which is ordered when its header, or all before it, was taken. */
async function* image(
  { xl, images }: Begun, order: Order, standing: () => Promise<void> = () => Promise.resolve(), orderAt = 1
): AsyncGenerator<Uint8Array, void> {
  let pieces = 0
  for await (const piece of images.next(standing)) {
    if (++pieces === orderAt) xl.order(order)
    yield piece
  }
}

/** The first image: after the header comes the first pass, in one piece. */
function firstImage(begun: Begun): Promise<Buffer> {
  return rest(image(begun, 'c', undefined, 2))
}

/** All that is still to be taken of an image. */
async function rest(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const found: Uint8Array[] = []
  for await (const piece of pieces) found.push(piece)
  return Buffer.concat(found)
}

/** An image of which no more is taken than a piece from after its mark; what follows is still to come. */
async function stalled(begun: Begun) {
  let isMarked = false
  const pieces = image(begun, 'l', () => {
    isMarked = true
    return Promise.resolve()
  })
  const taken: Uint8Array[] = []
  while (!isMarked) {
    const { value } = await pieces.next()
    if (value !== undefined) taken.push(value)
  }
  return { taken: Buffer.concat(taken), pieces }
}

/** The numbers of the checkpoints in these images of one stream; throws where they are not whole. */
function checkpointsIn(images: readonly Buffer[]): readonly number[] {
  const numbers: number[] = []
  const stream = new XenStream({
    configured: () => undefined, began: () => undefined, finished: () => undefined,
    ended: ({ number }) => { numbers.push(number) }
  })
  for (const bytes of images) stream.push(bytes.subarray(xenHeaderBytes))
  if (!stream.isBetween) throw new Error('it ends within a checkpoint')
  return numbers
}

const waiting = 'while nobody takes anything checkpoints wait, the domain runs, and the stream goes on'
void t.test(waiting, async (t) => {
  const begun = await begin(t)
  const { xl, images } = begun
  const first = await firstImage(begun)
  const { taken, pieces } = await stalled(begun)
  for (const number of [3, 4]) {
    xl.order('l')
    await xl.until(`runs ${number}`)
    await xl.until(`read ${number}`)
  }
  t.notOk(images.over)
  const second = Buffer.concat([taken, await rest(pieces)])
  const third = await rest(image(begun, 'c'))
  t.ok(third.length > 2 * grownBytes.l, 'those for which nobody had asked')
  t.same(checkpointsIn([first, second, third]), [0, 1, 2, 3, 4, 5], 'nothing is lost or added')
})

void t.test('...until too much waits: it is given up with the reason, and the domain runs on', async (t) => {
  const begun = await begin(t)
  const { xl, images } = begun
  await firstImage(begun)
  const { pieces } = await stalled(begun)
  for (let more = 0; more < 4; more++) xl.order('l')
  await xl.until('runs on, since nobody reads')
  t.ok(images.over)
  await t.rejects(rest(pieces), { code: 'E_ENGINE', message: givenUp })
  await images.gone
})

/** The agent's way from the engine to a link that takes nothing before it is told to. */
function pumped(begun: Begun, spoolBytes: number) {
  const heard: string[] = []
  let drain: () => void = () => undefined
  const link = new Promise<void>((resolve) => { drain = resolve })
  let letGo: () => void = () => undefined
  const taken = new Promise<void>((resolve) => { letGo = resolve })
  const checkpoint: Engine['checkpoint'] = async function* (standing) {
    yield* image(begun, 'h', standing)
    letGo()
  }
  const pump = new CheckpointPump({
    engine: Object.assign(new NoEngine({ endpoints: [] }), { checkpoint }), spoolBytes, now: () => millis(1),
    drained: () => link, tell: (call) => { call() }
  }, checkpointId(1), { builds: true, periodMs: 100 }, {
    standing: () => { pump.runOn() }, piece: () => undefined,
    ended: () => { heard.push('ended') }, failed: (_now, reason) => { heard.push(reason) }
  })
  return { heard, done: pump.run(), taken, drain }
}

void t.test('a checkpoint of any length waits in the spool for a slow link; the domain runs', async (t) => {
  const begun = await begin(t)
  await firstImage(begun)
  const { heard, done, taken, drain } = pumped(begun, 2 * grownBytes.h)
  await begun.xl.until('runs 2')
  await taken
  t.same(heard, [], 'nothing of it has been sent')
  const third = await rest(image(begun, 'c'))
  t.ok(third.length > xenHeaderBytes, 'and the stream goes on')
  drain()
  await done
  t.same(heard, ['ended'])
})

void t.test('...but where the spool is full it is given up, and the domain runs on', async (t) => {
  const begun = await begin(t)
  await firstImage(begun)
  const { heard, done, drain } = pumped(begun, 1 << 20)
  await begun.xl.until('runs on, since nobody reads')
  t.notOk(begun.xl.said.includes('runs 2'), 'nobody had to let it')
  t.ok(begun.images.over)
  drain()
  await done
  t.same(heard, [givenUp])
})
