/**
 * One side of a connection as the core sees it: the client's, or the guest's. A shell puts a socket behind
 * it, the simulator a simulated one. Calls come in order and never fail: what goes wrong arrives as an event.
 *
 * After {@link reset} or {@link abandon} nothing may be called and no event arrives any more.
 */
export interface StreamSide {
  /** Queues bytes to be sent. They may change as soon as the call has returned: the side keeps a copy. */
  write(bytes: Uint8Array): void
  /** Bytes queued that the kernel has not taken. */
  readonly backlog: number
  /** Of what it was given, an end counted as a byte, so much was not acknowledged, where that is known. */
  readonly unacknowledged?: number | undefined
  /** Ends this direction after what is queued (FIN). */
  end(): void
  /** Resets the connection (RST); what is queued may be lost. */
  reset(): void
  /**
   * Lets go of the connection without a word to the other side (neither FIN nor RST, where the kernel allows
   * it).
   */
  abandon(): void
  /** Stops and starts reading. A new side is paused. */
  pause(): void
  resume(): void
}

/**
 * What a side tells its owner. Bytes are valid only during the call: the buffer behind them is used again.
 */
export interface StreamEvents {
  data(bytes: Uint8Array): void
  /** The other side ended its direction; everything it sent has been delivered. */
  end(): void
  /** The other side reset the connection, or it broke. Nothing follows. */
  reset(): void
  /** The backlog fell below the low-water mark after having been above the high one. */
  drain(): void
}
