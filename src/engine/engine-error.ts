import { messageOf, TailgateError } from '../base/errors.ts'
import { rethrowInvariant } from '../base/invariant.ts'

/**
 * What an engine says of anything that was thrown while it used an image, also of whoever gave that: E_IMAGE
 * and E_ENGINE stay, all else becomes E_ENGINE behind the words of `what`. Throws a broken invariant on.
 */
export function asEngineError(error: unknown, what: string): TailgateError {
  rethrowInvariant(error)
  if (error instanceof TailgateError && (error.code === 'E_ENGINE' || error.code === 'E_IMAGE')) return error
  return new TailgateError('E_ENGINE', `${what}: ${messageOf(error)}`, { cause: error })
}
