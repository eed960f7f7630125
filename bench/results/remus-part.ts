import {
  inOrder, isSameTrial, loadNames, settingText, trialsOf, type LoadName, type RemusRuns, type RemusTrial
} from '../remus/report.ts'
import { downtimeCells, downtimeHead, protectedCells, protectedHead } from '../remus/tables.ts'
import { table } from './markdown-table.ts'

/** The paper's comparison: Remus beside LLM, on one Xen guest. */
export function remusPart(reports: readonly RemusRuns[], chart: readonly string[]): string[] {
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
    `Measured on ${[...new Set(reports.map(({ machine }) => machine))].join('; ')}, in ${runsText(reports)}. `
      + 'Each trial has two fresh hosts of its own, and its host is killed once: no figure is a median of '
      + 'several trials, and what a client waited is what it waited in one failover.', '',
    ...chart,
    ...table(protectedHead, trials.map(protectedCells)),
    ...table(downtimeHead, trials.map(downtimeCells)),
    ...claimsPart(trials),
    ...againPart(trials, inOrder(reports.flatMap(({ earlier }) => earlier)))
  ]
}

function runsText(reports: readonly RemusRuns[]): string {
  const runs = reports.reduce((sum, report) => sum + report.runs, 0)
  return runs === 1 ? 'one run' : `${runs} runs`
}

interface Claim {
  readonly text: string
  readonly load: LoadName
  readonly of: (trial: RemusTrial) => number
  /** What a trial of LLM says of it, beside the best one of Remus. */
  readonly verdict: (llm: number, remus: number) => string
  readonly best: (...values: readonly number[]) => number
  readonly said: (value: number) => string
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(ms < 1000 ? 3 : 1)} s`

const confirmed = (holds: boolean): string => holds ? 'confirmed' : '**not confirmed**'

/** What the paper says (Jiang and others, SSS 2010), each against the best trial of Remus. */
const claims: readonly Claim[] = [
  ...loadNames.map((load): Claim => ({
    text: 'the network delay (mean) is more than 90 % below', load, of: (trial) => trial.protected.delay.mean,
    verdict: (llm, remus) => confirmed(llm < 0.1 * remus), best: Math.min, said: seconds
  })),
  {
    text: 'the downtime is shorter', load: 'network', of: ({ failover }) => failover.clientMs,
    verdict: (llm, remus) => confirmed(llm < remus), best: Math.min, said: seconds
  }, {
    text: 'the downtime is longer, but comparable (at most twice)', load: 'memory',
    of: ({ failover }) => failover.clientMs, best: Math.min, said: seconds,
    verdict: (llm, remus) => llm > remus ? confirmed(llm <= 2 * remus) : 'comparable; **not longer**'
  },
  ...loadNames.map((load): Claim => ({
    text: 'the overhead is lower: more is compiled', load,
    of: ({ compiles }) => compiles.protected / compiles.alone, best: Math.max,
    verdict: (llm, remus) => confirmed(llm > remus), said: (value) => value.toFixed(2)
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
  const best = bestOfRemus(claim, trials)
  if (best === undefined) return []
  const cells = intervals.map((intervalMs) => {
    const found = trials.find((trial) =>
      trial.mode === 'epoch' && trial.intervalMs === intervalMs && trial.load === claim.load)
    return found === undefined ? 'not measured' : claimCell(claim, found, best)
  })
  return [[claim.text, claim.load, claim.said(best), ...cells]]
}

function bestOfRemus({ load, of, best }: Claim, trials: readonly RemusTrial[]): number | undefined {
  const figures = trials.filter((trial) => trial.mode === 'checkpoint' && trial.load === load).map(of)
  return figures.length === 0 ? undefined : best(...figures)
}

/** Remus is what LLM is held against, and nothing is claimed of it. */
function claimCell({ of, said, verdict }: Claim, trial: RemusTrial, best: number): string {
  const value = of(trial)
  return trial.mode === 'epoch' ? `${said(value)}: ${verdict(value, best)}` : said(value)
}

/** What trials that were made again would have said. */
function againPart(trials: readonly RemusTrial[], earlier: readonly RemusTrial[]): string[] {
  const rows = earlier.flatMap((trial) => claims.flatMap((claim) => {
    const best = bestOfRemus(claim, trials)
    const now = trials.find((one) => isSameTrial(one, trial))
    if (claim.load !== trial.load || best === undefined || now === undefined) return []
    const cells = [trial, now].map((one) => claimCell(claim, one, best))
    return [[settingText(trial), trial.load, claim.text, claim.said(best), ...cells]]
  }))
  if (rows.length === 0) return []
  const head = ['made again', 'load', 'what the paper says of LLM', 'Remus, the best', 'before', 'counts']
  return [
    'Of a trial that was made again the newer one counts above. Both, and what each says of the claims:', '',
    ...table(head, rows)
  ]
}
