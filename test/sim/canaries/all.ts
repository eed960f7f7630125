import { agentCanaries } from './agent-canaries.ts'
import type { Canary } from './canary.ts'
import { gatewayCanaries } from './gateway-canaries.ts'

/** Every planted fault, by the list in docs/SIMULATOR.md. */
export const canaries: readonly Canary[] = [...gatewayCanaries, ...agentCanaries]
