import type { Test } from 'tap'
import type { CheckpointRequest } from '../../src/core/agent/port.ts'
import type { Engine } from '../../src/engine/engine.ts'

/** What the suite needs of an implementation. */
export interface EngineUnderTest {
  readonly name: string
  /** An engine whose guest is absent. The suite stops it. */
  make(t: Test): Promise<Engine>
  /** Puts a key into the running guest, and reads it; only of engines that can restore. */
  write?(engine: Engine, value: string): Promise<void>
  read?(engine: Engine): Promise<string | null>
  /** Whether anybody is let in at its first endpoint. */
  isOpen?(engine: Engine): Promise<boolean>
  /** So many bytes of its images in a piece are few, and not too few for all of an image. */
  readonly smallPiece?: number
  /** Pieces of its images come while the guest still runs. */
  readonly copiesLive?: boolean
  /** Nothing in its images tells that a byte was changed: the agent's CRC does. */
  readonly hasNoChecksum?: boolean
  /** Kills the running guest from outside. */
  kill?(engine: Engine): void
}

const pieceBytesMax = 1024 * 1024
/** What is asked of an engine when nothing else is said. */
export const standsAlone: CheckpointRequest = { builds: false, periodMs: 100 }
const nothing = (): Promise<void> => Promise.resolve()

export async function take(engine: Engine, standing: () => Promise<void> = nothing): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for await (const piece of engine.checkpoint(standing, standsAlone)) pieces.push(piece)
  return Buffer.concat(pieces)
}

// eslint-disable-next-line @typescript-eslint/require-await -- an iterable that has no need to wait
export async function* inPieces(image: Uint8Array, bytes = 100_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < image.length; at += bytes) yield image.subarray(at, at + bytes)
}

/** Brings a guest from an image into place, by way of the standby where the engine has one. */
async function restoreFrom(engine: Engine, image: () => AsyncIterable<Uint8Array>): Promise<void> {
  await engine.absorb?.(image())
  await engine.restore(image())
}

/** What every engine that makes checkpoints must do (src/engine/engine.ts). */
export function engineCompliance(test: Test, under: EngineUnderTest): void {
  void test.test(`${under.name}: from absent to running and back`, async (t) => {
    const engine = await under.make(t)
    t.equal(engine.condition, 'absent')
    await t.rejects(take(engine), { code: 'E_ENGINE' }, 'there is nothing to checkpoint')
    await engine.start()
    t.equal(engine.condition, 'running')
    t.ok(engine.endpoints.length > 0 && engine.endpoints.every((one) => /^.+:[1-9]\d*$/.test(one)))
    await t.rejects(engine.start(), { code: 'E_ENGINE' }, 'it is there already')
    t.equal(engine.condition, 'running')
    await engine.stop()
    t.equal(engine.condition, 'absent')
    await engine.start()
    await engine.stop()
    await engine.stop()
  })

  void test.test(`${under.name}: a checkpoint awaits the mark, and there is one at a time`, async (t) => {
    const engine = await under.make(t)
    await engine.start()
    const steps: string[] = []
    const pauses: number[] = []
    engine.onPaused = (ms) => { pauses.push(ms) }
    for await (const piece of engine.checkpoint(async () => {
      await t.rejects(take(engine), { code: 'E_ENGINE' }, 'one at a time')
      steps.push('mark')
    }, standsAlone)) {
      steps.push('piece')
      t.ok(piece.length <= pieceBytesMax)
    }
    t.equal(steps.filter((step) => step === 'mark').length, 1)
    if (under.copiesLive !== true) t.equal(steps[0], 'mark', 'nothing of the image comes before the mark')
    if (engine.canRestore) t.equal(steps.at(-1), 'piece', 'something comes after it')
    // One that copies live may have stood without a mark, too.
    t.ok(pauses.length === 1 || under.copiesLive === true && pauses.length > 1, 'it says that it stood still')
    t.ok(pauses.every((ms) => ms > 0))
    await take(engine)
    await engine.stop()
  })

  void test.test(`${under.name}: a refused mark, or an image nobody wants: the guest runs on`, async (t) => {
    const engine = await under.make(t)
    await engine.start()
    await t.rejects(take(engine, () => Promise.reject(new Error('no mark'))), { message: 'no mark' })
    for await (const piece of engine.checkpoint(nothing, standsAlone)) {
      t.ok(piece.length > 0)
      break
    }
    t.equal(engine.condition, 'running')
    const again = await take(engine)
    t.ok(again.length > 0 || !engine.canRestore)
    await engine.stop()
  })

  void test.test(`${under.name}: a guest that dies is failed until it is stopped`, async (t) => {
    if (under.kill === undefined) {
      t.pass('its guest has no process of the engine\'s')
      return
    }
    const engine = await under.make(t)
    await engine.start()
    const reasons: string[] = []
    const told = new Promise<void>((resolve) => {
      engine.onFailure = (reason) => { reasons.push(reason); resolve() }
    })
    under.kill(engine)
    await told
    t.equal(engine.condition, 'failed')
    t.equal(reasons.length, 1)
    await t.rejects(take(engine), { code: 'E_ENGINE' })
    await t.rejects(engine.start(), { code: 'E_ENGINE' })
    await engine.stop()
    t.equal(engine.condition, 'absent')
    await engine.start()
    await engine.stop()
    t.equal(reasons.length, 1, 'being stopped is no failure')
  })

  restoring(test, under)
}

