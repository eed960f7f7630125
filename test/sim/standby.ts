import type { Outcome } from '../../src/core/agent/port.ts'
import type { Host } from './host.ts'
import type { Process } from './process.ts'
import type { World } from './world.ts'

/** Where an image stands among those that build on one another: the first of a stream stands alone. */
export interface StreamPlace {
  readonly stream: number
  readonly index: number
}

interface Held extends StreamPlace {
  readonly checkpoint: number
}

/**
 * What an engine whose images build on one another has absorbed, for one life of its agent: it dies with it,
 * and now and then by itself. Only the image absorbed last can be restored, once.
 */
export class Standby {
  readonly #world: World
  readonly #host: Host
  readonly #process: Process
  #held: Held | undefined
  /** The agent knows that nothing is held. */
  #told = false
  /** What the engine was ordered to do after the image that it is absorbing. */
  #afterwards: (() => void)[] | undefined

  constructor(world: World, host: Host, process: Process) {
    this.#world = world
    this.#host = host
    this.#process = process
  }

  absorb(checkpoint: number, done: (outcome: Outcome) => void): void {
    const { random, scenario, images, absorbing } = this.#world
    this.#world.absorbing = undefined
    absorbing?.()
    const place = images.get(checkpoint)?.place
    const held = this.#held
    this.#afterwards = []
    const follows = held !== undefined && held.stream === place?.stream && held.index + 1 === place.index
    if (place?.index === 0) this.lose('another stream takes its place')
    this.#process.after(random.range(100, scenario.absorbMax), () => {
      const afterwards = this.#afterwards ?? []
      this.#afterwards = undefined
      for (const order of afterwards) this.#process.after(0, order)
      if (place === undefined || place.index > 0 && !follows) {
        this.#world.count('does not follow')
        return done({ ok: false, reason: 'it does not follow what was absorbed' })
      }
      const isLost = place.index > 0 && this.#held !== held
      if (isLost || random.chance(scenario.engineFails / 2)) {
        this.lose('it ended while it took an image in')
        this.#process.after(0, () => done({ ok: false, reason: 'the standby is gone' }))
        return
      }
      this.#held = { ...place, checkpoint }
      this.#told = false
      this.#world.count(place.index === 0 ? 'absorbed' : 'absorbed after another')
      done({ ok: true })
    })
  }

  /** It is gone, and the agent hears of it in its next turn. */
  lose(reason: string): void {
    if (this.#held === undefined) return
    this.#world.trace(() => `${this.#host.name} loses its standby: ${reason}`)
    this.#world.count('standby lost')
    this.#held = undefined
    this.#process.after(0, () => {
      this.#told = this.#held === undefined
      this.#host.agent?.imagesLost(this.#host.clock.now(), reason)
    })
  }

  /**
   * It becomes the guest, when nothing is being absorbed any more. `then` hears false if there is none. To
   * ask for another than the one held breaks a rule, and so does to ask when the agent was told that none is.
   */
  take(checkpoint: number, then: (there: boolean) => void): void {
    if (this.#afterwards !== undefined) {
      this.#afterwards.push(() => { this.take(checkpoint, then) })
      return
    }
    const held = this.#held
    this.#held = undefined
    this.#world.count(held === undefined ? 'no standby to restore' : 'restored the standby')
    const expected = this.#told ? 0 : checkpoint
    this.#world.checks.takesAbsorbed(this.#host, checkpoint, held?.checkpoint ?? expected)
    then(held !== undefined)
  }
}
