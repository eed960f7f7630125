import { invariant } from '../base/invariant.ts'
import { exposition, type FamilySnapshot, type MetricType, type Sample } from './exposition.ts'

/** One time series of a counter or gauge: a plain field, so that the data path only adds to a number. */
export interface MetricCell {
  value: number
}

/** One histogram series. */
export interface HistogramCell {
  observe(value: number): void
}

export interface MetricOptions<L extends string> {
  readonly name: string
  /** One sentence without its full stop, as docs/METRICS.md has it. */
  readonly help: string
  readonly labels?: readonly L[]
}

export type LabelValues<L extends string> = Readonly<Record<L, string>>

/** All series of one metric. */
export interface MetricFamily<L extends string, Cell> {
  readonly name: string
  readonly type: MetricType
  readonly help: string
  readonly labels: readonly L[]
  /**
   * The series with these label values, made at the first call. Look it up once, when the guest or service
   * comes, and keep it. Beyond {@link seriesMax} all further ones share the series whose labels are all
   * `other`.
   */
  with(values: LabelValues<L>): Cell
}

/** The most series of one family. A label that grows without bound must not take the memory of a gateway. */
export const seriesMax = 1000

/** Media type of what {@link MetricRegistry.expose} returns. */
export const metricsContentType = 'text/plain; version=0.0.4; charset=utf-8'

/** The metrics of one process, and their text in Prometheus' exposition format 0.0.4. */
export class MetricRegistry {
  readonly #families = new Map<string, AnyFamily>()
  readonly #collectors: (() => void)[] = []

  counter<L extends string = never>(options: MetricOptions<L>): MetricFamily<L, MetricCell> {
    return this.#add(new Family('counter', options, () => new NumberCell()))
  }

  gauge<L extends string = never>(options: MetricOptions<L>): MetricFamily<L, MetricCell> {
    return this.#add(new Family('gauge', options, () => new NumberCell()))
  }

  /** @param bounds upper bounds of the buckets, growing, without +Inf */
  histogram<L extends string = never>(
    options: MetricOptions<L> & { readonly bounds: readonly number[] }
  ): MetricFamily<L, HistogramCell> {
    const { bounds } = options
    invariant(bounds.length > 0 && bounds.every((bound, i) => i === 0 || bound > (bounds[i - 1] ?? bound)),
      'the bounds of a histogram grow', { name: options.name })
    return this.#add(new Family('histogram', options, () => new Histogram(bounds)))
  }

  /** Called before each scrape, to set the gauges that nobody keeps up to date in between. */
  onCollect(collect: () => void): void {
    this.#collectors.push(collect)
  }

