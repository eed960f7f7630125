import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { TailgateError, messageOf } from '../base/errors.ts'
import { gatewayId, generation, hostName, noGateway } from '../core/ids.ts'
import type { GatewayState } from '../core/gateway/port.ts'
import { StateFile, type StateRead } from '../state/state-file.ts'

const format = 1

/** Where the gateway keeps each guest's generation and active host: one small file per guest. */
export class GatewayStates {
  readonly #directory: string
  readonly #files = new Map<string, StateFile<GatewayState>>()

  constructor(directory: string) {
    this.#directory = directory
  }

  /** Makes the directory. Rejects with E_STATE. */
  async prepare(): Promise<void> {
    const path = this.#directory
    try {
      await mkdir(path, { recursive: true })
    } catch (cause) {
      const what = `cannot make ${path}: ${messageOf(cause)}; check state_dir and its disk`
      throw new TailgateError('E_STATE', what, { cause, context: { path } })
    }
  }

  /** Rejects with E_STATE. */
  read(guest: string): Promise<StateRead<GatewayState>> {
    return this.#fileOf(guest).look()
  }

  /** Resolves when `state` is durable. Rejects with E_STATE. */
  write(guest: string, state: GatewayState): Promise<void> {
    return this.#fileOf(guest).write(state)
  }

  pathOf(guest: string): string {
    return join(this.#directory, `${encodeURIComponent(guest)}.json`)
  }

  #fileOf(guest: string): StateFile<GatewayState> {
    const known = this.#files.get(guest)
    if (known !== undefined) return known
    const file = new StateFile({
      path: this.pathOf(guest), parse: parseState, format: (state: GatewayState) => ({ format, ...state }),
      remedy: 'the agents are asked instead'
    })
    this.#files.set(guest, file)
    return file
  }
}

function parseState(value: unknown): GatewayState | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { format: found, generation: number, active, started } = value as Record<string, unknown>
  if (found !== format || !Number.isSafeInteger(number) || Number(number) < 1) return undefined
  if (typeof active !== 'string' || typeof started !== 'boolean') return undefined
  // One that names no gateway is given a name by the first that starts with it.
  const { gateway = noGateway, incarnation = 0, claiming = false } = value as Record<string, unknown>
  if (typeof gateway !== 'string' || !/^[0-9a-f]{16}$/.test(gateway)) return undefined
  if (!Number.isSafeInteger(incarnation) || Number(incarnation) < 0) return undefined
  const { diverged } = value as Record<string, unknown>
  if (typeof claiming !== 'boolean') return undefined
  if (diverged !== undefined && typeof diverged !== 'string') return undefined
  return {
    generation: generation(Number(number)), active: hostName(active), started, claiming,
    gateway: gatewayId(gateway), incarnation: Number(incarnation), diverged
  }
}
