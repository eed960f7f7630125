import { TailgateError, messageOf } from '../base/errors.ts'
import { HandleSockets } from './handle-sockets.ts'
import { NetSockets } from './net-sockets.ts'
import type { SocketSide, Sockets } from './sockets.ts'
import { loadTcpBinding } from './tcp-binding.ts'

/** How long the trial exchange may take, in milliseconds; it takes one or two on an idle machine. */
const probeTimeoutMs = 5000
const probeText = new TextEncoder().encode('tailgate')

/** The sockets of this process, and in one sentence why these. */
export interface SocketsChoice {
  readonly sockets: Sockets
  readonly reason: string
}

/**
 * Picks how the process talks TCP: libuv's handles where a real exchange over loopback works with them,
 * else net.Socket. `wanted` (the environment's TAILGATE_SOCKETS: `handles` or `net`) overrides. E_CONFIG
 * for a name there is not, or for `handles` where they do not work.
 */
export async function chooseSockets(
  wanted: string | undefined = process.env.TAILGATE_SOCKETS
): Promise<SocketsChoice> {
  switch (wanted) {
    case 'net': return { sockets: new NetSockets(), reason: 'TAILGATE_SOCKETS says so' }
    case 'handles': case undefined: case '': break
    default: throw new TailgateError('E_CONFIG', `TAILGATE_SOCKETS is '${wanted}'; it may be handles or net`)
  }
  try {
    return { sockets: await triedHandles(), reason: 'a trial exchange over loopback worked' }
  } catch (error) {
    const reason = `libuv's handles do not work on Node ${process.versions.node}: ${messageOf(error)}`
    if (wanted !== 'handles') return { sockets: new NetSockets(), reason }
    throw new TailgateError('E_CONFIG', `TAILGATE_SOCKETS: ${reason}`, { cause: error })
  }
}

async function triedHandles(): Promise<Sockets> {
  const binding = loadTcpBinding()
  if (binding === undefined) throw new Error('this Node does not have them')
  const sockets = new HandleSockets(binding)
  await probe(sockets)
  return sockets
}

/** Sends a text through an echo on loopback and half-closes: data and ends in both directions. */
async function probe(sockets: Sockets): Promise<void> {
  const listener = await sockets.listen({
    host: '127.0.0.1', port: 0, accepted: echo, trouble: () => undefined
  })
  try {
    const side = await sockets.dial('127.0.0.1', listener.port, { timeoutMs: probeTimeoutMs })
    const answer = await exchange(side)
    if (Buffer.compare(answer, probeText) !== 0) throw new Error('the trial exchange gave other bytes back')
  } finally {
    await listener.close()
  }
}

function echo(side: SocketSide): void {
  side.attach({
    data: (bytes) => side.write(bytes),
    end: () => side.end(),
    reset: () => undefined,
    drain: () => undefined
  })
  side.resume()
}

function exchange(side: SocketSide): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const pieces: Uint8Array[] = []
    const timer = setTimeout(() => {
      side.reset()
      reject(new Error(`the trial exchange took longer than ${probeTimeoutMs} ms`))
    }, probeTimeoutMs)
    side.attach({
      data: (bytes) => pieces.push(bytes.slice()),
      end: () => {
        clearTimeout(timer)
        resolve(Buffer.concat(pieces))
      },
      reset: () => {
        clearTimeout(timer)
        reject(new Error('the trial connection broke'))
      },
      drain: () => undefined
    })
    side.resume()
    side.write(probeText)
    side.end()
  })
}
