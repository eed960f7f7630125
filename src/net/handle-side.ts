import { getSystemErrorName } from 'node:util'
import { Blocks, type Block } from '../base/blocks.ts'
import { invariant } from '../base/invariant.ts'
import type { StreamEvents } from '../core/stream.ts'
import { addressText } from './address.ts'
import { Deadlines } from './deadlines.ts'
import type { DescriptorRoom } from './descriptor-room.ts'
import { highWaterBytes, lowWaterBytes, readBufferBytes, type SocketSide } from './sockets.ts'
import type {
  ShutdownRequest, SocketName, TcpBinding, TcpHandle, TcpOwner, WriteRequest
} from './tcp-binding.ts'
import { enterTurn, flushAtTurnEnd, flushTurn, leaveTurn, type Flushable } from './turn.ts'

const readBuffer = new Uint8Array(readBufferBytes)
/** Small reads are the most frequent ones, and their views are all alike: each length's is made once. */
const keptViewBytesMax = 2048
const keptViews = new Array<Uint8Array | undefined>(keptViewBytesMax + 1).fill(undefined)

function viewOf(bytes: number): Uint8Array {
  if (bytes > keptViewBytesMax) return readBuffer.subarray(0, bytes)
  return keptViews[bytes] ??= readBuffer.subarray(0, bytes)
}

/** What sides gather lies here. Two whole reads fit a block. */
const blockBytes = 2 * readBufferBytes
/** Of the blocks that nobody needs, so many bytes are kept. */
const freeBytesMax = 8 * 1024 * 1024
const blocks = new Blocks(blockBytes, freeBytesMax / blockBytes)

/**
 * The side whose read, the last of all, did not fill the buffer. libuv tells an end of file right after
 * such a read when the kernel reports the connection as hung up, which a reset does too: the reset would
 * pass for an end, and cut-off output for whole output. So an end that comes right there is not believed
 * before a read has said it.
 */
let lastPartialRead: HandleSide | undefined

const nobody: StreamEvents = {
  data() { throw new TypeError('a side was resumed before it was attached to') },
  end() { /* Only a resumed side tells its end. */ },
  reset() { /* Nobody is there to be told. */ },
  drain() { /* Nobody has written. */ }
}

/** What the sides of one process share. */
export class HandleShare {
  readonly binding: TcpBinding
  readonly room: DescriptorRoom
  /** Of the connections that are being made. */
  readonly deadlines = new Deadlines()
  /** A request that the last write did not keep, because the kernel took everything at once. */
  spare: WriteRequest | undefined

  constructor(binding: TcpBinding, room: DescriptorRoom) {
    this.binding = binding
    this.room = room
  }

  readonly onread = ((share: HandleShare) => function (this: TcpHandle): void {
    this.owner?.readDone(share.binding.state[share.binding.readAt] ?? 0)
  })(this)
}

function writeComplete(this: WriteRequest, status: number): void {
  for (const block of this.blocks ?? []) blocks.release(block)
  this.owner?.writeDone(status)
}

function shutdownComplete(this: ShutdownRequest, status: number): void {
  this.owner?.shutdownDone(status)
}

/**
 * A side over a libuv handle: no streams, one static read buffer, writes of a turn in one system call.
 *
 *     write ─► first, more ─► (end of turn) tryWrite ─► kernel
 *      copies                   └ what it does not take ─► libuv ─► writeDone ─► what was queued meanwhile
 */
export class HandleSide implements SocketSide, TcpOwner, Flushable {
  nextInTurn: Flushable | undefined = undefined
  #handle: TcpHandle
  #share: HandleShare
  #events: StreamEvents = nobody
  #local = ''
  #remote = ''
  #bytesRead = 0
  /** Gathered in this turn, or behind a write that the kernel has not taken. */
  #first: Uint8Array | undefined = undefined
  #more: Uint8Array[] | undefined = undefined
  /** Where what was gathered lies: a block for each piece. */
  #firstBlock: Block | undefined = undefined
  #moreBlocks: Block[] | undefined = undefined
  #gathered = 0
  #flushAsked = false
  /** libuv holds a write. */
  #writing = false
  /** The backlog was at or above the high water and no drain has been told since. */
  #high = false
  #reading = false
  /** libuv reads already, which the owner has not asked for yet. */
  #readingAhead: boolean
  /** The other side's end, or the failure of the path, has been read. */
  #readEnded = false
  #endCalled = false
  #finSent = false
  #shutting = false
  /** Writing failed; what the other side had sent before is still read. */
  #writeBroke = false
  #resetWhenShut = false
  /** Nothing is told any more, and nothing may be asked of the handle. */
  #gone = false

