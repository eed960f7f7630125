import t from 'tap'
import { drainReads, type Drained, type DrainResult } from '../../src/net/drain-reads.ts'

/** Holds pieces of which one is read in each turn, while it is resumed. */
class Held implements Drained {
  bytesRead = 0
  /** Called after each piece. */
  onRead: () => void = () => undefined
  paused = true
  #pieces: number
  #reading = false

  constructor(pieces: number) {
    this.#pieces = pieces
  }

  pause(): void {
    this.paused = true
  }

  resume(): void {
    this.paused = false
    if (this.#reading) return
    this.#reading = true
    setImmediate(() => this.#read())
  }

  #read(): void {
    this.#reading = false
    if (this.paused || this.#pieces === 0) return
    this.#pieces -= 1
    this.bytesRead += 1
    this.onRead()
    if (!this.paused) this.resume()
  }
}

function drain(...sides: readonly Held[]): Promise<DrainResult> {
  return new Promise(resolve => { drainReads(sides, { bytesMax: 100, roundsMax: 100 }, resolve) })
}

void t.test('a side that is paused for what it has brought is read on', async t => {
  const [slow, other] = [new Held(5), new Held(2)]
  slow.onRead = () => slow.pause()
  t.match(await drain(slow, other), { bytes: 7, complete: true })
  t.same([slow.bytesRead, other.bytesRead], [5, 2])
  t.same([slow.paused, other.paused], [true, true])
})

void t.test('nothing is read where nothing is held', async t => {
  const side = new Held(0)
  t.match(await drain(side), { bytes: 0, complete: true })
  t.ok(side.paused)
})
