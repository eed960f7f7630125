/** A place in a configuration: keys and indices from the root. */
export type Path = readonly (string | number)[]

export interface Problem {
  /** From 1. */
  readonly line: number
  readonly column: number
  readonly message: string
}

/** `guests[0].heartbeat.interval` */
export function pathText(path: Path): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${step}]`
    return text === '' ? step : `${text}.${step}`
  }, '')
}

/** Gathers everything that is wrong with one file, and remembers where each key stands. */
export class Problems {
  readonly #places = new Map<string, number>()
  readonly #found: { readonly offset: number, readonly message: string }[] = []
  readonly #locate: (offset: number) => { line: number, column: number }

  /** @param locate line and column, from 1, of an offset into the text */
  constructor(locate: (offset: number) => { line: number, column: number }) {
    this.#locate = locate
  }

  /** Notes that the value at `path` stands at `offset` in the text. */
  place(path: Path, offset: number): void {
    this.#places.set(pathText(path), offset)
  }

  /** Whether the file has a value at `path`, as against a default. */
  given(path: Path): boolean {
    return this.#places.has(pathText(path))
  }

  /** Reports at `path`, or at the nearest thing around it that is in the file. */
  report(path: Path, message: string): void {
    let at = path
    while (at.length > 0 && !this.given(at)) at = at.slice(0, -1)
    this.reportAt(this.#places.get(pathText(at)) ?? 0, message)
  }

  reportAt(offset: number, message: string): void {
    this.#found.push({ offset, message })
  }

  get none(): boolean {
    return this.#found.length === 0
  }

  /** In the order of the text. */
  list(): readonly Problem[] {
    return this.#found
      .toSorted((a, b) => a.offset - b.offset)
      .map(({ offset, message }) => ({ ...this.#locate(offset), message }))
  }
}
