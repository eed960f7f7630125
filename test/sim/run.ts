import type { Canary } from './canaries/canary.ts'
import { RuleBroken, type Rule } from './checkers/rule.ts'
import { ms } from './clock.ts'
import { Crowd } from './crowd.ts'
import { heal, planFaults } from './faults.ts'
import { Operator } from './operator.ts'
import { World } from './world.ts'

export interface RunResult {
  readonly seed: number
  /** What went wrong: a rule that was broken, or an error of the code under test. */
  readonly failure: string | undefined
  /** The rule, if it was one. */
  readonly rule: Rule | undefined
  readonly counts: ReadonlyMap<string, number>
  readonly events: number
  readonly trace: readonly string[]
}

export interface RunOptions {
  readonly canary?: Canary | undefined
  readonly trace?: boolean
}

/** How long everything may take to end well after the faults, in virtual time. */
const endMicros = ms(20_000)
/** A run with more events than this does not come to rest. */
const eventsMax = 2_000_000

/** Runs one seed. */
export function runSeed(seed: number, options: RunOptions = {}): RunResult {
  const undo = options.canary?.patch?.()
  const world = new World(seed, { canary: options.canary, trace: options.trace === true })
  let failure: string | undefined
  let rule: Rule | undefined
  try {
    live(world)
  } catch (error) {
    if (error instanceof RuleBroken) rule = error.rule
    failure = error instanceof RuleBroken ? error.message
      : error instanceof Error ? (error.stack ?? error.message).split('\n').slice(0, 4).join('\n')
        : String(error)
  } finally {
    undo?.()
  }
  return { seed, failure, rule, counts: world.counts, events: world.clock.events, trace: world.traced ?? [] }
}

function live(world: World): void {
  const { clock, random, hosts, gateway, scenario } = world
  for (const host of hosts) clock.after(random.below(ms(5)), () => host.start())
  clock.after(random.below(ms(5)), () => gateway.start())
  const crowd = new Crowd(world)
  crowd.start()
  planFaults(world)
  runUntil(world, () => false, scenario.faultMicros)
  heal(world)
  const operator = new Operator(world)
  operator.start()
  const good = (): boolean => crowd.over && (operator.gaveUp || isProtected(world))
  runUntil(world, good, scenario.faultMicros + endMicros)
  if (!good()) noProgress(world)
  world.checks.atEnd()
}

function isProtected(world: World): boolean {
  // Without floors no checkpoint counts while a connection is older than the history.
  const protection = world.gateway.core?.protection
  if (world.scenario.floors === 'never') {
    return protection?.state !== 'failing-over' && world.gateway.core?.active?.condition === 'running'
  }
  if (world.gateway.core?.settings.onDivergence === 'stop' && protection?.state === 'lost') return true
  return protection?.state === 'protected' && !protection.stalled
}

function runUntil(world: World, done: () => boolean, until: number): void {
  const { clock } = world
  let count = 0
  while (clock.step(until)) {
    if ((++count & 31) === 0 && done()) return
    if (clock.events > eventsMax) return world.fail(9, 'it does not come to rest')
  }
}

function noProgress(world: World): void {
  const open = world.clients.filter(client => !client.over).map(client => client.id)
  for (const connection of world.gateway.core?.dataPath.connections.values() ?? []) {
    const { id, clientAddress, connected, clientPaused, inputLogged, floor, outputReceived,
      released } = connection
    const client = world.clients[world.checks.clientOf(id)]
    world.trace(() => JSON.stringify({
      sent: client?.sent.length, plan: client?.plan, answers: client?.answers,
      id, clientAddress, connected, clientPaused, inputLogged, floor, outputReceived, released,
      held: connection.heldItems, guest: connection.guest !== undefined, backlog: connection.guest?.backlog
    }))
  }
  world.fail(9, `after everything was mended, clients [${open.join(' ')}] are still waiting; the guest is `
    + JSON.stringify(world.gateway.core?.protection))
}
