/** One option of a verb. */
export interface OptionDescription {
  /** For an option with a value: what stands for it in the usage, as `FILE`. Left out for a switch. */
  readonly value?: string
  /** One letter. */
  readonly short?: string
  readonly doc: string
}

export type OptionTable = Readonly<Record<string, OptionDescription>>

/** A command line that has been read. */
export class Arguments {
  readonly #values: ReadonlyMap<string, string | true>
  readonly positionals: readonly string[]

  constructor(values: ReadonlyMap<string, string | true>, positionals: readonly string[]) {
    this.#values = values
    this.positionals = positionals
  }

  has(option: string): boolean {
    return this.#values.has(option)
  }

  /** The value of an option that takes one; undefined where it was not given. */
  value(option: string): string | undefined {
    const value = this.#values.get(option)
    return value === true ? undefined : value
  }
}

/** Where a verb writes. */
export interface Output {
  out(text: string): void
  /** For long outputs: resolves when whoever reads has taken enough of it. */
  outWhenRoom(text: string): Promise<void>
  error(text: string): void
}

/** A word after `tailgate`. */
export interface Verb {
  readonly name: string
  /** One line for `tailgate help`. */
  readonly summary: string
  /** What follows `tailgate`, one line for each form. */
  readonly usage: readonly string[]
  /** More for `tailgate help VERB`; empty where usage and options say it all. */
  readonly details: string
  readonly options: OptionTable
  /** How many words it takes beside its options. */
  readonly words: { readonly least: number, readonly most: number }
  /** Resolves with the exit status. Rejects with a TailgateError for what a person can mend. */
  run(given: Arguments, output: Output): Promise<number>
}
