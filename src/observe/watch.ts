import { durationText } from './quantity.ts'

/** What a line is about; each has a symbol and, on a terminal, a colour. */
const kinds = {
  info: { symbol: '·', colour: '' },
  good: { symbol: '✓', colour: '\u001b[32m' },
  warn: { symbol: '!', colour: '\u001b[33m' },
  bad: { symbol: '✗', colour: '\u001b[31m' },
  strike: { symbol: '†', colour: '\u001b[35m' }
} as const

const dim = '\u001b[2m'
const plain = '\u001b[0m'

export type WatchKind = keyof typeof kinds

/** Where lines go: process.stdout, or anything like it. */
export interface WatchOutput {
  readonly isTTY?: boolean
  write(text: string): unknown
}

export interface WatchOptions {
  readonly output: WatchOutput
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number
  /** Where NO_COLOR is looked for: process.env. */
  readonly environment: Readonly<Record<string, string | undefined>>
}

/** Prints what happens as it happens, one line each: `  2.143 s  ✓ shop: protected`. */
export class Watch {
  readonly #options: WatchOptions
  readonly #colours: boolean
  readonly #startedAt: number

  constructor(options: WatchOptions) {
    this.#options = options
    this.#colours = coloursWanted(options.output, options.environment)
    this.#startedAt = options.now()
  }

  /** `text` may come from elsewhere: whatever would break the line or move the cursor is taken out. */
  line(kind: WatchKind, text: string): void {
    const { output, now } = this.#options
    const { symbol, colour } = kinds[kind]
    const time = `${((now() - this.#startedAt) / 1000).toFixed(3).padStart(7)} s`
    const said = text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ')
    output.write(this.#colours
      ? `${dim}${time}${plain}  ${colour}${symbol} ${said}${plain}\n`
      : `${time}  ${symbol} ${said}\n`)
  }

  /** A line about something that took a while. */
  took(kind: WatchKind, text: string, ms: number): void {
    this.line(kind, `${text} (${durationText(ms)})`)
  }
}

/**
 * Colours only on a terminal, and not where NO_COLOR is set to anything (no-color.org) or the terminal is
 * dumb.
 */
export function coloursWanted(
  output: WatchOutput, environment: Readonly<Record<string, string | undefined>>
): boolean {
  const refused = (environment['NO_COLOR'] ?? '') !== '' || environment['TERM'] === 'dumb'
  return output.isTTY === true && !refused
}
