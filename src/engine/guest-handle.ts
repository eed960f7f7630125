import { spawn, type ChildProcess } from 'node:child_process'
import type { Duplex } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { TailgateError } from '../base/errors.ts'
import {
  ChannelReader, encodeMessage, GateVerdict, gateStanding, gateVerdictBytes,
  type ChannelMessage, type OrderToGuest, type ReportOfGuest
} from '../guest/channel.ts'
import { ImageQueue } from './image-queue.ts'
import { drained } from './write-drained.ts'

/** What of the guest's last words is kept for the reason of its failure, in characters. */
const lastWordsMax = 2000

type ReportType = ReportOfGuest['type']
type Report<T extends ReportType> = Extract<ReportOfGuest, { type: T }>

interface Waiting {
  readonly order: OrderToGuest['type']
  resolve(report: ReportOfGuest): void
  reject(error: Error): void
}

/** The engine's end of one guest process. It is of no use any more once `exited` has been called. */
export class GuestHandle {
  /** Pieces of the checkpoint that is being taken. */
  readonly image: ImageQueue
  #child: ChildProcess
  #channel: Duplex
  #gate: Duplex
  #waiting = new Map<ReportType, Waiting>()
  /** Called when the guest says that it stands still; it waits for {@link verdict} then. */
  onStanding: (() => void) | undefined
  /** Called when the process is gone, for whoever waits for it to stand still. */
  onGone: ((error: Error) => void) | undefined
  #lastWords = ''
  #gone: Promise<void>
  #exitReason: string | undefined
  readonly #answerMs: number

  /**
   * `exited` is called once, when the process is gone, with what is known of the reason. `answerMs`: how long
   * it may take to do what it is asked, and to take more of an image.
   */
  constructor(exited: (reason: string) => void, answerMs: number) {
    this.#answerMs = answerMs
    const child = spawnGuest()
    const [, , stderr, channel, gate] = child.stdio
    if (!isDuplex(channel) || !isDuplex(gate)) {
      child.kill('SIGKILL')
      throw new TailgateError('E_ENGINE', 'the embedded guest could not be given its channel')
    }
    this.#child = child
    this.#channel = channel
    this.#gate = gate
    this.image = new ImageQueue((flowing) => flowing ? channel.resume() : channel.pause())
    const reader = new ChannelReader()
    channel.on('data', (bytes: Buffer) => reader.feed(bytes, (message) => this.#hear(message)))
    gate.on('data', (bytes: Buffer) => { if (bytes[0] === gateStanding) this.#stands() })
    for (const pipe of [channel, gate]) pipe.on('error', () => undefined)
    stderr?.on('data', (bytes: Buffer) => {
      this.#lastWords = (this.#lastWords + bytes.toString()).slice(-lastWordsMax)
    })
    this.#gone = new Promise((resolve) => {
      const gone = (how: string): void => {
        if (this.#exitReason !== undefined) return
        this.#exitReason = `${how}${this.#lastWords === '' ? '' : `: ${this.#lastWords.trim()}`}`
        this.#end(this.#exitReason)
        exited(this.#exitReason)
        resolve()
      }
      child.once('error', (error) => gone(`the embedded guest could not be started (${error.message})`))
      child.once('close', (code, signal) => {
        gone(`the embedded guest ended by itself (${signal ?? `exit code ${code}`})`)
      })
    })
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  order(order: OrderToGuest): void {
    if (this.#exitReason !== undefined) return
    this.#channel.cork()
    for (const bytes of encodeMessage(order)) this.#channel.write(bytes)
    this.#channel.uncork()
  }

  /** Resolves when the channel takes more, or is gone. Rejects with E_ENGINE if it does not. */
  drained(): Promise<void> {
    return drained(this.#channel, 'the embedded guest', this.#answerMs)
  }

  /** Gives an order and resolves with its report. Rejects with E_IMAGE or E_ENGINE. */
  ask<T extends ReportType>(order: OrderToGuest, type: T): Promise<Report<T>> {
    return new Promise((resolve, reject) => {
      if (this.#exitReason !== undefined) {
        reject(new TailgateError('E_ENGINE', this.#exitReason))
        return
      }
      const timer = setTimeout(() => {
        this.#waiting.delete(type)
        const what = `the embedded guest did not answer '${order.type}' within ${this.#answerMs} ms`
        reject(new TailgateError('E_ENGINE', what))
      }, this.#answerMs)
      this.#waiting.set(type, {
        order: order.type,
        resolve: (report) => {
          clearTimeout(timer)
          resolve(report as Report<T>)
        },
        reject: (error) => {
          clearTimeout(timer)
          reject(error)
        }
      })
      this.order(order)
    })
  }

  /** Lets a guest that stands still run on. `deadline`: its lease by process.hrtime, 0 for none. */
  verdict(keepImage: boolean, deadline: bigint): void {
    const bytes = Buffer.alloc(gateVerdictBytes)
    bytes[0] = keepImage ? GateVerdict.keep : GateVerdict.drop
    bytes.writeBigUInt64LE(deadline, 1)
    if (this.#exitReason === undefined) this.#gate.write(bytes)
  }

  /** Ends the process; resolves when it is gone. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#gone
  }

  #stands(): void {
    if (this.onStanding !== undefined) this.onStanding()
    // Nobody waits for it any more: the checkpoint was given up.
    else this.verdict(false, 0n)
  }

  #hear(message: ChannelMessage): void {
    if (message.type === 'image') {
      this.image.push(message.bytes)
    } else if (message.type === 'image-end') {
      this.image.ended(message.whole)
    } else if (message.type === 'refused') {
      for (const [type, waiting] of this.#waiting) {
        if (waiting.order !== message.order) continue
        this.#waiting.delete(type)
        waiting.reject(new TailgateError(message.image ? 'E_IMAGE' : 'E_ENGINE', message.reason))
      }
    } else {
      const type = message.type as ReportType
      const waiting = this.#waiting.get(type)
      this.#waiting.delete(type)
      waiting?.resolve(message as ReportOfGuest)
    }
  }

  #end(reason: string): void {
    const error = new TailgateError('E_ENGINE', reason)
    for (const waiting of this.#waiting.values()) waiting.reject(error)
    this.#waiting.clear()
    this.image.fail(error)
    this.onGone?.(error)
    this.#channel.destroy()
    this.#gate.destroy()
  }
}

/** Runs the guest program that lies beside this one: compiled if this is, and from its source if this is. */
function spawnGuest(): ChildProcess {
  const self = fileURLToPath(import.meta.url)
  const source = self.endsWith('.ts')
  const program = fileURLToPath(new URL(source ? '../guest/main.ts' : '../guest/main.js', import.meta.url))
  return spawn(process.execPath, [...source ? process.execArgv : [], program], {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe']
  })
}

function isDuplex(pipe: unknown): pipe is Duplex {
  return typeof pipe === 'object' && pipe !== null && 'write' in pipe && 'read' in pipe
}
