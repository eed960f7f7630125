import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { TailgateError, messageOf } from '../base/errors.ts'

export interface StateFileOptions<T> {
  readonly path: string
  /** What the parsed JSON says; undefined if it is not such a state. */
  parse(value: unknown): T | undefined
  /** What is written as JSON. */
  format(state: T): object
  /** For whoever finds the file unreadable: what must be true before it may be removed. */
  readonly remedy: string
}

export type StateRead<T> =
  | { readonly found: true, readonly state: T }
  /** `damaged`, where a file is there that cannot be used: a sentence. */
  | { readonly found: false, readonly damaged: string | undefined }

/**
 * A small state in one JSON file, replaced as a whole: after a crash or a power loss at any moment either the
 * old or the new one is there. One writer.
 */
export class StateFile<T extends object> {
  readonly #options: StateFileOptions<T>
  /** The newest write; the next waits for it. */
  #written: Promise<void> = Promise.resolve()

  constructor(options: StateFileOptions<T>) {
    this.#options = options
  }

  /**
   * Undefined where there is none. Rejects with E_STATE for one that cannot be used, which stays as it is.
   */
  async read(): Promise<T | undefined> {
    const seen = await this.look()
    if (seen.found) return seen.state
    if (seen.damaged === undefined) return undefined
    throw new TailgateError('E_STATE', seen.damaged, { context: { path: this.#options.path } })
  }

  /**
   * As {@link read}, for whoever can go on without a damaged one. Rejects with E_STATE if the disk refuses.
   */
  async look(): Promise<StateRead<T>> {
    const { path, parse, remedy } = this.#options
    let text: string
    try {
      text = await readFile(path, 'utf8')
    } catch (cause) {
      if (isAbsent(cause)) return { found: false, damaged: undefined }
      throw stateError(path, `cannot be read: ${messageOf(cause)}; look at its disk`, cause)
    }
    const state = parse(parseJson(text))
    if (state !== undefined) return { found: true, state }
    return { found: false, damaged: `${path} is damaged, or not of this program: ${remedy}` }
  }

  /** Resolves when `state` is durable; writes are done in the order of the calls. Rejects with E_STATE. */
  write(state: T): Promise<void> {
    const written = this.#written.then(() => this.#replace(state))
    this.#written = written
    return written
  }

  async #replace(state: T): Promise<void> {
    const { path } = this.#options
    try {
      await mkdir(dirname(path), { recursive: true })
      const next = `${path}.new`
      await writeDurably(next, `${JSON.stringify(this.#options.format(state))}\n`)
      await rename(next, path)
      await syncDirectory(dirname(path))
    } catch (cause) {
      throw stateError(path, `cannot be written: ${messageOf(cause)}; look at its disk`, cause)
    }
  }
}

/** Makes durable which names stand in a directory, as far as the file system can. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

function stateError(path: string, what: string, cause: unknown): TailgateError {
  return new TailgateError('E_STATE', `${path} ${what}`, { cause, context: { path } })
}

async function writeDurably(path: string, text: string): Promise<void> {
  const handle = await open(path, 'w', 0o600)
  try {
    await handle.writeFile(text)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}
