import { parseArgs } from 'node:util'

export const usage = `usage: npm run bench -- [OPTIONS]
  --quick      three short rounds with a few contenders, under three minutes
  --goals      only the contenders and workloads that have goals, and what they are compared with
  --json       one line of JSON instead of tables
  --rounds N   rounds (5; quick: 3), each with every contender in every workload, in shuffled order
  --seconds S  about how long one run takes (1.2; quick: 0.4)
  --only TEXT  only contenders whose name holds TEXT, beside direct and haproxy; may be repeated
  --load TEXT  only workloads whose name holds TEXT; may be repeated`

/** What every measuring command takes. */
export interface CommonOptions {
  readonly quick: boolean
  readonly json: boolean
  readonly rounds: number
  readonly seconds: number
  readonly only: readonly string[]
}

export interface Options extends CommonOptions {
  readonly goals: boolean
  readonly load: readonly string[]
}

/** For `parseArgs`: the flags of {@link CommonOptions}. */
export const commonFlags = {
  quick: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  rounds: { type: 'string' },
  seconds: { type: 'string' },
  only: { type: 'string', multiple: true }
} as const

interface CommonValues extends Pick<CommonOptions, 'quick' | 'json'> {
  readonly only?: readonly string[] | undefined
  readonly rounds?: string | undefined
  readonly seconds?: string | undefined
}

/** How much is measured where the command line does not say. */
export interface Extent {
  readonly rounds: number
  readonly seconds: number
}

/** Throws a TypeError for rounds or seconds that are none. */
export function commonOptions(
  values: CommonValues, usual: { readonly full: Extent, readonly quick: Extent }
): CommonOptions {
  const { quick, json, only = [] } = values
  const extent = quick ? usual.quick : usual.full
  const rounds = Number(values.rounds ?? extent.rounds)
  const seconds = Number(values.seconds ?? extent.seconds)
  if (!(Number.isInteger(rounds) && rounds > 0 && seconds > 0 && seconds < Infinity)) {
    throw new TypeError('rounds or seconds')
  }
  return { quick, json, rounds, seconds, only }
}

/** Undefined for a command line that is wrong: `parse` throws for one. */
export function optionsIfValid<T>(parse: () => T): T | undefined {
  try {
    return parse()
  } catch (error) {
    if (error instanceof TypeError) return undefined
    throw error
  }
}

/** Undefined for a command line that is wrong. */
export function parseOptions(args: readonly string[]): Options | undefined {
  return optionsIfValid(() => {
    const { values } = parseArgs({
      args: [...args],
      options: {
        ...commonFlags, goals: { type: 'boolean', default: false },
        load: { type: 'string', multiple: true }
      }
    })
    const usual = { full: { rounds: 5, seconds: 1.2 }, quick: { rounds: 3, seconds: 0.4 } }
    return { ...commonOptions(values, usual), goals: values.goals, load: values.load ?? [] }
  })
}
