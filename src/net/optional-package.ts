import { createRequire } from 'node:module'
import { messageOf, TailgateError } from '../base/errors.ts'

/** Gives a package that this program can do without; throws what `require` throws. */
export type LoadPackage = (name: string) => unknown

/** From the node_modules of this program. */
export const installedPackage: LoadPackage = createRequire(import.meta.url)

/**
 * A package of `optionalDependencies`. Throws E_ATTACH with what to install where it is not there, or was
 * built for another Node.
 */
export function optionalPackage(name: string, load: LoadPackage = installedPackage): unknown {
  try {
    return load(name)
  } catch (cause) {
    const absent = cause instanceof Error && 'code' in cause && cause.code === 'MODULE_NOT_FOUND'
    const why = absent ? 'is not installed' : `cannot be loaded (${messageOf(cause).split('\n')[0] ?? ''})`
    // The one builds nothing that is there already, the other nothing that is not.
    const remedy = `run npm install ${name} && npm rebuild ${name}`
    throw new TailgateError('E_ATTACH', `the package ${name} ${why}: ${remedy}`, { cause, context: { name } })
  }
}
