import { messageOf } from '../../src/base/errors.ts'
import { chooseSockets } from '../../src/net/choose-sockets.ts'
import type { SocketSide } from '../../src/net/sockets.ts'
import { tcpInfo, type TcpInfo } from '../../src/net/tcp-info.ts'
import { disconnectSilently } from '../../src/net/tcp-repair.ts'
import { run } from '../namespace.ts'
import { dump, restore, revived, type TcpImage } from '../net/tcp-image.ts'
import { Recorder } from './recorder.ts'

/*
 * A guest whose kernel's connections can be saved and put back (see rewound-guest.ts, which starts it in a
 * network namespace of its own and asks it over IPC).
 */

export type GuestOrder =
  | { readonly op: 'run', readonly command: readonly string[] }
  | { readonly op: 'listen', readonly host: string, readonly port: number }
  | { readonly op: 'accepted', readonly count: number }
  | { readonly op: 'resume' | 'pause' | 'end' | 'reset' | 'vanish' | 'dump' | 'info', readonly at: number }
  | { readonly op: 'write', readonly at: number, readonly bytes: Buffer }
  | { readonly op: 'restore', readonly image: TcpImage }
  | { readonly op: 'heard', readonly at: number, readonly bytes: number }
  | { readonly op: 'told', readonly at: number, readonly what: string }
  | { readonly op: 'backlog', readonly at: number }

interface Held {
  readonly side: SocketSide
  readonly events: Recorder
}

// The trial that chooses the sockets goes over loopback.
run('ip', 'link', 'set', 'lo', 'up')
const { sockets } = await chooseSockets()
const sides: Held[] = []
let arrivals: (() => void)[] = []

function keep(side: SocketSide): number {
  const events = new Recorder()
  side.attach(events)
  for (const arrived of arrivals) arrived()
  return sides.push({ side, events }) - 1
}

function held(at: number): Held {
  const found = sides[at]
  if (found === undefined) throw new Error(`there is no connection ${at}`)
  return found
}

async function untilAccepted(count: number): Promise<number> {
  while (sides.length < count) {
    await new Promise<void>((resolve) => { arrivals = [...arrivals, resolve] })
  }
  return sides.length
}

function vanish(side: SocketSide): void {
  if (side.descriptor >= 0) disconnectSilently(side.descriptor)
  side.abandon()
}

async function carryOut(order: GuestOrder): Promise<unknown> {
  switch (order.op) {
    case 'run': return run(order.command[0] ?? '', ...order.command.slice(1))
    case 'listen': {
      const options = { host: order.host, port: order.port, backlog: 4096, trouble: () => undefined }
      const listener = await sockets.listen({ ...options, accepted: (side) => { keep(side) } })
      return listener.port
    }
    case 'accepted': return untilAccepted(order.count)
    case 'resume': held(order.at).side.resume(); return
    case 'pause': held(order.at).side.pause(); return
    case 'end': held(order.at).side.end(); return
    case 'reset': held(order.at).side.reset(); return
    case 'vanish': vanish(held(order.at).side); return
    case 'dump': return dump(held(order.at).side.descriptor)
    case 'info': return tcpInfo(held(order.at).side.descriptor) satisfies TcpInfo
    case 'write': held(order.at).side.write(Buffer.from(order.bytes)); return
    case 'restore': return keep(sockets.adopt(restore(revived(order.image))))
    case 'heard': {
      const { events } = held(order.at)
      await events.until(() => events.length >= order.bytes)
      return events.bytes
    }
    case 'told': return held(order.at).events.untilTold(order.what)
    case 'backlog': return held(order.at).side.backlog
  }
}

/** The test may have ended before an answer that it no longer waits for. */
function answer(about: { readonly id: number, readonly result?: unknown, readonly error?: string }): void {
  if (process.connected) process.send?.(about, undefined, undefined, () => undefined)
}

process.on('message', ({ id, order }: { id: number, order: GuestOrder }) => {
  carryOut(order).then(
    (result) => answer({ id, result }), (error: unknown) => answer({ id, error: messageOf(error) }))
})
process.on('disconnect', () => process.exit())
