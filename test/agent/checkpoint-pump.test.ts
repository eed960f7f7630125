import t from 'tap'
import { CheckpointPump, type PumpOptions } from '../../src/agent/checkpoint-pump.ts'
import { InvariantError } from '../../src/base/invariant.ts'
import { checkpointId, millis } from '../../src/core/ids.ts'
import type { Engine } from '../../src/engine/engine.ts'
import { NoEngine } from '../../src/engine/blackhole.ts'

type Checkpoint = Engine['checkpoint']

/** An engine of which only the checkpoint matters. */
function engineWith(checkpoint: Checkpoint): Engine {
  return Object.assign(new NoEngine({ endpoints: [] }), { checkpoint })
}

/** Runs a pump; what the core hears is written down, and it answers as told. */
function pump(
  checkpoint: Checkpoint, some: Partial<PumpOptions> = {}, answer: 'run-on' | 'abort' | 'later' = 'run-on',
  builds = true
) {
  const heard: string[] = []
  let stands: () => void = () => undefined
  const standing = new Promise<void>(resolve => { stands = resolve })
  const it = new CheckpointPump({
    engine: engineWith(checkpoint), spoolBytes: 4, now: () => millis(1), drained: () => Promise.resolve(),
    tell: call => { call() }, ...some
  }, checkpointId(1), { builds, periodMs: 7 }, {
    standing: () => {
      heard.push('standing')
      stands()
      if (answer === 'run-on') it.runOn()
      if (answer === 'abort') it.abort()
    },
    piece: (_now, bytes) => { heard.push(`piece ${bytes.length}`) },
    ended: () => { heard.push('ended') },
    failed: (_now, reason) => { heard.push(`failed: ${reason}`) }
  })
  return { it, heard, standing }
}

async function* threePieces(standing: () => Promise<void>): AsyncGenerator<Uint8Array, void> {
  await standing()
  yield new Uint8Array(1)
  yield new Uint8Array(2)
  yield new Uint8Array(3)
}

void t.test('stands, runs on, and every piece before the end', async t => {
  const { it, heard } = pump(threePieces)
  await it.run()
  t.same(heard, ['standing', 'piece 1', 'piece 2', 'piece 3', 'ended'])
})

void t.test('the engine hears what is wanted', async t => {
  let heard: unknown
  await pump(async function* (standing, request) {
    heard = request
    yield* threePieces(standing)
  }).it.run()
  t.same(heard, { builds: true, periodMs: 7 })
})

void t.test('pieces from before the guest stood still never come while it stands', async t => {
  let drain: () => void = () => undefined
  const link = new Promise<void>(resolve => { drain = resolve })
  const { it, heard, standing } = pump(async function* (stands) {
    yield new Uint8Array(1)
    yield new Uint8Array(2)
    await stands()
    yield new Uint8Array(3)
  }, { drained: () => link }, 'later')
  const done = it.run()
  await standing
  drain()
  await new Promise(setImmediate)
  t.same(heard, ['standing'], 'the link has room, and only the mark passes')
  it.runOn()
  await done
  t.same(heard, ['standing', 'piece 1', 'piece 2', 'piece 3', 'ended'])
})

/** An image of 80 MiB, half of it from before the guest stands, over a link that takes so many of them. */
function slowly(linkTakes: number, spool: number, builds: boolean) {
  const taken = { pieces: 0 }
  const piece = new Uint8Array(1 << 20)
  const engine = engineWith(async function* (standing) {
    for (; taken.pieces < 40; taken.pieces++) yield piece
    await standing()
    for (; taken.pieces < 80; taken.pieces++) yield piece
  })
  let drains = 0
  const drained = () => ++drains <= linkTakes ? Promise.resolve() : new Promise<void>(() => undefined)
  const { it } = pump(threePieces, { engine, drained, spoolBytes: spool << 20 }, 'run-on', builds)
  void it.run()
  return { taken, engine }
}

const turn = () => new Promise(setImmediate)

void t.test('a whole image is taken no faster than the link takes it, until the guest stands', async t => {
  const early = slowly(0, 60, false)
  await turn()
  t.equal(early.taken.pieces, 17, '16 wait, and one is on its way to the link')
  early.engine.onSuspended?.()
  await turn()
  t.equal(early.taken.pieces, 61, 'as many as may, since it stands without a mark')
  const { taken } = slowly(30, 32, false)
  await turn()
  t.equal(taken.pieces, 63, 'and so for a mark')
  const small = slowly(0, 4, false)
  await turn()
  t.equal(small.taken.pieces, 5, 'never more than is allowed')
})

void t.test('an image that builds on others is taken at once', async t => {
  const { taken } = slowly(0, 60, true)
  await turn()
  t.equal(taken.pieces, 61)
})

void t.test('given up with pieces from before the stand: none of them goes out', async t => {
  const { it, heard } = pump(async function* (stands) {
    yield new Uint8Array(1)
    await stands()
    yield new Uint8Array(2)
  }, {}, 'abort')
  await it.run()
  t.same(heard, ['standing', 'failed: it was given up'])
})

void t.test('given up while the guest stands still: the engine hears a rejection', async t => {
  let rejected = false
  const { it, heard } = pump(async function* (standing) {
    await standing().catch((error: unknown) => {
      rejected = true
      throw error
    })
    yield new Uint8Array(1)
  }, {}, 'abort')
  await it.run()
  t.ok(rejected)
  t.same(heard, ['standing', 'failed: it was given up'])
})

void t.test('given up before the guest stands still', async t => {
  const { it, heard } = pump(threePieces)
  it.abort()
  await it.run()
  t.same(heard, ['failed: it was given up'])
})

void t.test('given up while the link is slow: the engine is let go', async t => {
  let finished = false
  const { it, heard, standing } = pump(async function* (stands) {
    try {
      yield* threePieces(stands)
    } finally {
      finished = true
    }
  }, { drained: () => new Promise<void>(() => undefined) })
  void it.run()
  await standing
  await new Promise(setImmediate)
  it.abort()
  await new Promise(setImmediate)
  t.ok(finished)
  t.same(heard, ['standing'], 'no piece went out')
})

void t.test('an engine that fails is told, with its reason', async t => {
  const { it, heard } = pump(async function* (standing) {
    await standing()
    yield new Uint8Array(1)
    throw new Error('the guest died')
  })
  await it.run()
  t.equal(heard.at(-1), 'failed: the guest died')
  t.notOk(heard.includes('ended'))
})

void t.test('a link that is gone is told', async t => {
  const { it, heard } = pump(threePieces, { drained: () => Promise.reject(new Error('no link')) })
  await it.run()
  t.match(heard.at(-1), /^failed: /)
})

void t.test('a broken invariant is no failed checkpoint: it comes out', async t => {
  const broken = new InvariantError('the books are wrong')
  let told = 0
  /** The core breaks down at the nth call. */
  const breaksAt = (call: number): Partial<PumpOptions> => ({
    tell: tell => {
      if (++told === call) throw broken
      tell()
    }
  })
  for (const [call, when] of [[1, 'when the guest stands'], [2, 'at a piece'], [5, 'at the end']] as const) {
    told = 0
    const { it, heard } = pump(threePieces, breaksAt(call))
    await t.rejects(it.run(), broken, when)
    t.equal(told, call, 'and nothing is told any more')
    t.notOk(heard.some(what => what.startsWith('failed')))
  }
  const { it } = pump(async function* (standing) {
    await standing()
    yield new Uint8Array(1)
    throw broken
  })
  await t.rejects(it.run(), broken, 'of the engine')
})
