import type { Micros } from './clock.ts'
import type { World } from './world.ts'

/**
 * One direction between two machines in which nothing overtakes: a TCP connection, or the wire to a guest.
 */
export class Channel {
  readonly from: string
  readonly to: string
  /** Nothing arrives before this. */
  earliest: Micros = 0

  constructor(from: string, to: string) {
    this.from = from
    this.to = to
  }
}

/** What lies between the machines: delay, jitter, and cuts. */
export class Network {
  readonly #world: World
  readonly #cut = new Set<string>()

  constructor(world: World) {
    this.#world = world
  }

  /** Nothing passes between these two, in either direction, until {@link heal}. */
  cut(a: string, b: string): void {
    this.#cut.add(`${a} ${b}`).add(`${b} ${a}`)
  }

  /** Nothing passes from `a` to `b`; the other direction stays as it is. */
  cutOneWay(a: string, b: string): void {
    this.#cut.add(`${a} ${b}`)
  }

  heal(a: string, b: string): void {
    this.#cut.delete(`${a} ${b}`)
    this.#cut.delete(`${b} ${a}`)
  }

  healAll(): void {
    this.#cut.clear()
  }

  isCut(a: string, b: string): boolean {
    return this.#cut.size > 0 && this.#cut.has(`${a} ${b}`)
  }

  /** `deliver` at the other end, after everything sent before; or `lost`, when it would have arrived. */
  send(channel: Channel, deliver: () => void, lost: () => void): void {
    const { clock, random, scenario } = this.#world
    const arrival = clock.now + random.range(scenario.delayMin, scenario.delayMax)
    channel.earliest = Math.max(channel.earliest, arrival)
    const cutAtStart = this.isCut(channel.from, channel.to)
    clock.after(channel.earliest - clock.now, () => {
      if (cutAtStart || this.isCut(channel.from, channel.to)) lost()
      else deliver()
    })
  }
}
