import { writeSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { Histogram } from './histogram.ts'
import { clockSince, request, Schedule } from './schedule.ts'

/** What the reader's thread tells this one. */
export interface SenderOrder {
  readonly descriptors: readonly number[]
  readonly rate: number
  readonly seconds: number
  readonly startNs: bigint
}

/** How late requests left, in tenths of a microsecond: above all how well the generator keeps its times. */
export interface SenderReport {
  readonly lateP50: number
  readonly lateP99: number
  readonly lateMax: number
}

/** How long to wait when a socket's buffer is full, in milliseconds. */
const fullMs = 0.5

/** The kernel wakes a thread this much later than asked at most; what is left of a wait is spent turning. */
const oversleepMaxMs = 0.2

const cell = new Int32Array(new SharedArrayBuffer(4))

/**
 * The half of the open loop that sends. It has a thread of its own, and waits and writes in blocking calls,
 * so that nothing that comes back (or does not) changes when a request leaves.
 */
class Sender {
  readonly #late = new Histogram()
  readonly #now: () => number
  #oversleepMs = 0.06

  constructor(startNs: bigint) {
    this.#now = clockSince(startNs)
  }

  run({ descriptors, rate, seconds }: SenderOrder): SenderReport {
    const schedule = new Schedule(rate, descriptors.length, seconds)
    for (let next = 0; next < schedule.total; next++) {
      const due = schedule.dueMs(next)
      this.#waitUntil(due)
      this.#late.record((this.#now() - due) * 1e4)
      this.#send(descriptors[next % descriptors.length] ?? -1)
    }
    const late = this.#late
    return { lateP50: late.percentile(50), lateP99: late.percentile(99), lateMax: late.max }
  }

  /** A timer of the event loop knows whole milliseconds only; this one is right to a few microseconds. */
  #waitUntil(due: number): void {
    const sleepMs = due - this.#now() - this.#oversleepMs
    if (sleepMs > 0) {
      const wanted = this.#now() + sleepMs
      Atomics.wait(cell, 0, 0, sleepMs)
      const over = this.#now() - wanted
      this.#oversleepMs = Math.min(oversleepMaxMs, Math.max(0, this.#oversleepMs * 0.9 + over * 0.1))
    }
    while (this.#now() < due);
  }

  #send(descriptor: number): void {
    let sent = 0
    while (sent < request.length) {
      try {
        sent += writeSync(descriptor, request, sent)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
        Atomics.wait(cell, 0, 0, fullMs)
      }
    }
  }
}

const order = workerData as SenderOrder
parentPort?.postMessage(new Sender(order.startNs).run(order))