  /** Every family, in the order in which they were made. */
  get families(): readonly MetricFamily<string, unknown>[] {
    return [...this.#families.values()]
  }

  /** Collects, and tells every series of every family. */
  snapshot(): readonly FamilySnapshot[] {
    for (const collect of this.#collectors) collect()
    return [...this.#families.values()].map(family => family.snapshot())
  }

  /** Collects, and writes all series down. */
  expose(): string {
    return exposition(this.snapshot())
  }

  #add<F extends AnyFamily>(family: F): F {
    const faults = metricFaults(family)
    invariant(faults.length === 0, 'a metric keeps the naming rules', { name: family.name, faults })
    invariant(!this.#families.has(family.name), 'a metric is made once', { name: family.name })
    this.#families.set(family.name, family)
    return family
  }
}

/** Labels that would hold one value per client or connection. */
const unboundedLabels = ['client', 'address', 'ip', 'port', 'connection', 'connection_id', 'lsn', 'epoch']

/** Units that are not base units (Prometheus, "Metric and label naming"). */
const wrongUnits = /_(ms|millis|milliseconds|microseconds|nanoseconds|minutes|hours|kb|kib|mb|mib)(_|$)/

/**
 * What is wrong with a metric's name, help or labels, as promtool's linter would say; empty if nothing is.
 */
export function metricFaults(
  metric: Pick<MetricFamily<string, unknown>, 'name' | 'type' | 'help' | 'labels'>
): string[] {
  const { name, type, help, labels } = metric
  const faults: string[] = []
  const check = (good: boolean, fault: string): void => { if (!good) faults.push(fault) }
  check(/^(tailgate|process)(_[a-z][a-z0-9]*)+$/.test(name), 'its name is tailgate_ or process_ and words')
  check(name.endsWith('_total') === (type === 'counter'), 'counters, and only they, end in _total')
  check(!/_(count|sum|bucket)$/.test(name), 'its name ends in no suffix that belongs to histograms')
  check(!/_(counter|gauge|histogram|metric)(_|$)/.test(name), 'its name does not repeat its type')
  check(!wrongUnits.test(name), 'it is in base units: seconds and bytes')
  check(type !== 'histogram' || /_(seconds|bytes)$/.test(name), 'a histogram ends in its unit')
  check(help.length > 0 && !help.endsWith('.'), 'its help is a sentence without a full stop')
  for (const label of labels) {
    check(/^(?!le$|quantile$)[a-z][a-z_]*$/.test(label), `label ${label} is lower-case and not reserved`)
    check(!unboundedLabels.includes(label), `label ${label} has a bounded set of values`)
  }
  return faults
}

interface Series {
  samples(labels: string): readonly Sample[]
}

interface AnyFamily extends MetricFamily<string, unknown> {
  snapshot(): FamilySnapshot
}

class Family<L extends string, Cell extends Series> implements MetricFamily<L, Cell> {
  readonly name: string
  readonly type: MetricType
  readonly help: string
  readonly labels: readonly L[]
  readonly #make: () => Cell
  /** By the text of the labels, without braces: `guest="shop",host="a"`. */
  readonly #series = new Map<string, Cell>()

  constructor(type: MetricType, options: MetricOptions<L>, make: () => Cell) {
    this.type = type
    this.name = options.name
    this.help = options.help
    this.labels = options.labels ?? []
    this.#make = make
    // A metric without labels is there from the beginning, as 0: a scraper sees its first increase.
    if (this.labels.length === 0) this.#series.set('', make())
  }

  with(values: LabelValues<L>): Cell {
    const wanted = this.labels.map(label => `${label}="${escapeValue(values[label])}"`).join(',')
    const full = this.#series.size >= seriesMax && !this.#series.has(wanted)
    const key = full ? this.labels.map(label => `${label}="other"`).join(',') : wanted
    let cell = this.#series.get(key)
    if (cell === undefined) {
      cell = this.#make()
      this.#series.set(key, cell)
    }
    return cell
  }

  snapshot(): FamilySnapshot {
    const { name, type, help, labels } = this
    const samples = [...this.#series].flatMap(([values, cell]) => cell.samples(values))
    return { name, type, help, labels, samples }
  }
}

class NumberCell implements MetricCell, Series {
  value = 0

  samples(labels: string): readonly Sample[] {
    return [{ suffix: '', labels, value: numberText(this.value) }]
  }
}

class Histogram implements HistogramCell, Series {
  readonly #bounds: readonly number[]
  readonly #counts: Float64Array
  #sum = 0

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds
    this.#counts = new Float64Array(bounds.length + 1)
  }

  observe(value: number): void {
    let bucket = 0
    while (bucket < this.#bounds.length && value > (this.#bounds[bucket] ?? 0)) bucket++
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1
    this.#sum += value
  }

  samples(labels: string): readonly Sample[] {
    const before = labels === '' ? '' : `${labels},`
    let count = 0
    const buckets = [...this.#bounds, Infinity].map((bound, bucket): Sample => {
      count += this.#counts[bucket] ?? 0
      return { suffix: '_bucket', labels: `${before}le="${numberText(bound)}"`, value: String(count) }
    })
    return [
      ...buckets, { suffix: '_sum', labels, value: numberText(this.#sum) },
      { suffix: '_count', labels, value: String(count) }
    ]
  }
}

function numberText(value: number): string {
  if (value === Infinity) return '+Inf'
  return value === -Infinity ? '-Inf' : String(value)
}

function escapeValue(text: string): string {
  return text.replace(/\\/g, '\\\\').replace(/\n/g, '\\n').replace(/"/g, '\\"')
}
