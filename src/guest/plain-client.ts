import type { Socket } from 'node:net'
import { Peer, type Surroundings } from './peer.ts'

/**
 * A client that comes to the guest directly. It is no part of a snapshot: it would find its connection gone,
 * as after any restart.
 */
export class PlainClient extends Peer {
  #done: () => void

  /** `done` is called once, when the client is gone. */
  constructor(around: Surroundings, sessionId: number, done: () => void) {
    super(around, sessionId)
    this.#done = done
  }

  protected get outstanding(): number {
    return this.socket?.writableLength ?? 0
  }

  /** `first` is what had been read before it was known whose the connection is. */
  start(socket: Socket, first: Buffer): void {
    this.around.app.enter(this.session)
    socket.on('data', (bytes: Buffer) => {
      if (!this.around.holdsBack(socket, bytes)) this.feed(bytes)
    })
    socket.on('end', () => this.feedEnd())
    socket.on('drain', () => this.pump())
    socket.on('close', () => this.#gone())
    this.startReading(socket)
    this.feed(first)
  }

  flush(): void {
    const bytes = this.session.out.take()
    const socket = this.socket
    if (socket === undefined) return
    if (bytes !== undefined) socket.write(bytes)
    if (this.session.ending) {
      socket.destroySoon()
      this.around.app.leave(this.session)
    }
  }

  reset(): void {
    this.socket?.resetAndDestroy()
  }

  #gone(): void {
    if (this.socket === undefined) return
    this.socket = undefined
    this.session.ending = true
    this.around.app.leave(this.session)
    this.#done()
  }
}
