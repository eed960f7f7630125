import { Random } from '../sim/random.ts'
import { TapDevice } from './tap-device.ts'

/** How a line treats every frame, in both directions. */
export interface Shape {
  /** How long a frame is on its way, in milliseconds, and up to how much longer by chance. */
  readonly delayMs?: number
  readonly jitterMs?: number
  /** The part of the frames that is lost, 0 to 1. */
  readonly loss?: number
}

/** What has become of the frames of one line. */
export interface LineCounts {
  readonly passed: number
  readonly lost: number
  readonly onTheWay: number
  /** Lost too, because more were on their way than a line holds. */
  readonly overrun: number
}

/** Frames on their way in one direction: about what a queue of a network card holds. */
const onTheWayMax = 4096

/**
 * A cable between two tap devices that takes its time and loses frames. It keeps their order.
 *
 * ```
 *  near ──► lost by chance? ──► on its way until now + delay + chance ──► far
 * ```
 */
export class Line {
  readonly #random: Random
  readonly #ways: readonly [Way, Way]
  #shape: Required<Shape> = { delayMs: 0, jitterMs: 0, loss: 0 }
  #lost = 0

  constructor(near: string, far: string, seed: number) {
    this.#random = new Random(seed)
    const [one, other] = [TapDevice.open(near), TapDevice.open(far)]
    this.#ways = [new Way(other), new Way(one)]
    one.onFrame = (frame) => this.#carry(frame, this.#ways[0])
    other.onFrame = (frame) => this.#carry(frame, this.#ways[1])
  }

  shape({ delayMs = 0, jitterMs = 0, loss = 0 }: Shape): void {
    this.#shape = { delayMs, jitterMs, loss }
  }

  close(): void {
    for (const way of this.#ways) way.close()
  }

  get counts(): LineCounts {
    const [one, other] = this.#ways
    return {
      passed: one.passed + other.passed, lost: this.#lost, onTheWay: one.onTheWay + other.onTheWay,
      overrun: one.overrun + other.overrun
    }
  }

  #carry(frame: Buffer, way: Way): void {
    const { delayMs, jitterMs, loss } = this.#shape
    if (this.#random.chance(loss)) this.#lost++
    else way.take(frame, delayMs + (jitterMs === 0 ? 0 : this.#random.below(jitterMs * 1000) / 1000))
  }
}

/** One direction. */
class Way {
  passed = 0
  overrun = 0
  readonly #to: TapDevice
  #queue: { readonly frame: Buffer, readonly due: number }[] = []
  #timer: NodeJS.Timeout | undefined

  constructor(to: TapDevice) {
    this.#to = to
  }

  get onTheWay(): number {
    return this.#queue.length
  }

  take(frame: Buffer, delayMs: number): void {
    if (delayMs === 0 && this.#queue.length === 0) {
      this.#deliver(frame)
    } else if (this.#queue.length >= onTheWayMax) {
      this.overrun++
    } else {
      const due = Math.max(performance.now() + delayMs, this.#queue.at(-1)?.due ?? 0)
      this.#queue.push({ frame, due })
      this.#timer ??= setTimeout(() => this.#arrive(), delayMs)
    }
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#queue = []
    this.#to.close()
  }

  #arrive(): void {
    this.#timer = undefined
    const now = performance.now()
    const after = this.#queue.findIndex(({ due }) => due > now)
    const arrived = this.#queue.splice(0, after === -1 ? this.#queue.length : after)
    for (const { frame } of arrived) this.#deliver(frame)
    const next = this.#queue[0]
    if (next !== undefined) this.#timer = setTimeout(() => this.#arrive(), next.due - now)
  }

  #deliver(frame: Buffer): void {
    if (this.#to.send(frame)) this.passed++
    else this.overrun++
  }
}
