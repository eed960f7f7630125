export type MetricType = 'counter' | 'gauge' | 'histogram'

/** One number of a metric. */
export interface Sample {
  /** What follows the metric's name: '' but for histograms. */
  readonly suffix: '' | '_bucket' | '_sum' | '_count'
  /** As they are written, without braces: `guest="shop",host="a"`. */
  readonly labels: string
  /** As it is written, since JSON has neither NaN nor infinities. */
  readonly value: string
}

/** One metric and all of its series at one moment; made to be told by one process to another. */
export interface FamilySnapshot {
  readonly name: string
  readonly type: MetricType
  readonly help: string
  /** The names of its labels. */
  readonly labels: readonly string[]
  readonly samples: readonly Sample[]
}

/** What one of several processes that are one gateway tells. */
export interface ProcessSnapshot {
  /** The value of the label `worker`. */
  readonly worker: string
  readonly families: readonly FamilySnapshot[]
}

/** Prometheus' exposition format 0.0.4. A metric without a series still has its HELP and TYPE. */
export function exposition(families: readonly FamilySnapshot[]): string {
  const lines = families.flatMap(({ name, type, help, samples }) => [
    `# HELP ${name} ${escapeHelp(help)}`, `# TYPE ${name} ${type}`,
    ...samples.map(({ suffix, labels, value }) => `${name}${suffix}${braced(labels)} ${value}`)
  ])
  return lines.join('\n') + '\n'
}

/**
 * The metrics of several processes as those of one gateway. A guest is served by one process, so that the
 * series of guests are put side by side; every other one is given the label `worker`, because the sum of,
 * say, delays or memory would hide the one process that is in trouble, and a query can always sum.
 */
export function mergedFamilies(processes: readonly ProcessSnapshot[]): readonly FamilySnapshot[] {
  const merged = new Map<string, FamilySnapshot>()
  for (const { worker, families } of processes) {
    for (const family of families) {
      const isTold = family.labels.some(label => label === 'guest' || label === 'worker')
      const samples = isTold ? family.samples : family.samples.map(sample => ofWorker(sample, worker))
      const before = merged.get(family.name)?.samples ?? []
      merged.set(family.name, { ...family, samples: [...before, ...samples] })
    }
  }
  return [...merged.values()]
}

function ofWorker(sample: Sample, worker: string): Sample {
  const label = `worker="${worker}"`
  return { ...sample, labels: sample.labels === '' ? label : `${label},${sample.labels}` }
}

function braced(labels: string): string {
  return labels === '' ? '' : `{${labels}}`
}

function escapeHelp(text: string): string {
  return text.replace(/\\/g, '\\\\').replace(/\n/g, '\\n')
}
