import type { StreamEvents, StreamSide } from '../../src/core/stream.ts'

/** What a side tells, kept, and awaited without polling. */
export class Recorder implements StreamEvents {
  readonly told: string[] = []
  #pieces: Buffer[] = []
  #length = 0
  #waiting: { met: () => boolean, resolve: () => void }[] = []

  data(bytes: Uint8Array): void {
    this.#pieces.push(Buffer.from(bytes))
    this.#length += bytes.length
    this.#check()
  }

  end(): void { this.#tell('end') }
  reset(): void { this.#tell('reset') }
  drain(): void { this.#tell('drain') }

  get length(): number {
    return this.#length
  }

  get bytes(): Buffer {
    this.#pieces = [Buffer.concat(this.#pieces)]
    return this.#pieces[0] ?? Buffer.alloc(0)
  }

  get text(): string {
    return this.bytes.toString('latin1')
  }

  until(met: () => boolean): Promise<void> {
    if (met()) return Promise.resolve()
    return new Promise((resolve) => this.#waiting.push({ met, resolve }))
  }

  untilText(text: string): Promise<void> {
    return this.until(() => this.#length >= text.length)
  }

  untilTold(what: string): Promise<void> {
    return this.until(() => this.told.includes(what))
  }

  #tell(what: string): void {
    this.told.push(what)
    this.#check()
  }

  #check(): void {
    const waiting = this.#waiting
    this.#waiting = waiting.filter(({ met }) => !met())
    for (const one of waiting) if (!this.#waiting.includes(one)) one.resolve()
  }
}

export function write(side: StreamSide, text: string): void {
  side.write(Buffer.from(text, 'latin1'))
}

/** Some turns of this process, in which whatever should not happen would have. */
export async function turns(count = 300): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}
