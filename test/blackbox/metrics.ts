import { get } from 'node:http'

/** One line of a page of metrics. */
export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

const sampleLine = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (NaN|[+-]Inf|-?[0-9.eE+-]+)$/
const labelText = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)/y
const types = new Set(['counter', 'gauge', 'histogram', 'summary', 'untyped'])

/** A page of metrics that has been read strictly: a line that is not in the text format is an error. */
export class Samples {
  readonly text: string
  readonly all: readonly Sample[]
  readonly types: ReadonlyMap<string, string>

  constructor(text: string) {
    this.text = text
    const samples: Sample[] = []
    const kinds = new Map<string, string>()
    if (!text.endsWith('\n')) throw new Error('the last line does not end')
    for (const line of text.slice(0, -1).split('\n')) {
      const [, name = '', kind = ''] = /^# TYPE (\S+) (\S+)$/.exec(line) ?? []
      if (name !== '') {
        if (!types.has(kind) || kinds.has(name)) throw new Error(`not a type, or said twice: ${line}`)
        kinds.set(name, kind)
      } else if (!/^# HELP \S+ .+$/.test(line)) samples.push(sampleOf(line))
    }
    this.all = samples
    this.types = kinds
  }

  /** Of all samples with this name and these labels. */
  sum(name: string, labels: Readonly<Record<string, string>> = {}): number {
    const found = this.all.filter((sample) => sample.name === name
      && Object.entries(labels).every(([label, value]) => sample.labels[label] === value))
    return found.reduce((sum, { value }) => sum + value, 0)
  }
}

function sampleOf(line: string): Sample {
  const [, name, inner = '', number = ''] = sampleLine.exec(line) ?? []
  if (name === undefined) throw new Error(`not a line of metrics: ${line}`)
  const labels: Record<string, string> = {}
  for (let at = 0; at < inner.length; at = labelText.lastIndex) {
    labelText.lastIndex = at
    const [, label = '', value = ''] = labelText.exec(inner) ?? []
    if (label === '' || label in labels) throw new Error(`not a set of labels: ${line}`)
    labels[label] = value
  }
  return { name, labels, value: number.endsWith('Inf') ? Number(`${number}inity`) : Number(number) }
}

/** Scrapes `address` once. */
export async function metricsOf(address: string): Promise<Samples> {
  return new Samples(await new Promise<string>((resolve, reject) => {
    get(`http://${address}/metrics`, { agent: false }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (piece: string) => { text += piece })
      response.on('end', () => response.statusCode === 200 ? resolve(text) : reject(new Error(text)))
    }).on('error', reject)
  }))
}
