import { millis, type Millis } from '../../src/core/ids.ts'
import type { Micros } from './clock.ts'
import type { World } from './world.ts'

/** Thrown through the core when the process it runs in dies in the middle of a call. */
export class Crash extends Error {
  readonly process: Process

  constructor(process: Process) {
    super(`${process.name} dies here`)
    this.process = process
  }
}

/** The clock of one machine: it has an offset, and runs a little fast or slow. */
export class MachineClock {
  readonly #world: World
  readonly #offset: number
  readonly #rate: number

  constructor(world: World) {
    this.#world = world
    this.#offset = world.random.range(0, 1_000_000)
    this.#rate = 1 + world.random.range(-world.scenario.driftPpm, world.scenario.driftPpm) / 1_000_000
  }

  /** How long a time of this clock takes. */
  micros(milliseconds: number): Micros {
    return Math.round(milliseconds * 1000 / this.#rate)
  }

  now(): Millis {
    return millis((this.#offset + this.#world.clock.now * this.#rate) / 1000)
  }
}

/**
 * Something that lives until it crashes. What is to happen in it is dropped when it is dead, and waits while
 * it is paused: then nothing happens, and at its end everything at once, as after SIGSTOP or a long stop of a
 * VM.
 */
export class Process {
  readonly name: string
  /** Called after everything that ran in it. */
  turnEnded: () => void = () => undefined
  readonly #world: World
  #alive = true
  #paused = false
  #waiting: (() => void)[] = []

  constructor(world: World, name: string) {
    this.#world = world
    this.name = name
  }

  get alive(): boolean { return this.#alive }
  get paused(): boolean { return this.#paused }

  kill(): void {
    this.#alive = false
    this.#waiting = []
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    const waiting = this.#waiting
    this.#waiting = []
    for (const run of waiting) this.run(run)
  }

  /** Runs `what` in this process now, or when it is not paused any more. */
  run(what: () => void): void {
    if (!this.#alive) return
    if (this.#paused) {
      this.#waiting.push(what)
      return
    }
    this.#world.inProcess(this, what)
  }

  after(delay: Micros, what: () => void): void {
    this.#world.clock.after(delay, () => this.run(what))
  }
}
