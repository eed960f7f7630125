import {
  loadNames, settingText, trialsOf, type LoadName, type RemusReport, type RemusTrial
} from '../remus/report.ts'
import { downtimeCells, downtimeHead, protectedCells, protectedHead } from '../remus/tables.ts'
import { table } from './markdown-table.ts'

/** The paper's comparison: Remus beside LLM, on one Xen guest. */
export function remusPart(reports: readonly RemusReport[], chart: readonly string[]): string[] {
  const trials = trialsOf(reports)
  if (trials.length === 0) return []
  return [
    '## Remus beside LLM', '',
    'One guest of Xen with a Redis, on two hosts, protected in two ways: as Remus does it (`release: '
      + 'checkpoint`: a response leaves when a checkpoint has it) and as LLM does it (`release: epoch`: when '
      + 'the backup has the input). Both by the same gateway, and with the same checkpoints of Xen. '
      + '`network`: 16 clients that set a small value each time they have their answer. `memory`: 10 short '
      + 'requests a second, each of which rewrites 256 KiB of 2 MiB. *Compiles*: what a compiler in the '
      + 'guest gets done, of what it does without a backup. The host is killed under load, in the middle of '
      + 'a period.', '',
    'Both hosts are emulated whole, processors included, and all of it shares two processors: a checkpoint '
      + 'for which a guest stands 10 ms under a real Xen takes some hundred here, and what comes before and '
      + 'after it takes two seconds of the processors. At an interval of 200 ms a guest hardly runs any '
      + 'more, in either way; 2 s is the shortest that leaves it half of its time. So no figure says '
      + 'anything by itself; what is claimed is how the two ways compare, on the same machine.', '',
    `Measured on ${[...new Set(reports.map(({ machine }) => machine))].join('; ')}.`, '',
    ...chart,
    ...table(protectedHead, trials.map(protectedCells)),
    ...table(downtimeHead, trials.map(downtimeCells)),
    ...claimsPart(trials)
  ]
}

interface Claim {
  readonly text: string
  readonly load: LoadName
  readonly of: (trial: RemusTrial) => number
  /** Whether a trial of LLM bears it out, beside the best one of Remus. */
  readonly holds: (llm: number, remus: number) => boolean
  readonly best: (...values: readonly number[]) => number
  readonly said: (value: number) => string
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(ms < 1000 ? 3 : 1)} s`

/** What the paper says (Jiang and others, SSS 2010), each against the best trial of Remus. */
const claims: readonly Claim[] = [
  ...loadNames.map((load): Claim => ({
    text: 'the network delay (mean) is more than 90 % below', load, of: (trial) => trial.protected.delay.mean,
    holds: (llm, remus) => llm < 0.1 * remus, best: Math.min, said: seconds
  })),
  {
    text: 'the downtime is shorter', load: 'network', of: ({ failover }) => failover.clientMs,
    holds: (llm, remus) => llm < remus, best: Math.min, said: seconds
  }, {
    text: 'the downtime is longer, but comparable (at most twice)', load: 'memory',
    of: ({ failover }) => failover.clientMs, holds: (llm, remus) => llm <= 2 * remus, best: Math.min,
    said: seconds
  },
  ...loadNames.map((load): Claim => ({
    text: 'the overhead is lower: more is compiled', load,
    of: ({ compiles }) => compiles.protected / compiles.alone, holds: (llm, remus) => llm > remus,
    best: Math.max, said: (value) => value.toFixed(2)
  }))
]

function claimsPart(trials: readonly RemusTrial[]): string[] {
  const intervals = [...new Set(trials.filter(({ mode }) => mode === 'epoch').map((one) => one.intervalMs))]
  const rows = claims.flatMap((claim) => claimRow(claim, trials, intervals))
  if (rows.length === 0) return []
  const head = ['what the paper says of LLM', 'load', 'Remus, the best',
    ...intervals.map((intervalMs) => settingText({ mode: 'epoch', intervalMs }))]
  return [
    'What the paper claims, and what was seen. docs/PERFORMANCE.md says why.', '', ...table(head, rows)
  ]
}

function claimRow(
  claim: Claim, trials: readonly RemusTrial[], intervals: readonly number[]
): string[][] {
  const here = trials.filter(({ load }) => load === claim.load)
  const remus = here.filter(({ mode }) => mode === 'checkpoint').map(claim.of)
  if (remus.length === 0) return []
  const best = claim.best(...remus)
  const cells = intervals.map((intervalMs) => {
    const found = here.find((trial) => trial.mode === 'epoch' && trial.intervalMs === intervalMs)
    if (found === undefined) return 'not measured'
    const value = claim.of(found)
    return `${claim.said(value)}: ${claim.holds(value, best) ? 'confirmed' : '**not confirmed**'}`
  })
  return [[claim.text, claim.load, claim.said(best), ...cells]]
}
