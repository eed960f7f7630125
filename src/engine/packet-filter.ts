import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { createInterface } from 'node:readline'
import { TailgateError } from '../base/errors.ts'
import { withSystemPrograms } from './system-programs.ts'

/** How long one order may take, in milliseconds: well above what a loaded machine needs for it. */
const answerMs = 10_000
/** Orders that may wait for their answer; the owner gives them one after another. */
const waitingMax = 16
/** Lines of one answer that are kept for the sentence of an error. */
const linesMax = 8
/** An order that always has an answer, which is one line. */
const question = 'list tables bridge'
const answer = '{"nftables"'

/** What became of a transaction: the kernel took all of it, or none of it for this reason. */
export type Verdict = { readonly taken: true } | { readonly taken: false, readonly reason: string }

interface Waiting {
  readonly lines: string[]
  readonly resolve: (verdict: Verdict) => void
  readonly reject: (error: TailgateError) => void
  readonly timer: NodeJS.Timeout
}

/**
 * The kernel's packet filter, through one `nft` that runs for as long as it is wanted: an order costs it
 * 0.2 ms, where a program started for each costs 17 ms. Each order is one line, and one line is one
 * transaction.
 *
 * ```
 *  line of statements           ──►  nothing, or lines that say what was wrong
 *  list tables bridge           ──►  one line of JSON: the line before it has been dealt with
 * ```
 *
 * It is asked once before the first order, because libraries of its own may have something to say then.
 * When this process dies `nft` reads the end of its input and ends too.
 */
export class PacketFilter {
  #child: ChildProcessWithoutNullStreams | undefined
  #waiting: Waiting[] = []
  /** It has answered since its start. What it says before is about the terminal that it has not got. */
  #greeted = false

  /**
   * Runs statements of nft(8) as one transaction. Rejects with E_ENGINE where nothing could be asked: no
   * `nft`, no right to it, no answer in time. What was asked may have been done then.
   */
  transaction(statements: readonly string[]): Promise<Verdict> {
    if (this.#waiting.length >= waitingMax) {
      return Promise.reject(new TailgateError('E_ENGINE', 'too many orders to the packet filter wait'))
    }
    const child = this.#child ?? this.#start()
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#lost(child, `the packet filter's program nft has not answered within ${answerMs} ms`)
      }, answerMs)
      this.#waiting.push({ lines: [], resolve, reject, timer })
      child.stdin.write(`${statements.join('; ')}\n${question}\n`)
    })
  }

  /** Ends the program. What still waits is rejected. */
  close(): void {
    if (this.#child !== undefined) this.#lost(this.#child, 'the packet filter is no longer asked')
  }

  #start(): ChildProcessWithoutNullStreams {
    // Errors come on the other channel; joined by the shell, they stay in their order.
    const child = spawn('sh', ['-c', 'exec nft -j -i 2>&1'], { env: withSystemPrograms(process.env) })
    this.#child = child
    this.#greeted = false
    createInterface({ input: child.stdout }).on('line', (line) => this.#line(child, line))
    // A program that has ended says so by its end, and not by the pipe to it.
    child.stdin.on('error', () => undefined)
    child.stdin.write(`${question}\n`)
    child.once('error', (error) => this.#lost(child, `the packet filter cannot be asked: ${error.message}`))
    child.once('close', (status) => this.#lost(child, status === 127
      ? 'there is no nft on this host: install the package nftables'
      : "the packet filter's program nft has ended"))
    return child
  }

  #line(child: ChildProcessWithoutNullStreams, line: string): void {
    const waiting = this.#waiting[0]
    if (child !== this.#child || waiting === undefined) return
    if (line.includes('Operation not permitted')) {
      this.#lost(child, 'the packet filter may not be changed by this process: '
        + 'give it CAP_NET_ADMIN, with systemd by AmbientCapabilities=')
    } else if (!this.#greeted) {
      this.#greeted = line.startsWith(answer)
    } else if (line.startsWith(answer)) {
      this.#waiting.shift()
      clearTimeout(waiting.timer)
      waiting.resolve(verdictOf(waiting.lines))
    } else if (waiting.lines.length < linesMax) waiting.lines.push(line)
  }

  /** Whatever it was asked is not known to be done; the next order starts another one. */
  #lost(child: ChildProcessWithoutNullStreams, reason: string): void {
    if (child !== this.#child) return
    this.#child = undefined
    child.kill('SIGKILL')
    for (const { timer, reject } of this.#waiting.splice(0)) {
      clearTimeout(timer)
      reject(new TailgateError('E_ENGINE', reason))
    }
  }
}

/** nft(8) says nothing about what was done, and `Error: …` with an excerpt about what was not. */
function verdictOf(lines: readonly string[]): Verdict {
  const reason = lines.find((line) => line.trim() !== '')
  return reason === undefined ? { taken: true } : { taken: false, reason }
}
