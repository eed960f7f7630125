/**
 * A broken invariant: a fault of the program itself, never of the network, the disk or the user.
 * It must end the process (fail-stop): an HA gateway that goes on with wrong books does more harm than one
 * that stops.
 */
export class InvariantError extends Error {
  readonly context: Readonly<Record<string, unknown>>

  constructor(what: string, context: Readonly<Record<string, unknown>> = {}) {
    super(`invariant broken: ${what} ${JSON.stringify(context, showBigints)}`)
    this.name = 'InvariantError'
    this.context = context
  }
}

/** Throws an {@link InvariantError} unless `condition` holds. Stays on in production. */
export function invariant(
  condition: boolean, what: string, context?: Readonly<Record<string, unknown>>
): asserts condition {
  if (!condition) throw new InvariantError(what, context)
}

/**
 * Throws a broken invariant on. First in a catch that makes an operating failure of whatever was thrown: a
 * fault of the program is none, and must reach the end of the process.
 */
export function rethrowInvariant(error: unknown): void {
  if (error instanceof InvariantError) throw error
}

/** For the default branch of a switch over a closed union: a value that cannot be there stops the process. */
export function unreachable(value: never): never {
  throw new InvariantError('a value outside its union', { value })
}

function showBigints(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value
}
