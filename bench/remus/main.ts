import { parseArgs } from 'node:util'
import { builtImage } from '../../test/built-image.ts'
import { laboratoryMissing } from '../laboratory.ts'
import { optionsIfValid } from '../options.ts'
import { runReporting } from '../reporting.ts'
import { Shortfalls } from '../shortfalls.ts'
import { measureInLab } from './order.ts'
import { trials, type Trial } from './plan.ts'
import { remusReportOf, trialText, type RemusReport, type RemusTrial } from './report.ts'
import { remusTables } from './tables.ts'

const usage = `usage: npm run bench:remus -- [OPTIONS]
  --quick      one interval of each way, under the load of the network
  --json       one line of JSON instead of tables
  --only TEXT  only trials whose name holds TEXT: 'Remus, every 200 ms, network' is one. May be repeated`

interface Options {
  readonly quick: boolean
  readonly json: boolean
  readonly only: readonly string[]
}

/** Undefined for a command line that is wrong. */
function options(): Options | undefined {
  return optionsIfValid(() => {
    const { values: { quick, json, only = [] } } = parseArgs({
      options: {
        quick: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        only: { type: 'string', multiple: true }
      }
    })
    return { quick, json, only }
  })
}

async function measure({ quick, only }: Options): Promise<RemusReport> {
  const shortfalls = new Shortfalls()
  const found: RemusTrial[] = []
  const wanted = (trial: Trial): boolean =>
    only.length === 0 || only.some((text) => trialText(trial).includes(text))
  const missing = laboratoryMissing({ tcc: 'tcc' })
  if (missing === undefined) {
    const image = await builtImage('test/xen/host/build.sh', 'tailgate-test-xen')
    for (const trial of trials(quick, wanted)) {
      await measureInLab({ image, trial }, (answer) => {
        if ('trial' in answer) found.push(answer.trial)
        else shortfalls.fail(answer.failed, new Error(answer.reason))
      }).catch((error: unknown) => shortfalls.fail(trialText(trial), error))
    }
  } else {
    shortfalls.leaveOut(`Remus beside LLM: ${missing}`)
  }
  return remusReportOf({ failures: shortfalls.failures, missing: shortfalls.missing, trials: found })
}

await runReporting(options(), { usage, measure, tables: remusTables })
