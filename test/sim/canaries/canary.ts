import type { GuestAgent } from '../../../src/core/agent/guest-agent.ts'
import type { ImageInfo } from '../../../src/core/agent/port.ts'
import type { GuestGateway } from '../../../src/core/gateway/guest-gateway.ts'
import type { SimAgentPort } from '../agent-port.ts'
import type { Rule } from '../checkers/rule.ts'
import type { Engine } from '../engine.ts'
import type { GatewayMachine } from '../gateway-machine.ts'
import type { SimGatewayPort } from '../gateway-port.ts'
import type { Host } from '../host.ts'
import type { Process } from '../process.ts'
import type { World } from '../world.ts'

/**
 * A planted fault, which the checkers must catch. It goes in through the ports and around the cores: the code
 * under test has no switch for it.
 */
export interface Canary {
  readonly name: string
  /** The rules by which it must be caught: being caught by another is chance. */
  readonly rules: readonly Rule[]
  agentPort?(world: World, host: Host, process: Process, engine: Engine): SimAgentPort
  gatewayPort?(world: World, machine: GatewayMachine, process: Process): SimGatewayPort
  /** A core that was just made, to be wrapped. */
  agent?(agent: GuestAgent, host: Host): void
  gateway?(gateway: GuestGateway, world: World): void
  /** The agent of a host starts again. */
  agentStarts?(world: World, host: Host, engine: Engine): void
  foundImages?(host: Host): readonly ImageInfo[]
  /** Changes a class of the core for one run; what it returns changes it back. */
  patch?(): () => void
}
