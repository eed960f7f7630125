import { accessSync, constants, statSync } from 'node:fs'
import { isAbsolute, resolve } from 'node:path'
import type { Path, Problems } from './problems.ts'
import type { Address } from './types.ts'
import { collide, formatAddress, isLoopback } from './values.ts'

/** What a check of one file has at hand. */
export interface Checking {
  readonly problems: Problems
  /** Where the configuration file is; relative paths start there. */
  readonly directory: string
  /** Whether files that the configuration names must be there. */
  readonly withFiles: boolean
}

interface Placed<T> {
  readonly path: Path
  readonly value: T
}

export interface LooseTls {
  readonly ca?: string | undefined
  readonly cert?: string | undefined
  readonly key?: string | undefined
}

/** A Linux `sun_path` has 108 bytes, the last of which is 0. */
const socketPathMax = 107

/** Reports every value that another one before it has already. `what` ends "is also the name of". */
export function checkUnique(
  problems: Problems, what: string, values: readonly Placed<string | undefined>[]
): void {
  const seen = new Set<string>()
  for (const { path, value } of values) {
    if (value === undefined) continue
    if (seen.has(value)) problems.report(path, `'${value}' is also the name of another ${what}`)
    seen.add(value)
  }
}

/** Reports every address that cannot be listened on beside one before it. */
export function checkListens(problems: Problems, addresses: readonly Placed<Address | undefined>[]): void {
  const seen: Address[] = []
  for (const { path, value } of addresses) {
    if (value === undefined) continue
    const other = seen.find((address) => collide(address, value))
    if (other !== undefined) {
      problems.report(path, `${formatAddress(value)} collides with ${formatAddress(other)}, which is `
        + `listened on too`)
    }
    seen.push(value)
  }
}

/** Links leave this machine only under TLS. */
export function checkPlainLink(
  problems: Problems, path: Path, address: Address | undefined, tls: LooseTls | undefined
): void {
  if (tls !== undefined || problems.given(['tls'])) return
  if (address === undefined || isLoopback(address.host)) return
  problems.report(path, `${formatAddress(address)} is not a loopback address, so the link needs \`tls\`; `
    + '`tailgate certs` makes the files')
}

export function checkTls({ problems, directory, withFiles }: Checking, tls: LooseTls | undefined): void {
  if (tls === undefined || !withFiles) return
  for (const [key, file] of Object.entries(tls) as [string, string | undefined][]) {
    if (file === undefined) continue
    const reason = unusable(resolve(directory, file), constants.R_OK)
    if (reason !== undefined) problems.report(['tls', key], `${resolve(directory, file)} ${reason}`)
  }
}

/** A program that is named by its path must be there; another one is looked up when it is called. */
export function checkProgram(
  { problems, withFiles }: Checking, path: Path, words: readonly (string | undefined)[]
): void {
  const program = words[0]
  if (program === undefined || !program.includes('/')) return
  if (!isAbsolute(program)) {
    problems.report(path, `the program '${program}' must be an absolute path, or a name to be found in PATH`)
  } else if (withFiles) {
    const reason = unusable(program, constants.X_OK)
    if (reason !== undefined) problems.report(path, `the program ${program} ${reason}`)
  }
}

export function checkSocketPath({ problems, directory }: Checking, path: Path, file: string): void {
  const length = Buffer.byteLength(resolve(directory, file))
  if (length > socketPathMax) {
    problems.report(path, `the path of the admin socket has ${length} bytes, and a unix socket's may have `
      + `${socketPathMax}; `
      + 'set `admin` to a shorter one')
  }
}

/** `small` must not be larger than `large`; each with the key that people know it by. */
export function checkOrder(
  problems: Problems, path: Path, small: readonly [string, number | undefined],
  large: readonly [string, number | undefined], format: (value: number) => string, why: string
): void {
  if (small[1] === undefined || large[1] === undefined || small[1] <= large[1]) return
  problems.report(path,
    `\`${large[0]}\` (${format(large[1])}) is smaller than \`${small[0]}\` (${format(small[1])}): ${why}`)
}

function unusable(file: string, mode: number): string | undefined {
  try {
    if (!statSync(file).isFile()) return 'is not a file'
    accessSync(file, mode)
    return undefined
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ENOTDIR') return 'does not exist'
    if (code === 'EACCES') return mode === constants.X_OK ? 'cannot be executed' : 'cannot be read'
    return `cannot be used (${code ?? 'unknown'})`
  }
}
