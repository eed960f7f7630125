import { constants, openSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { messageOf, TailgateError } from '../base/errors.ts'
import { PipeReader } from './pipe-reader.ts'
import { XenStream, type XenCheckpoint } from './xen-stream.ts'
import { spawnXl, type XlProcess } from './xl.ts'

/** What a receiver says before it takes a stream (Xen's tools/xl/xl.h). */
const banner = 'xl migration receiver ready, send binary domain data.'
/**
 * The other end of xl's pipes. It keeps them open until its own descriptor 3 ends, and that is when this
 * process ends or wants it to. A shell that reads from elsewhere has its input elsewhere for so long; so the
 * stream is its descriptor 4, too.
 */
const transport = `exec 4<&0; echo '${banner}'; echo $$ >&3; read -r _ <&3`

/** How long xl may take to come to its transport, in milliseconds. */
const startMsMax = 30_000
/** The reader of the pipe has taken so much of a checkpoint when it hears that it began. */
const recordHeaderBytes = 8

export interface RemusEvents {
  /** The domain's configuration, libxl's JSON. What is thrown ends the stream. */
  configured(json: string): void
  /**
   * The domain stands for a checkpoint. True: it is to stand until {@link RemusSender.goOn}; nothing can hold
   * it where `canBeHeld` is false.
   */
  stands(canBeHeld: boolean): boolean
  /** What comes next of the stream; it does not change any more. */
  bytes(piece: Uint8Array): void
  /** `held`: the domain stood from {@link stands} to {@link RemusSender.goOn}, and ran on only then. */
  whole(checkpoint: XenCheckpoint, held: boolean): void
  /** Called once: nothing more comes. */
  ended(reason: string): void
}

/**
 * One `xl remus`, whose stream this process takes:
 *
 *   libxl-save-helper ─► pipe ─► this process
 *                          └──── xl's transport, a shell that only waits
 *
 * The helper writes a checkpoint while the domain stands, and lets it go on once the pipe has taken the last
 * byte. So the pipe is shrunk to one page between checkpoints and read no further than a record's header: the
 * rest of a checkpoint does not fit, and the domain stands for as long as nothing is read.
 *
 * When the reading end is closed, by the death of this process too, xl lets the domain run on at its next
 * checkpoint, and ends.
 */
export class RemusSender {
  readonly #events: RemusEvents
  readonly #xl: XlProcess
  readonly #wait: Duplex
  readonly #reader: PipeReader
  readonly #stream: XenStream
  #holding = false
  /** The capacity that held the checkpoint under way; undefined when nothing does. */
  #heldBy: number | undefined
  #over = false

  private constructor(xl: XlProcess, wait: Duplex, pipe: number, events: RemusEvents) {
    this.#events = events
    this.#xl = xl
    this.#wait = wait
    this.#stream = new XenStream({
      configured: json => { events.configured(json) },
      began: () => { this.#began() },
      ended: checkpoint => { this.#whole(checkpoint) },
      finished: () => undefined
    })
    this.#reader = new PipeReader(pipe, {
      wanted: () => this.#stream.wanted,
      read: bytes => { this.#stream.push(bytes) },
      piece: bytes => { events.bytes(bytes) },
      over: error => { if (error !== undefined) this.#end(messageOf(error)) }
    })
    void xl.ending.then(({ words }) => { this.#end(`xl remus has ended: ${words}`) })
  }

  /** Resolves when xl has come to its transport; its stream begins then. Rejects with E_ENGINE. */
  static async start(domain: string, periodMs: number, events: RemusEvents): Promise<RemusSender> {
    const words = ['-v', 'remus', '-F', '-n', '-d', '-i', String(periodMs), '-s', '', domain, transport]
    const xl = spawnXl(words, ['ignore', 'ignore', 'pipe', 'pipe'])
    const wait = xl.child.stdio[3] as Duplex
    wait.on('error', () => undefined)
    try {
      const pid = await firstLine(wait, xl)
      const pipe = openSync(`/proc/${pid}/fd/4`, constants.O_RDONLY | constants.O_NONBLOCK)
      return new RemusSender(xl, wait, pipe, events)
    } catch (cause) {
      wait.destroy()
      const what = `the checkpoints of ${domain} cannot be taken: ${messageOf(cause)}`
      throw new TailgateError('E_ENGINE', what, { cause })
    }
  }

  /** Resolves when xl is gone. */
  get gone(): Promise<unknown> { return this.#xl.ending }

  /** The domain, which was to stand, may run on. */
  goOn(): void {
    if (!this.#holding || this.#over) return
    this.#holding = false
    this.#reader.widen()
    this.#reader.goOn()
  }

  /** Nothing is read for a while: while the domain runs, that is no harm. */
  pause(): void {
    if (!this.#over) this.#reader.hold()
  }

  resume(): void {
    if (!this.#over && !this.#holding) this.#reader.goOn()
  }

  /** The stream is not wanted any more; `ended` is not called. The domain runs on, and xl ends by itself. */
  close(): void {
    this.#over = true
    this.#reader.close()
    this.#wait.destroy()
  }

  /** Ends xl at once: of a domain that is gone. */
  kill(): void {
    this.close()
    this.#xl.child.kill('SIGKILL')
  }

  #began(): void {
    this.#reader.hand()
    // It may have begun before the pipe could be shrunk: then nothing holds it.
    const capacity = this.#reader.narrowness
    if (!this.#events.stands(capacity !== undefined)) return this.#reader.widen()
    this.#holding = true
    this.#reader.hold()
    this.#heldBy = capacity
  }

  #whole(checkpoint: XenCheckpoint): void {
    this.#reader.hand()
    const heldBy = this.#heldBy
    this.#heldBy = undefined
    // What fits into the pipe is written, and the domain runs on, whoever reads; libxl's part comes later.
    const held = heldBy !== undefined && checkpoint.standingBytes - recordHeaderBytes > heldBy
    this.#reader.narrow()
    this.#events.whole(checkpoint, held)
  }

  #end(reason: string): void {
    if (this.#over) return
    this.close()
    this.#events.ended(reason)
  }
}

/** The line that the transport says first. Rejects with why none comes. */
async function firstLine(from: Duplex, xl: XlProcess): Promise<string> {
  let timer: NodeJS.Timeout | undefined
  const heard = new Promise<string>((resolve, reject) => {
    let said = ''
    from.on('data', (bytes: Buffer) => {
      said += bytes.toString()
      if (said.includes('\n')) resolve(said.trim())
    })
    void xl.ending.then(({ words }) => { reject(new Error(words)) })
    timer = setTimeout(() => {
      xl.child.kill('SIGKILL')
      reject(new Error(`xl has not begun within ${startMsMax} ms`))
    }, startMsMax)
  })
  try {
    return await heard
  } finally {
    clearTimeout(timer)
  }
}
