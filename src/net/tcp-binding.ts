/*
 * What net.Socket itself sits on: libuv's TCP handles as Node hands them to its own JavaScript. They are
 * not a documented interface, though unchanged in what is used here from Node 18 to 24; so everything is
 * looked for before it is used, choose-sockets.ts tries a real exchange at start, and net.Socket takes
 * over where either fails.
 */

import type { Block } from '../base/blocks.ts'

/** A libuv TCP handle. Numbers returned are 0 or a negative system error. */
export interface TcpHandle {
  /**
   * Called with `this` = the handle for each read; how many bytes, or which error, is in the stream state.
   */
  onread: (this: TcpHandle) => void
  onconnection: (this: TcpHandle, status: number, client: TcpHandle) => void
  /** Whose it is; a plain property that Node does not know. */
  owner: TcpOwner | undefined
  /** Bytes given to libuv that the kernel has not taken. */
  readonly writeQueueSize: number
  /** The descriptor; -1 when there is none. */
  readonly fd: number
  useUserBuffer(buffer: Uint8Array): void
  /** Takes over a descriptor, which is closed with the handle. */
  open(descriptor: number): number
  /** Also while a connection is being made: reading then begins with it. */
  readStart(): number
  readStop(): number
  writeBuffer(request: WriteRequest, bytes: Uint8Array): number
  writev(request: WriteRequest, chunks: readonly Uint8Array[], allBuffers: true): number
  shutdown(request: ShutdownRequest): number
  /** Closes with RST; not while a shutdown is under way. */
  reset(): number
  close(closed?: () => void): void
  setNoDelay(on: boolean): number
  getpeername(out: SocketName): number
  getsockname(out: SocketName): number
  bind(address: string, port: number): number
  bind6(address: string, port: number, flags: number): number
  listen(backlog: number): number
  connect(request: ConnectRequest, address: string, port: number): number
  connect6(request: ConnectRequest, address: string, port: number): number
}

export interface SocketName { address?: string, port?: number }

/** What the shared callbacks call; an interface, so that no callback is made per connection. */
export interface TcpOwner {
  /** A read gave this many bytes, or failed with a negative system error. */
  readDone(bytesOrError: number): void
  /** The kernel has taken the rest of a write, or refused it. */
  writeDone(status: number): void
  shutdownDone(status: number): void
}

export interface WriteRequest {
  oncomplete: (this: WriteRequest, status: number) => void
  owner: TcpOwner | undefined
  /** Keeps the memory alive until the kernel has taken it, when it may be used again. */
  blocks: readonly Block[] | undefined
}

export interface ShutdownRequest {
  oncomplete: (this: ShutdownRequest, status: number) => void
  owner: TcpOwner | undefined
}

export interface ConnectOwner {
  /** The connection is made, or a negative system error says why not. */
  connectDone(status: number): void
}

export interface ConnectRequest {
  oncomplete: (this: ConnectRequest, status: number) => void
  owner: ConnectOwner | undefined
}

export interface TcpBinding {
  readonly Tcp: new (type: number) => TcpHandle
  readonly ConnectRequest: new () => ConnectRequest
  readonly WriteRequest: new () => WriteRequest
  readonly ShutdownRequest: new () => ShutdownRequest
  readonly socketType: number
  readonly serverType: number
  /** Results of the last read or write of any handle. */
  readonly state: Int32Array
  readonly readAt: number
  readonly lastWriteAsyncAt: number
  readonly endOfFile: number
}

type Internals = Readonly<Record<string, unknown>>

/** The handles of this Node, or undefined where something of them is missing. */
export function loadTcpBinding(): TcpBinding | undefined {
  try {
    const load = (process as unknown as { binding?: (name: string) => Internals }).binding
    if (typeof load !== 'function') return undefined
    return checked(load('tcp_wrap'), load('stream_wrap'), load('uv'))
  } catch {
    return undefined
  }
}

function checked(tcp: Internals, stream: Internals, uv: Internals): TcpBinding | undefined {
  const types = tcp.constants as Internals | undefined
  const classes = [tcp.TCP, tcp.TCPConnectWrap, stream.WriteWrap, stream.ShutdownWrap]
  const numbers = [
    types?.SOCKET, types?.SERVER, stream.kReadBytesOrError, stream.kLastWriteWasAsync, uv.UV_EOF
  ]
  if (!classes.every((item) => typeof item === 'function')) return undefined
  if (!numbers.every((item) => typeof item === 'number')) return undefined
  if (!(stream.streamBaseState instanceof Int32Array)) return undefined
  const methods = (tcp.TCP as { prototype: object }).prototype
  if (!methodNames.every((name) => name in methods)) return undefined
  return {
    Tcp: tcp.TCP, ConnectRequest: tcp.TCPConnectWrap, WriteRequest: stream.WriteWrap,
    ShutdownRequest: stream.ShutdownWrap, socketType: types?.SOCKET, serverType: types?.SERVER,
    state: stream.streamBaseState, readAt: stream.kReadBytesOrError,
    lastWriteAsyncAt: stream.kLastWriteWasAsync, endOfFile: uv.UV_EOF
  } as TcpBinding
}

const methodNames = [
  'open', 'useUserBuffer', 'readStart', 'readStop', 'writeBuffer', 'writev', 'shutdown', 'reset', 'close',
  'setNoDelay', 'getpeername', 'getsockname', 'bind', 'bind6', 'listen', 'connect', 'connect6',
  'writeQueueSize', 'onread', 'fd'
]
