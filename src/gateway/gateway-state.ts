import { mkdir, open, readFile, rename, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { TailgateError, messageOf } from '../base/errors.ts'
import { generation, hostName } from '../core/ids.ts'
import type { GatewayState } from '../core/gateway/port.ts'

const format = 1

export type StateRead =
  | { readonly found: true, readonly state: GatewayState }
  /** `damaged` says why a file that is there cannot be used. */
  | { readonly found: false, readonly path: string, readonly damaged: string | undefined }

/**
 * Where the gateway keeps each guest's generation and active host: one small file per guest, replaced as a
 * whole, so that after a crash at any moment either the old or the new one is there.
 */
export class GatewayStateFile {
  readonly #directory: string
  /** The newest write of each guest; the next waits for it. */
  readonly #writing = new Map<string, Promise<void>>()

  constructor(directory: string) {
    this.#directory = directory
  }

  /** Makes the directory. Rejects with E_STATE. */
  async prepare(): Promise<void> {
    try {
      await mkdir(this.#directory, { recursive: true })
    } catch (error) {
      throw this.#failed('make', this.#directory, error)
    }
  }

  async read(guest: string): Promise<StateRead> {
    const path = this.#pathOf(guest)
    let text: string
    try {
      text = await readFile(path, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { found: false, path, damaged: undefined }
      throw this.#failed('read', path, error)
    }
    const state = parseState(text)
    if (state === undefined) return { found: false, path, damaged: 'it is not a state file of this gateway' }
    return { found: true, state }
  }

  /** Resolves when `state` is durable. Rejects with E_STATE. */
  write(guest: string, state: GatewayState): Promise<void> {
    const before = this.#writing.get(guest) ?? Promise.resolve()
    const written = before.then(() => this.#replace(this.#pathOf(guest), state))
    this.#writing.set(guest, written)
    return written
  }

  async #replace(path: string, state: GatewayState): Promise<void> {
    const next = `${path}.new`
    try {
      const file = await open(next, 'w', 0o600)
      try {
        await file.writeFile(`${JSON.stringify({ format, ...state })}\n`)
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(next, path)
      await syncDirectory(this.#directory)
    } catch (error) {
      await unlink(next).catch(() => undefined)
      throw this.#failed('write', path, error)
    }
  }

  #pathOf(guest: string): string {
    return join(this.#directory, `${encodeURIComponent(guest)}.json`)
  }

  #failed(what: string, path: string, cause: unknown): TailgateError {
    return new TailgateError('E_STATE', `cannot ${what} ${path}: ${messageOf(cause)}; check state_dir and its disk`,
      { cause, context: { path } })
  }
}

function parseState(text: string): GatewayState | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  const { format: found, generation: number, active, started } = value as Record<string, unknown>
  if (found !== format || !Number.isSafeInteger(number) || Number(number) < 1) return undefined
  if (typeof active !== 'string' || typeof started !== 'boolean') return undefined
  return { generation: generation(Number(number)), active: hostName(active), started }
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
