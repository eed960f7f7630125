import { gatewayId, generation, historyId, type HostName } from '../../src/core/ids.ts'
import { ms } from './clock.ts'
import { GatewayMachine } from './gateway-machine.ts'
import type { Host } from './host.ts'
import { Link } from './links.ts'
import type { World } from './world.ts'

type Strike = (world: World) => void

function hostOf(world: World): Host {
  const { random } = world
  const roll = random.below(10)
  return (roll < 5 ? world.primary : roll < 8 ? world.backup : undefined) ?? random.pick(world.hosts)
}

/** The gateway, or the one that was started beside it. */
function someGateway(world: World): GatewayMachine {
  return world.gateways.length > 1 ? world.random.pick(world.gateways) : world.gateway
}

function later(world: World, from: number, to: number, run: () => void): void {
  world.clock.after(ms(world.random.range(from, to)), run)
}

/** What may go wrong, by name; the number says how often it is drawn. */
const kinds: Readonly<Record<string, readonly [number, Strike]>> = {
  'power-loss': [10, world => {
    const host = hostOf(world)
    host.powerLoss()
    if (world.random.chance(0.7)) later(world, 5, 250, () => host.powerOn())
  }],
  'agent-crash': [6, world => {
    const host = hostOf(world)
    host.crashAgent()
    if (world.random.chance(0.4)) host.crashGuest()
    if (world.random.chance(0.85)) later(world, 1, 200, () => host.start())
  }],
  'guest-crash': [5, world => (world.primary ?? world.random.pick(world.hosts)).crashGuest()],
  'standby-lost': [4, world => (world.backup ?? world.random.pick(world.hosts)).loseStandby()],
  'guest-crash-while-absorbing': [4, world => {
    world.absorbing = () => { world.primary?.crashGuest() }
  }],
  'gateway-crash': [2, world => {
    const gateway = someGateway(world)
    gateway.crash(world.random.chance(0.5))
    later(world, 1, 150, () => gateway.start())
  }],
  'link-break': [5, world => {
    const links = [...world.links]
    if (links.length > 0) world.random.pick(links).break(world.scenario.lateNotice)
  }],
  'link-stall': [4, world => {
    const links = [...world.links]
    if (links.length > 0) world.random.pick(links).stall(ms(world.random.range(1, 200)))
  }],
  partition: [6, world => {
    const [host, { name }] = [hostOf(world), someGateway(world)]
    world.network.cut(name, host.name)
    later(world, 10, 400, () => world.network.heal(name, host.name))
  }],
  'one-way': [2, world => {
    const [host, { name }] = [hostOf(world), someGateway(world)]
    if (world.random.chance(0.5)) world.network.cutOneWay(name, host.name)
    else world.network.cutOneWay(host.name, name)
    later(world, 10, 300, () => world.network.heal(name, host.name))
  }],
  'peers-apart': [3, world => {
    const { random, hosts, network } = world
    const [a, b] = [random.pick(hosts).name, random.pick(hosts).name]
    network.cut(a, b)
    later(world, 10, 300, () => network.heal(a, b))
  }],
  'slow-disk': [2, world => {
    world.slowDisks(world.random.pick([10, 40]))
    later(world, 20, 200, () => world.slowDisks(1))
  }],
  'gateway-pause': [3, world => {
    const { process } = someGateway(world)
    process.pause()
    later(world, 10, 300, () => process.resume())
  }],
  'agent-pause': [3, world => {
    const { process } = hostOf(world)
    process.pause()
    later(world, 10, 300, () => process.resume())
  }],
  failover: [3, world => {
    const { core, process, clock } = world.gateway
    // Asked for during a failover, it would vouch for the old primary.
    if (core === undefined || core.failover !== undefined || process.paused) return
    process.run(() => { core.requestFailover(false, clock.now()) })
  }],
  'old-gateway': [3, world => strayGateway(world, hostOf(world))],
  'second-gateway': [4, world => secondGateway(world)]
}

/** A gateway that was paused since an older generation connects and gives orders. */
function strayGateway(world: World, host: Host): void {
  const known = host.state.generation
  if (!host.running || known < 2) return
  const theirs = host.gatewayEnd()
  const link = new Link(world, {
    machine: 'elsewhere', process: host.process, message: () => undefined, closed: () => undefined
  }, theirs)
  host.process.run(() => theirs.established(link))
  const envelope = { guest: 'g', generation: generation(known - 1), history: historyId('00000000000000aa') }
  const { settings } = world.scenario
  const role = world.random.pick(['primary', 'backup', 'idle'] as const)
  link.send(0, envelope, {
    type: 'assign', gateway: gatewayId('00000000000000bb'), incarnation: 9, role,
    boot: true, served: false, peer: '' as HostName, peerAddress: '', checkpointMs: 0,
    heartbeatMs: settings.heartbeatMs, leaseMs: settings.leaseMs, durability: settings.durability,
    logMemoryBytes: settings.logMemoryBytes, logBytes: settings.logBytes
  })
  later(world, 5, 30, () => link.break(0))
}

/** Another gateway is given the guest, with no state, while the first one lives. */
function secondGateway(world: World): void {
  if (world.gateways.length > 1) return
  const second = new GatewayMachine(world, 'second')
  world.gateways.push(second)
  second.start()
}

const drawn = Object.entries(kinds).flatMap(([name, [weight]]) => Array<string>(weight).fill(name))

/** Lets faults strike at times and at steps that the seed decides. */
export function planFaults(world: World): void {
  const { random, scenario, clock } = world
  for (let i = 0; i < scenario.faults; i++) {
    const name = random.pick(drawn)
    const strike = (): void => {
      if (world.healed) return
      world.trace(() => `fault: ${name}`)
      world.count(`fault ${name}`)
      world.lastFault = clock.now
      kinds[name]?.[1](world)
    }
    const at = random.range(random.chance(0.2) ? ms(20) : ms(60), scenario.faultMicros)
    if (random.chance(0.5)) clock.after(at, strike)
    else clock.after(at, () => world.ambush(random.range(1, 60), strike))
  }
}

/** Mends everything that is broken: from here on it must end well. */
export function heal(world: World): void {
  world.trace(() => 'healed')
  world.healed = true
  world.absorbing = undefined
  world.network.healAll()
  world.slowDisks(1)
  world.scenario = {
    ...world.scenario, engineFails: 0, imageStalls: 0, restoreFails: 0, fenceFails: 0
  }
  for (const gateway of world.gateways) {
    gateway.process.resume()
    if (!gateway.running) gateway.start()
  }
  for (const host of world.hosts) {
    host.process.resume()
    if (!host.powered) host.powerOn()
    else host.start()
  }
}
