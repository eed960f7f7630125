import { chooseSockets } from '../src/net/choose-sockets.ts'
import { highWaterBytes, type SocketSide, type Sockets } from '../src/net/sockets.ts'

/*
 * A gateway without a core: src/net alone, to see what it costs. Arguments: the ports to forward to. Says
 * the ports it listens on in one line, and then which sockets they are.
 */

const segmentBytes = 1 << 20

/** Where the bytes live until the kernel has them, as they do in the gateway's log. */
class Arena {
  #segment: Uint8Array = Buffer.allocUnsafeSlow(segmentBytes)
  #used = 0

  copy(bytes: Uint8Array): Uint8Array {
    if (this.#used + bytes.length > segmentBytes) {
      this.#segment = Buffer.allocUnsafeSlow(segmentBytes)
      this.#used = 0
    }
    const copied = this.#segment.subarray(this.#used, this.#used + bytes.length)
    copied.set(bytes)
    this.#used += bytes.length
    return copied
  }
}

const arena = new Arena()

/** One direction: what `from` gives goes to `to`, as fast as `to` takes it. */
function pump(from: SocketSide, to: SocketSide, otherDrained: () => void): () => void {
  let paused = false
  from.attach({
    data(bytes) {
      to.write(arena.copy(bytes))
      if (to.backlog < highWaterBytes) return
      paused = true
      from.pause()
    },
    end: () => to.end(),
    reset: () => to.reset(),
    drain: otherDrained
  })
  return () => {
    if (!paused) return
    paused = false
    from.resume()
  }
}

function join(client: SocketSide, service: SocketSide): void {
  let serviceDrained: () => void = () => undefined
  const clientDrained = pump(service, client, () => serviceDrained())
  serviceDrained = pump(client, service, () => clientDrained())
  client.resume()
  service.resume()
}

async function forward(sockets: Sockets, to: number): Promise<number> {
  const listener = await sockets.listen({
    host: '127.0.0.1', port: 0, backlog: 4096,
    accepted(client) {
      sockets.dial('127.0.0.1', to, { timeoutMs: 5000 }).then(
        (service) => join(client, service), () => client.reset())
    },
    trouble: (error) => process.stderr.write(`${error.message}\n`)
  })
  return listener.port
}

const { sockets, reason } = await chooseSockets()
const ports = await Promise.all(process.argv.slice(2).map((port) => forward(sockets, Number(port))))
process.stdout.write(`${ports.join(' ')}\n${sockets.name}: ${reason}\n`)
