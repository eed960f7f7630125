import type { TailgateError } from '../base/errors.ts'
import type { StreamEvents, StreamSide } from '../core/stream.ts'

/**
 * A side reports `drain` when its backlog, once at or above the first, has fallen to or below the second.
 * Bytes.
 */
export const highWaterBytes = 256 * 1024
export const lowWaterBytes = 64 * 1024

/**
 * The one buffer that every read of a process goes through: a fourth of the usual second-level cache. In bulk
 * the system calls for 64 KiB cost 20 to 30 % less CPU time than with a buffer of 64 KiB, and small
 * requests cost the same; one twice as long gained in one direction only. A limit on what is queued for a
 * connection may be exceeded by one such read.
 */
export const readBufferBytes = 256 * 1024

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
  /** The file descriptor, for calls that Node does not have; -1 when it is over. Never close it. */
  readonly descriptor: number
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
  /** A TPROXY rule may give it connections to any address (IP_TRANSPARENT); needs CAP_NET_ADMIN and koffi. */
  readonly transparent?: boolean
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

/** Where to connect to. Made once by `targetOf`, for all connections that go there. */
export interface Target {
  readonly host: string
  readonly port: number
  /** 4 or 6; 0 when the host is a name, which is looked up for every connection. */
  readonly family: number
  /** Both as one text, as {@link SocketSide.remote} says it. */
  readonly text: string
}

/** Who wants a connection; told one of the two, in a later turn. */
export interface DialEvents {
  /** The other side took it. The callee attaches to the side, and resumes it if it is to be read at once. */
  connected(side: SocketSide): void
  /** E_TIMEOUT, or E_ATTACH when the other side or this machine refuses. */
  failed(error: TailgateError): void
}

/** A connection that is being made. */
export interface Dialing {
  /**
   * Gives it up: its socket is closed at once, and nobody is told of it. Does nothing once somebody was told.
   */
  cancel(): void
}

export interface DialOptions {
  readonly timeoutMs: number
  /** The address to connect from. */
  readonly localAddress?: string
  /**
   * Makes the socket to connect with, where its first packet is to carry an option, or its address is not of
   * this machine; undefined for one as any other. The E_ATTACH that it throws is what fails the dial.
   */
  readonly makeSocket?: (family: 4 | 6) => number | undefined
}

/** What the data path stands on. Implementations pass test/net/compliance.ts. */
export interface Sockets {
  /** Said in logs and figures: `handles` or `net`. */
  readonly name: 'handles' | 'net'
  /** Sides whose descriptor is open. */
  readonly open: number
  /** Rejects with E_LISTEN. */
  listen(options: ListenOptions): Promise<Listener>
  /** Makes a connection. */
  connect(target: Target, options: DialOptions, events: DialEvents): Dialing
  /** The same, for who makes few. Rejects with what {@link DialEvents.failed} would have been told. */
  dial(host: string, port: number, options: DialOptions): Promise<SocketSide>
  /**
   * Takes over a descriptor of this process that is a connected TCP socket. It is the side's from now on;
   * one that is refused is closed, unless something else in this process has it. Throws E_ATTACH.
   */
  adopt(descriptor: number): SocketSide
}
