import type { DialOptions, SocketSide, Sockets, Target } from './sockets.ts'

/** {@link Sockets.dial} of every implementation. */
export function dialPromise(sockets: Sockets, target: Target, options: DialOptions): Promise<SocketSide> {
  return new Promise((resolve, reject) => {
    sockets.connect(target, options, { connected: resolve, failed: reject })
  })
}
