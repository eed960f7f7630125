import { messageOf, TailgateError } from '../base/errors.ts'
import { InvariantError } from '../base/invariant.ts'
import { didYouMean } from '../base/nearest.ts'
import { overview, verbHelp } from './help.ts'
import { parseArguments } from './parse.ts'
import type { Output, Verb } from './verb.ts'

/** Exit statuses; 70 is EX_SOFTWARE of sysexits.h. */
export const exitStatus = { done: 0, failed: 1, usage: 2, fault: 70 } as const

/** Each verb is loaded only when it is used: `status` does not wait for a gateway's modules. */
const verbs: Readonly<Record<string, () => Promise<Verb>>> = {
  gateway: async () => (await import('./verbs/gateway.ts')).gateway,
  agent: async () => (await import('./verbs/agent.ts')).agent,
  check: async () => (await import('./verbs/check.ts')).check,
  certs: async () => (await import('./verbs/certs.ts')).certs,
  log: async () => (await import('./verbs/log.ts')).log,
  status: async () => (await import('./verbs/status.ts')).status,
  failover: async () => (await import('./verbs/failover.ts')).failover,
  version: async () => (await import('./verbs/version.ts')).version
}

/** The names of all verbs, for people. */
export const verbNames: readonly string[] = [...Object.keys(verbs), 'help']

/**
 * Does what the command line says and resolves with the exit status. A TailgateError becomes a line on
 * `output.error`; anything else that is thrown is a fault of the program and passes through.
 */
export async function runCommandLine(args: readonly string[], output: Output): Promise<number> {
  try {
    return await dispatch(args, output)
  } catch (error) {
    if (!(error instanceof TailgateError)) throw error
    for (const problem of problemsOf(error)) output.error(`${problem}\n`)
    output.error(`tailgate: ${error.code}: ${error.message}\n`)
    return error.code === 'E_USAGE' ? exitStatus.usage : exitStatus.failed
  }
}

/** The last words of a process that ends because of something nobody caught, and its exit status. */
export function faultLine(error: unknown): { readonly line: string, readonly status: number } {
  const trace = error instanceof Error && error.stack !== undefined ? error.stack : messageOf(error)
  const what = error instanceof InvariantError ? 'a broken invariant' : 'an error that nobody caught'
  return { line: `tailgate: ended by ${what}, a fault of the program: ${trace}\n`, status: exitStatus.fault }
}

async function dispatch(args: readonly string[], output: Output): Promise<number> {
  const [word, ...rest] = args
  switch (word) {
    case undefined:
      output.error(overview(await allVerbs()))
      return exitStatus.usage
    case 'help':
    case '--help':
    case '-h':
      return help(rest, output)
    case '--version':
    case '-v':
      return (await verbNamed('version')).run(parseArguments(await verbNamed('version'), []), output)
    default: {
      const verb = await verbNamed(word)
      const given = parseArguments(verb, rest)
      return given.has('help') ? help([word], output) : verb.run(given, output)
    }
  }
}

async function help(words: readonly string[], output: Output): Promise<number> {
  const [word, surplus] = words
  if (surplus !== undefined) throw new TailgateError('E_USAGE', `unexpected word '${surplus}'; help takes `
    + `one verb`)
  const all = word === undefined || word === 'help'
  output.out(all ? overview(await allVerbs()) : verbHelp(await verbNamed(word)))
  return exitStatus.done
}

async function verbNamed(word: string): Promise<Verb> {
  const load = Object.hasOwn(verbs, word) ? verbs[word] : undefined
  if (load !== undefined) return load()
  const guess = didYouMean(word, verbNames)
  throw new TailgateError('E_USAGE', `unknown verb '${word}'${guess} (see tailgate help)`)
}

async function allVerbs(): Promise<readonly Verb[]> {
  return Promise.all(Object.values(verbs).map(async (load) => load()))
}

/** What a configuration file got wrong, line by line. */
function problemsOf({ context }: TailgateError): readonly string[] {
  return Array.isArray(context.problems) ? context.problems.map(String) : []
}