  /**
   * Takes over a connected handle, for which the caller has taken a place in the room. `remote`: the other
   * end, where the caller knows it and the kernel need not be asked. `readingAhead`: libuv reads already,
   * and the caller calls {@link readOnlyIfResumed} in the same turn.
   */
  constructor(handle: TcpHandle, share: HandleShare, remote = '', readingAhead = false) {
    this.#handle = handle
    this.#share = share
    this.#remote = remote
    this.#readingAhead = readingAhead
    handle.owner = this
    handle.onread = share.onread
    handle.useUserBuffer(readBuffer)
  }

  get local(): string {
    if (this.#local === '' && !this.#gone) {
      const name: SocketName = {}
      this.#handle.getsockname(name)
      this.#local = addressText(name.address ?? '', name.port ?? 0)
    }
    return this.#local
  }

  get remote(): string {
    if (this.#remote === '' && !this.#gone) {
      const name: SocketName = {}
      this.#handle.getpeername(name)
      this.#remote = addressText(name.address ?? '', name.port ?? 0)
    }
    return this.#remote
  }

  get bytesRead(): number {
    return this.#bytesRead
  }

  get closed(): boolean {
    return this.#gone
  }

  get descriptor(): number {
    return this.#gone ? -1 : this.#handle.fd
  }

  get backlog(): number {
    return this.#writing ? this.#gathered + this.#handle.writeQueueSize : this.#gathered
  }

  attach(events: StreamEvents): void {
    this.#events = events
  }

