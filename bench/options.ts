import { parseArgs } from 'node:util'

export const usage = `usage: npm run bench -- [OPTIONS]
  --quick      three short rounds with a few contenders, under three minutes
  --json       one line of JSON instead of tables
  --rounds N   rounds (5; quick: 3), each with every contender in every workload, in shuffled order
  --seconds S  about how long one run takes (1.2; quick: 0.4)
  --only TEXT  only contenders whose name holds TEXT, beside direct and haproxy; may be repeated
  --load TEXT  only workloads whose name holds TEXT; may be repeated`

export interface Options {
  readonly quick: boolean
  readonly json: boolean
  readonly rounds: number
  readonly seconds: number
  readonly only: readonly string[]
  readonly load: readonly string[]
}

/** Undefined for a command line that is wrong. */
export function parseOptions(args: readonly string[]): Options | undefined {
  try {
    return parsed(args)
  } catch {
    return undefined
  }
}

function parsed(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      only: { type: 'string', multiple: true, default: [] },
      load: { type: 'string', multiple: true, default: [] }
    }
  })
  const { quick, json, only, load } = values
  const rounds = Number(values.rounds ?? (quick ? 3 : 5))
  const seconds = Number(values.seconds ?? (quick ? 0.4 : 1.2))
  if (!(Number.isInteger(rounds) && rounds > 0 && seconds > 0 && seconds < Infinity)) {
    throw new TypeError('rounds or seconds')
  }
  return { quick, json, rounds, seconds, only, load }
}
