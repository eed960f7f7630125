import { parseArgs, type ParseArgsConfig } from 'node:util'
import { TailgateError } from '../base/errors.ts'
import { didYouMean } from '../base/nearest.ts'
import { Arguments, type OptionTable, type Verb } from './verb.ts'

/** Options that every verb has. */
export const commonOptions: OptionTable = { help: { short: 'h', doc: 'Show this help.' } }

/** An option as node:util's parser wants it. */
type ParserOption = NonNullable<ParseArgsConfig['options']>[string]

/** Reads what follows a verb. Throws E_USAGE for anything that the verb does not have. */
export function parseArguments(verb: Verb, args: readonly string[]): Arguments {
  const options: OptionTable = { ...verb.options, ...commonOptions }
  const known = Object.entries(options).map(([name, { value, short }]): [string, ParserOption] => {
    const type = value === undefined ? 'boolean' as const : 'string' as const
    return [name, short === undefined ? { type } : { type, short }]
  })
  const { tokens } = parseArgs({
    args: [...args],
    // What does not fit is found in the tokens, with a better word for it than the parser's own.
    strict: false,
    allowPositionals: true,
    tokens: true,
    options: Object.fromEntries(known)
  })
  const values = new Map<string, string | true>()
  const positionals: string[] = []
  for (const token of tokens) {
    if (token.kind === 'positional') positionals.push(token.value)
    if (token.kind !== 'option') continue
    values.set(token.name, optionValue(verb, options, token.name, token.rawName, token.value))
  }
  const given = new Arguments(values, positionals)
  if (!given.has('help')) checkWords(verb, positionals)
  return given
}

/** An error about the command line of `verb`. */
export function usageError(verb: Pick<Verb, 'name'>, message: string): TailgateError {
  return new TailgateError('E_USAGE', `${message} (see tailgate help ${verb.name})`)
}

function optionValue(
  verb: Verb, options: OptionTable, name: string, rawName: string, value: string | undefined
): string | true {
  const option = Object.hasOwn(options, name) ? options[name] : undefined
  if (option === undefined) {
    const known = Object.keys(options).map((key) => `--${key}`)
    throw usageError(verb, `unknown option '${rawName}'${didYouMean(rawName, known)}`)
  }
  if (option.value === undefined) {
    if (value !== undefined) throw usageError(verb, `--${name} takes no value`)
    return true
  }
  if (value === undefined || value === '') throw usageError(verb, `--${name} needs a value: ${option.value}`)
  return value
}

function checkWords({ words, ...verb }: Verb, positionals: readonly string[]): void {
  const surplus = positionals[words.most]
  if (surplus !== undefined) throw usageError(verb, `unexpected word '${surplus}'`)
  if (positionals.length < words.least) throw usageError(verb, 'a word is missing')
}