  write(bytes: Uint8Array): void {
    if (this.#gone || this.#writeBroke || bytes.length === 0) return
    invariant(!this.#endCalled, 'written to after its end')
    this.#gather(bytes)
    if (!this.#high && this.backlog >= highWaterBytes) this.#high = true
    this.#askFlush()
  }

  end(): void {
    if (this.#gone || this.#endCalled) return
    this.#endCalled = true
    if (!this.#writeBroke) this.#askFlush()
  }

  reset(): void {
    if (this.#gone) return
    this.#gone = true
    this.#dropQueue()
    if (this.#shutting) {
      // libuv refuses to reset while a shutdown is under way, which is for one turn of the loop.
      this.#resetWhenShut = true
      this.#handle.readStop()
    } else {
      this.#closeByReset()
    }
  }

  abandon(): void {
    this.reset()
  }

  pause(): void {
    if (!this.#reading || this.#gone) return
    this.#reading = false
    this.#handle.readStop()
  }

  resume(): void {
    if (this.#reading || this.#readEnded || this.#gone) return
    this.#reading = true
    if (this.#readingAhead) this.#readingAhead = false
    else if (this.#handle.readStart() !== 0) process.nextTick(() => this.#lose())
  }

  /** A side is paused until it is resumed, also one whose handle was made reading. */
  readOnlyIfResumed(): void {
    if (!this.#readingAhead || this.#gone) return
    this.#readingAhead = false
    this.#handle.readStop()
  }

  readDone(bytesOrError: number): void {
    if (this.#gone || bytesOrError === 0) return
    if (bytesOrError < 0) {
      this.#readFailed(bytesOrError)
      return
    }
    this.#bytesRead += bytesOrError
    lastPartialRead = bytesOrError < readBufferBytes ? this : undefined
    enterTurn()
    try {
      this.#events.data(viewOf(bytesOrError))
    } finally {
      leaveTurn()
    }
    flushTurn()
  }

  flush(): void {
    this.#flushAsked = false
    if (this.#gone || this.#writing || this.#writeBroke) return
    if (this.#first !== undefined) this.#send(this.#first)
    if (!this.#writing && this.#endCalled) this.#sendEnd()
    this.#tellDrain()
  }

  writeDone(status: number): void {
    this.#writing = false
    if (this.#gone) return
    enterTurn()
    try {
      if (status < 0) this.#writeFailed(status)
      else this.flush()
    } finally {
      leaveTurn()
    }
    flushTurn()
  }

  shutdownDone(status: number): void {
    this.#shutting = false
    if (this.#resetWhenShut) this.#closeByReset()
    else if (this.#gone) return
    else if (status < 0) this.#lose()
    else if (this.#readEnded) this.#closeBoth()
  }

  #gather(bytes: Uint8Array): void {
    const block = blocks.roomFor(bytes.length)
    const copy = block.put(bytes)
    this.#gathered += bytes.length
    if (this.#first === undefined || this.#firstBlock === undefined) {
      this.#first = copy
      this.#firstBlock = block
    } else if (this.#more === undefined || this.#moreBlocks === undefined) {
      this.#more = [this.#first, copy]
      this.#moreBlocks = [block]
    } else {
      this.#more.push(copy)
      this.#moreBlocks.push(block)
    }
  }

  #askFlush(): void {
    if (this.#flushAsked || this.#writing) return
    this.#flushAsked = true
    flushAtTurnEnd(this)
  }

  #send(first: Uint8Array): void {
    const { binding, spare } = this.#share
    const request = spare ?? new binding.WriteRequest()
    const more = this.#more
    this.#share.spare = undefined
    const error = more === undefined
      ? this.#handle.writeBuffer(request, first)
      : this.#handle.writev(request, more, true)
    if (error !== 0) {
      this.#writeFailed(error)
    } else if (binding.state[binding.lastWriteAsyncAt] !== 0) {
      request.oncomplete = writeComplete
      request.owner = this
      request.blocks = this.#takeBlocks()
      this.#writing = true
    } else {
      this.#share.spare = request
      this.#dropQueue()
    }
  }

  #sendEnd(): void {
    if (this.#gone || this.#finSent) return
    this.#finSent = true
    if (this.#readEnded) {
      this.#closeBoth()
      return
    }
    const request = new this.#share.binding.ShutdownRequest()
    request.oncomplete = shutdownComplete
    request.owner = this
    this.#shutting = this.#handle.shutdown(request) === 0
    if (!this.#shutting) this.#lose()
  }

  #tellDrain(): void {
    if (!this.#high || this.#gone || this.backlog > lowWaterBytes) return
    this.#high = false
    this.#events.drain()
  }

  #readFailed(error: number): void {
    const guessed = lastPartialRead === this && error === this.#share.binding.endOfFile
    lastPartialRead = undefined
    if (guessed && this.#handle.readStart() === 0) return
    this.#readEnded = true
    this.#reading = false
    if (error !== this.#share.binding.endOfFile || this.#writeBroke) {
      this.#lose()
      return
    }
    enterTurn()
    try {
      this.#events.end()
    } finally {
      leaveTurn()
    }
    flushTurn()
    if (this.#finSent && !this.#shutting && !this.#gone) this.#closeBoth()
  }

  /**
   * A reset that a write meets may have data before it that this side has not read. While it is reading,
   * that data still comes, then the end of the file, which is told as the reset. A paused side loses it,
   * as a reset may.
   */
  #writeFailed(error: number): void {
    this.#dropQueue()
    this.#writeBroke = true
    const name = getSystemErrorName(error)
    if (!this.#reading || (name !== 'ECONNRESET' && name !== 'EPIPE')) this.#lose()
  }

  /** The connection is broken: closes and tells. */
  #lose(): void {
    if (this.#gone) return
    this.reset()
    enterTurn()
    try {
      this.#events.reset()
    } finally {
      leaveTurn()
    }
    flushTurn()
  }

  #dropQueue(): void {
    if (this.#firstBlock !== undefined) blocks.release(this.#firstBlock)
    if (this.#moreBlocks !== undefined) for (const block of this.#moreBlocks) blocks.release(block)
    this.#forgetQueue()
  }

  /** What was gathered is the kernel's now, and its blocks are released when that has taken it. */
  #takeBlocks(): readonly Block[] {
    const taken = this.#moreBlocks ?? []
    if (this.#firstBlock !== undefined) taken.push(this.#firstBlock)
    this.#forgetQueue()
    return taken
  }

  #forgetQueue(): void {
    this.#first = this.#more = undefined
    this.#firstBlock = this.#moreBlocks = undefined
    this.#gathered = 0
  }

  #closeBoth(): void {
    this.#gone = true
    this.#handle.close()
    this.#share.room.give()
  }

  #closeByReset(): void {
    this.#handle.reset()
    this.#share.room.give()
  }
}
