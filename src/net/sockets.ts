import type { TailgateError } from '../base/errors.ts'
import type { StreamEvents, StreamSide } from '../core/stream.ts'

/**
 * A side reports `drain` when its backlog, once at or above the first, has fallen to or below the second.
 * Bytes.
 */
export const highWaterBytes = 256 * 1024
export const lowWaterBytes = 64 * 1024

/**
 * The one buffer that every read of a process goes through. It is as long as HAProxy's are in bulk
 * set-ups; a longer one falls out of the processor's second-level cache, a shorter one costs a system
 * call per piece.
 */
export const readBufferBytes = 64 * 1024

/**
 * One TCP connection, of which {@link StreamSide} is what the core sees.
 *
 * - It is created paused, and its owner gives it `events` before anything else. A paused side reports
 *   neither data nor `end`, and may not notice a reset before it is resumed or written to.
 * - Nothing is reported while one of its methods runs; write errors come as `reset` later.
 * - The descriptor is closed by itself when both directions have ended, and after `reset`.
 * - {@link StreamSide.abandon}: the kernel lets nobody close an ordinary TCP socket in silence. What
 *   leaves is one RST, sent once and never repeated; a FIN would be repeated for minutes together with
 *   whatever the other side had not acknowledged, and a guest restored under the same address would take
 *   it. So the caller shuts the path to the other side first (design, failover step 2); if it does not,
 *   the other side sees a reset.
 */
export interface SocketSide extends StreamSide {
  /** Both ends, as `address:port`, `[address]:port` for IPv6. */
  readonly local: string
  readonly remote: string
  /** Bytes delivered so far. */
  readonly bytesRead: number
  /** It is over: nothing is told any more, and the descriptor is closed or about to be. */
  readonly closed: boolean
  /** Says who is told. Once, before the side is resumed or written to. */
  attach(events: StreamEvents): void
}

export interface ListenOptions {
  /** An address or a name; `0.0.0.0` for every IPv4 one; `::` or '' for every one of both families. */
  readonly host: string
  /** 0 lets the kernel choose. */
  readonly port: number
  /** Connections that the kernel may hold before they are accepted. */
  readonly backlog?: number
  /** A client came in. The callee attaches to the side before it returns, or resets it. */
  accepted(side: SocketSide): void
  /** The listener refuses clients for a while, or cannot go on; said once for each such time. */
  trouble(error: TailgateError): void
}

export interface Listener {
  /** The address really bound, as `address:port`. */
  readonly address: string
  readonly port: number
  /** Stops accepting; accepted connections go on. Resolves when the port is free. */
  close(): Promise<void>
}

export interface DialOptions {
  readonly timeoutMs: number
  /** The address to connect from. */
  readonly localAddress?: string
}

/** What the data path stands on. Implementations pass test/net/compliance.ts. */
export interface Sockets {
  /** Said in logs and figures: `handles` or `net`. */
  readonly name: 'handles' | 'net'
  /** Sides whose descriptor is open. */
  readonly open: number
  /** Rejects with E_LISTEN. */
  listen(options: ListenOptions): Promise<Listener>
  /** Rejects with E_TIMEOUT, or E_ATTACH when the other side or this machine refuses. */
  dial(host: string, port: number, options: DialOptions): Promise<SocketSide>
}
