import { isIP } from 'node:net'
import { getSystemErrorName } from 'node:util'
import { TailgateError } from '../base/errors.ts'
import { Expiring } from './deadlines.ts'
import { HandleSide, type HandleShare } from './handle-side.ts'
import { dialError, dialTimeout } from './socket-errors.ts'
import type { DialEvents, Dialing, DialOptions, Target } from './sockets.ts'
import type { ConnectOwner, ConnectRequest, TcpHandle } from './tcp-binding.ts'
import { enterTurn, flushTurn, leaveTurn } from './turn.ts'

function connectComplete(this: ConnectRequest, status: number): void {
  this.owner?.connectDone(status)
}

/**
 * A connection that is being made. Reading is asked for together with it, which spares the kernel three
 * changes of what is waited for; it is taken back from an owner who does not want to read at once.
 *
 *     connect, readStart ──► wait for both ──► connectDone ──► side, whose owner resumes it: nothing to do
 */
export class HandleDial extends Expiring implements ConnectOwner, Dialing {
  readonly #share: HandleShare
  readonly #target: Target
  readonly #timeoutMs: number
  readonly #events: DialEvents
  readonly #handle: TcpHandle
  #reading = false
  #settled = false

  /** The caller has taken a place in the room. */
  constructor(share: HandleShare, target: Target, options: DialOptions, events: DialEvents) {
    super()
    this.#share = share
    this.#target = target
    this.#timeoutMs = options.timeoutMs
    this.#events = events
    this.#handle = new share.binding.Tcp(share.binding.socketType)
    const error = this.#failure(options)
    // Whoever dials is told later, never within its own call.
    if (error !== undefined) process.nextTick(() => this.#fail(error))
  }

  /** Starts, and answers why it cannot. */
  #failure(options: DialOptions): TailgateError | undefined {
    try {
      const error = this.#start(options)
      return error === 0 ? undefined : dialError(this.#target.text, getSystemErrorName(error))
    } catch (error) {
      if (error instanceof TailgateError) return error
      throw error
    }
  }

  #start({ localAddress, makeSocket }: DialOptions): number {
    const { binding, deadlines } = this.#share
    const { host, port, family } = this.#target
    const handle = this.#handle
    handle.setNoDelay(true)
    const made = makeSocket?.(family === 6 ? 6 : 4)
    const opened = made === undefined ? 0 : handle.open(made)
    if (opened !== 0) return opened
    const bound = localAddress === undefined ? 0 : bindTo(handle, localAddress, 0)
    if (bound !== 0) return bound
    const request = new binding.ConnectRequest()
    request.owner = this
    request.oncomplete = connectComplete
    const error = family === 6 ? handle.connect6(request, host, port) : handle.connect(request, host, port)
    if (error !== 0) return error
    this.#reading = handle.readStart() === 0
    deadlines.add(this, this.#timeoutMs)
    return 0
  }

  connectDone(status: number): void {
    if (this.#settled) return
    if (status < 0) {
      this.#fail(dialError(this.#target.text, getSystemErrorName(status)))
      return
    }
    this.#settled = true
    this.#share.deadlines.remove(this)
    const side = new HandleSide(this.#handle, this.#share, this.#target.text, this.#reading)
    enterTurn()
    try {
      this.#events.connected(side)
    } finally {
      leaveTurn()
    }
    side.readOnlyIfResumed()
    flushTurn()
  }

  override expire(): void {
    this.#fail(dialTimeout(this.#target.text, this.#timeoutMs))
  }

  cancel(): void {
    if (this.#settled) return
    this.#settle()
    // The kernel may have connected it in this very turn; its ends are to be free for another one at once.
    if (this.#handle.reset() !== 0) this.#handle.close()
  }

  #fail(error: TailgateError): void {
    if (this.#settled) return
    this.#settle()
    this.#handle.close()
    this.#events.failed(error)
  }

  #settle(): void {
    this.#settled = true
    this.#share.deadlines.remove(this)
    this.#share.room.give()
  }
}

/** Binds to an address; 0 or a negative system error. */
export function bindTo(handle: TcpHandle, address: string, port: number): number {
  return isIP(address) === 6 ? handle.bind6(address, port, 0) : handle.bind(address, port)
}
