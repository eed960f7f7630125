import type { Envelope, Message } from '../../src/core/message.ts'
import { Channel } from './network.ts'
import type { Process } from './process.ts'
import type { World } from './world.ts'

/** One end of a link, as its owner sees it. */
export interface LinkEnd {
  readonly machine: string
  readonly process: Process
  message(envelope: Envelope, message: Message): void
  closed(): void
}

/** `message` with bytes of its own, as the other side of a socket would have. */
function copyOf(message: Message): Message {
  switch (message.type) {
    case 'epoch': return { ...message, records: message.records.map(bytes => bytes.slice()) }
    case 'tail': return { ...message, records: message.records.slice() }
    case 'checkpoint-data': return { ...message, bytes: message.bytes.slice() }
    default: return Object.freeze(message)
  }
}

/**
 * An established link: messages arrive whole and in order, or the link ends. Its two ends may learn of the
 * end at very different times, and send into the void meanwhile.
 */
export class Link {
  readonly id: number
  readonly ends: readonly [LinkEnd, LinkEnd]
  readonly #world: World
  readonly #channels: readonly [Channel, Channel]
  readonly #closed: [boolean, boolean] = [false, false]
  #broken = false

  constructor(world: World, a: LinkEnd, b: LinkEnd) {
    this.#world = world
    this.id = world.nextLink++
    this.ends = [a, b]
    this.#channels = [new Channel(a.machine, b.machine), new Channel(b.machine, a.machine)]
    world.links.add(this)
  }

  get broken(): boolean { return this.#broken }

  joins(process: Process): boolean {
    return this.ends[0].process === process || this.ends[1].process === process
  }

  /** Sends from the end `from` (0 or 1) to the other. */
  send(from: 0 | 1, envelope: Envelope, message: Message): void {
    const to = from === 0 ? 1 : 0
    if (this.#broken || this.#closed[from]) return
    const late = this.#world.scenario.copyLate
    const sent = late ? message : copyOf(message)
    const other = this.ends[to]
    this.#world.network.send(this.#channels[from], () => {
      if (this.#broken || this.#closed[to]) return
      const arrived = late ? copyOf(sent) : sent
      other.process.run(() => {
        if (this.#closed[to]) return
        this.#world.hook()
        other.message(envelope, arrived)
      })
    }, () => this.break(this.#world.scenario.lateNotice))
  }

  /** Nothing more arrives for this long; then everything does, in order. */
  stall(micros: number): void {
    for (const channel of this.#channels) {
      channel.earliest = Math.max(channel.earliest, this.#world.clock.now + micros)
    }
  }

  /** One end closes it on purpose: that end is told nothing, the other one soon. */
  close(by: 0 | 1): void {
    this.#closed[by] = true
    this.break(this.#world.scenario.delayMax)
  }

  /** The link is gone. Each end learns of it after up to `noticeMicros`. */
  break(noticeMicros: number): void {
    if (this.#broken) return
    this.#broken = true
    this.#world.links.delete(this)
    this.#notice(0, noticeMicros)
    this.#notice(1, noticeMicros)
  }

  #notice(end: 0 | 1, noticeMicros: number): void {
    const owner = this.ends[end]
    const delay = this.#world.random.chance(0.5) ? 0 : this.#world.random.below(noticeMicros + 1)
    owner.process.after(delay, () => {
      if (this.#closed[end]) return
      this.#closed[end] = true
      owner.closed()
    })
  }
}
