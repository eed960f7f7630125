import { join } from 'node:path'
import { gatewayId, generation, noGateway } from '../core/ids.ts'
import { freshAgentState, type AgentState } from '../core/agent/port.ts'
import { StateFile } from '../state/state-file.ts'

const format = 1

/** The agent's durable state of one guest, in the guest's directory. */
export class AgentStateFile {
  readonly #file: StateFile<AgentState>

  constructor(directory: string) {
    this.#file = new StateFile({
      path: join(directory, 'state.json'), parse: parseAgentState, format: written,
      remedy: 'make sure that the guest does not run on this host, then remove the file; '
        + 'the gateway will tell this host the generation'
    })
  }

  /** Rejects with E_STATE. */
  async read(): Promise<AgentState> {
    return await this.#file.read() ?? freshAgentState
  }

  /** Resolves when it is durable. Rejects with E_STATE. */
  write(state: AgentState): Promise<void> {
    return this.#file.write(state)
  }
}

function written(state: AgentState): object {
  return { format, ...state }
}

function parseAgentState(value: unknown): AgentState | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { format: found, generation: number, role, started, checkpoints } = value as Record<string, unknown>
  // A state of before agents were bound to a gateway names none.
  const { gateway = noGateway, incarnation = 0 } = value as Record<string, unknown>
  if (found !== format || !isCount(number) || !isCount(checkpoints) || !isCount(incarnation)) return undefined
  if (typeof gateway !== 'string' || !/^[0-9a-f]{16}$/.test(gateway)) return undefined
  if (typeof started !== 'boolean') return undefined
  if (role !== 'primary' && role !== 'backup' && role !== 'idle') return undefined
  return {
    generation: generation(number), gateway: gatewayId(gateway), incarnation, role, started, checkpoints
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0
}
