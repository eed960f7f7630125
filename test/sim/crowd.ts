import { Client, type ClientPlan } from './client.ts'
import { ms } from './clock.ts'
import type { World } from './world.ts'

/** Brings clients, one after another, so that some are always there. */
export class Crowd {
  readonly #world: World

  constructor(world: World) {
    this.#world = world
  }

  start(): void {
    this.#world.clock.after(ms(15), () => this.#bring())
  }

  get over(): boolean {
    return this.#world.clients.every(client => client.over)
  }

  #bring(): void {
    const { clients, scenario, random, clock, healed } = this.#world
    if (healed || clients.length >= scenario.clients) return
    const open = clients.filter(client => !client.over).length
    if (open < scenario.clientsAtOnce) {
      const client = new Client(this.#world, clients.length, this.#plan(clients.length))
      clients.push(client)
      client.connect()
      this.#world.count('clients')
    }
    clock.after(random.range(ms(1), ms(25)), () => this.#bring())
  }

  #plan(id: number): ClientPlan {
    const { random, scenario } = this.#world
    const short = random.chance(0.4)
    return {
      service: random.below(scenario.services.length),
      requests: short ? random.range(1, 3) : random.chance(0.5) ? random.range(3, 15) : undefined,
      depth: random.pick([1, 1, 2, 6]),
      thinkMicros: short ? random.pick([0, 100]) : random.pick([ms(3), ms(8), ms(30)]),
      slow: !short && random.chance(0.1),
      nonces: scenario.nonces && random.chance(0.5),
      shared: scenario.shared === 'free' || scenario.shared === 'one' && id === 0,
      ending: scenario.rude && random.chance(0.4) ? random.pick(['reset', 'quit-and-talk'])
        : random.pick(['half-close', 'half-close', 'quit'])
    }
  }
}