function restoring(test: Test, under: EngineUnderTest): void {
  void test.test(`${under.name}: restore`, async (t) => {
    const engine = await under.make(t)
    const { read, write, isOpen } = under
    if (!engine.canRestore) {
      await t.rejects(engine.restore(inPieces(Buffer.alloc(0))), { code: 'E_ENGINE' })
      t.equal(engine.condition, 'absent')
      return
    }
    if (read === undefined || write === undefined || isOpen === undefined) {
      throw new Error('the suite needs them')
    }
    await engine.start()
    await write(engine, 'before')
    const image = await take(engine)
    await write(engine, 'after')
    await engine.stop()

    await restoreFrom(engine, () => inPieces(image))
    t.equal(engine.condition, 'running')
    t.equal(engine.endpoints.length, 1)
    t.notOk(await isOpen(engine), 'its network is closed')
    await engine.openNetwork()
    await engine.attached()
    t.equal(await read(engine), 'before')
    await write(engine, 'second')
    const second = await take(engine)
    await engine.stop()
    await restoreFrom(engine, () => inPieces(second, under.smallPiece ?? 7))
    await engine.openNetwork()
    t.equal(await read(engine), 'second', 'a restored guest can be checkpointed and restored again')
    await engine.stop()
  })

  void test.test(`${under.name}: images that are not whole`, async (t) => {
    const engine = await under.make(t)
    if (!engine.canRestore) {
      t.pass('it has no images')
      return
    }
    await engine.start()
    const image = await take(engine)
    await engine.stop()
    const damaged = Buffer.from(image)
    damaged[image.length >> 1] = (damaged[image.length >> 1] ?? 0) ^ 1
    const cuts = [0, 10, image.length - 1].map((length) => image.subarray(0, length))
    for (const torn of under.hasNoChecksum === true ? cuts : [...cuts, damaged]) {
      if (engine.absorb !== undefined) {
        await t.rejects(engine.absorb(inPieces(torn)), { code: 'E_IMAGE' }, 'nor is there a standby then')
      }
      await t.rejects(engine.restore(inPieces(torn)), { code: 'E_IMAGE' })
      t.equal(engine.condition, 'absent')
    }
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield* inPieces(image.subarray(0, 20))
      throw new Error('the disk is gone')
    }
    const isGone = { code: 'E_ENGINE', message: /the disk is gone/ }
    if (engine.absorb !== undefined) await t.rejects(engine.absorb(broken()), isGone)
    await t.rejects(engine.restore(broken()), isGone)
    t.equal(engine.condition, 'absent')
    await restoreFrom(engine, () => inPieces(image))
    await engine.stop()
  })
}
