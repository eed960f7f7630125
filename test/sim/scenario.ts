import { defaultAgentLimits, type AgentLimits } from '../../src/core/agent/port.ts'
import type { GuestSettings, ReleaseMode, ServiceSettings } from '../../src/core/gateway/settings.ts'
import { hostName } from '../../src/core/ids.ts'
import { ms } from './clock.ts'
import type { Random } from './random.ts'

/**
 * Everything about a run that the seed decides before it begins. Times in microseconds unless they say ms.
 */
export interface Scenario {
  readonly settings: GuestSettings
  readonly services: readonly ServiceSettings[]
  readonly agentLimits: AgentLimits
  readonly driftPpm: number
  readonly delayMin: number
  readonly delayMax: number
  readonly lateNotice: number
  readonly copyLate: boolean
  readonly ackOnRead: boolean
  readonly floors: 'prompt' | 'late' | 'sampled' | 'never'
  readonly gatewayBuffer: number
  readonly guestBuffer: number
  readonly clientBuffer: number
  readonly highWater: number
  readonly lowWater: number
  readonly segmentBytes: number
  readonly logSegmentBytes: number
  readonly tailBytes: number
  readonly imageBytes: number
  /** So many pieces of an image, at most, come while the guest still runs. */
  readonly livePieces: number
  /** Images build on one another, and the backup's engine absorbs them. */
  readonly builds: boolean
  /** How long that may take, at most. */
  readonly absorbMax: number
  readonly diskMin: number
  readonly diskMax: number
  readonly dialTimeout: number
  readonly attachTimeout: number
  /** The longest time that something may wait in a kernel before the process reads it. */
  readonly readMax: number
  readonly serviceMin: number
  readonly serviceMax: number
  readonly guestOrder: 'random' | 'arrival'
  readonly shared: 'none' | 'one' | 'free'
  readonly sharedKeys: number
  readonly nonces: boolean
  readonly refuseChance: number
  readonly stallChance: number
  readonly stallMicros: number
  readonly engineFails: number
  readonly imageStalls: number
  readonly restoreFails: number
  readonly fenceFails: number
  readonly clients: number
  readonly clientsAtOnce: number
  readonly echoMax: number
  readonly bigMax: number
  /** Resets by clients, and quits that go on talking. */
  readonly rude: boolean
  /** How long the faults go on. */
  readonly faultMicros: number
  readonly faults: number
}

const modes: readonly ReleaseMode[] = ['epoch', 'epoch', 'checkpoint', 'immediate']

function settingsOf(random: Random, services: readonly ServiceSettings[],
  connectionBytes: number): GuestSettings {
  const tight = random.chance(0.3)
  const hosts = random.chance(0.3) ? 3 : 2
  const fence = random.chance(0.5)
  const leaseMs = fence && random.chance(0.4) ? 0 : random.chance(0.92) ? random.pick([60, 120]) : 0
  return {
    name: 'g', services,
    hosts: Array.from({ length: hosts }, (_, i) => ({
      name: hostName(`h${i + 1}`), address: `h${i + 1}:1`, fence
    })),
    durability: random.pick(['memory', 'disk']),
    checkpointMs: random.pick([40, 80, 200]), heartbeatMs: 20, misses: random.pick([2, 3, 4]), leaseMs,
    onLinkLoss: random.pick(['continue', 'continue', 'stall']),
    onDivergence: random.pick(['reset', 'reset', 'reset-all', 'stop']),
    replayOrder: random.pick(['output', 'arrival']),
    replayTimeoutMs: 250, stepTimeoutMs: 400,
    logMemoryBytes: 1 << 20, logBytes: random.chance(0.1) ? 20_000 : 1 << 24,
    epochBytes: tight ? random.range(1, 400) : 1 << 16,
    inFlightBytes: tight ? random.range(1, 800) : 1 << 20,
    heldBytes: tight ? random.range(1, 800) : 1 << 20,
    connectionBytes, connections: tight ? random.range(2, 6) : 100, floorsFromBacklog: false,
    resetsTold: false
  }
}

function limitsOf(random: Random): AgentLimits {
  return {
    ...defaultAgentLimits, standStillMs: random.pick([10, 40]), engineMs: 60, imageMs: 80, retryMs: 10,
    tailPieceBytes: random.pick([64, 4096])
  }
}

/** Draws a scenario. What is rare in the world is common here. */
export function drawScenario(random: Random): Scenario {
  const one = random.pick(modes)
  const services: ServiceSettings[] = [{ name: 'a', release: one }]
  if (random.chance(0.3)) services.push({ name: 'b', release: random.pick(modes) })
  const small = random.chance(0.3)
  const connectionBytes = small ? random.range(64, 1024) : 1 << 16
  const quiet = random.chance(0.15)
  const disk = random.pick([20, 200, 2000])
  return {
    settings: settingsOf(random, services, connectionBytes), services, agentLimits: limitsOf(random),
    driftPpm: 300, delayMin: random.pick([20, 50]), delayMax: random.pick([60, 300, 1500]),
    lateNotice: random.pick([ms(1), ms(50), ms(200)]), copyLate: random.chance(0.5),
      ackOnRead: random.chance(0.3),
    floors: random.pick(['prompt', 'prompt', 'late', 'sampled', 'never']),
    gatewayBuffer: small ? random.range(40, 500) : 4096, guestBuffer: small ? random.range(40, 500) : 4096,
    clientBuffer: small ? random.range(40, 500) : 4096, highWater: connectionBytes >> 1,
      lowWater: connectionBytes >> 3,
    segmentBytes: random.pick([40, 1448]), logSegmentBytes: random.pick([512, 8192]),
    tailBytes: random.pick([100, 1 << 16]), imageBytes: random.pick([4, 40]),
    livePieces: random.chance(0.4) ? random.range(1, 4) : 0, builds: random.chance(0.5),
    absorbMax: random.pick([ms(3), ms(60), ms(120)]),
    diskMin: disk / 4, diskMax: disk, dialTimeout: ms(15), attachTimeout: ms(300),
    readMax: random.pick([120, 120, 1500]), serviceMin: random.pick([5, 100]),
      serviceMax: random.pick([100, 400, 1000]),
    guestOrder: random.pick(['random', 'arrival']), shared: random.pick(['none', 'one', 'free']),
    sharedKeys: random.range(1, 3), nonces: random.chance(0.25), refuseChance: random.chance(0.1) ? 0.1 : 0,
    stallChance: random.chance(0.1) ? 0.1 : 0, stallMicros: ms(300),
    engineFails: random.chance(0.2) ? 0.2 : 0, imageStalls: random.chance(0.2) ? 0.3 : 0,
    restoreFails: random.chance(0.05) ? 0.5 : 0, fenceFails: random.chance(0.3) ? 0.7 : 0,
    clients: random.range(3, 10), clientsAtOnce: random.range(1, 6), echoMax: random.pick([20, 200]),
    bigMax: random.pick([256, 1024]), rude: random.chance(0.4),
    faultMicros: ms(random.range(120, 420)), faults: quiet ? 0 : random.range(1, 5)
  }
}
