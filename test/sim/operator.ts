import { ms } from './clock.ts'
import type { World } from './world.ts'

const lookEvery = ms(40)

/**
 * The person who looks after it all once the faults are over: makes sure that an old primary is off before
 * vouching for it, and accepts a loss where nothing else is left.
 */
export class Operator {
  readonly #world: World
  #stuckSince: number | undefined
  #attempts = 0
  /** There was nothing to restore from: all that can be done was done. */
  gaveUp = false

  constructor(world: World) {
    this.#world = world
  }

  start(): void {
    this.#world.clock.after(lookEvery, () => {
      this.#look()
      this.start()
    })
  }

  #look(): void {
    const { gateway, gateways } = this.#world
    const other = gateways.find(one => one !== gateway && one.running && !one.standsAside)
    if (gateway.standsAside && other !== undefined) this.#world.takeOver(other)
    const { core } = this.#world.gateway
    for (const host of this.#world.hosts) if (!host.powered) host.powerOn()
    if (core === undefined || !this.#isStuck()) {
      this.#stuckSince = undefined
      return
    }
    const { clock } = this.#world
    this.#stuckSince ??= clock.now
    if (clock.now - this.#stuckSince < ms(300)) return
    this.#stuckSince = undefined
    this.#act()
  }

  #isStuck(): boolean {
    const { gateway } = this.#world
    const protection = gateway.core?.protection
    if (protection?.state === 'failing-over') return protection.blocked !== undefined
    if (protection?.state === 'lost') return true
    return protection?.state === 'unprotected' && this.#world.primary?.guest?.reachable !== true
  }

  #act(): void {
    const { gateway } = this.#world
    const { core } = gateway
    const old = this.#world.primary
    if (core === undefined) return
    const blocked = core.protection.state === 'failing-over'
    if (old?.guest?.reachable === true || blocked) old?.powerLoss()
    this.#attempts++
    this.#world.count('operator')
    gateway.process.run(() => {
      const answer = core.requestFailover(!blocked, gateway.clock.now())
      this.#world.trace(() => `operator: ${JSON.stringify(answer)}`)
      if (!blocked && answer.accepted) this.#world.checks.excused = true
    })
    if (this.#attempts > 3 && !blocked
      && !this.#world.hosts.some(host => host.images.hasWhole)) this.gaveUp = true
  }
}
