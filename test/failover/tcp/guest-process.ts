import { readFileSync, readSync, writeSync } from 'node:fs'
import { deserialize, serialize } from 'node:v8'
import { messageOf } from '../../../src/base/errors.ts'
import { chooseSockets } from '../../../src/net/choose-sockets.ts'
import { addressOfBytes } from '../../../src/net/ip-address.ts'
import { RawSender } from '../../../src/net/raw-sender.ts'
import { TcpFlag, writeSegment } from '../../../src/net/tcp-segment.ts'
import { shutdownWriting } from '../../../src/net/libc.ts'
import { tcpInfo, TcpState } from '../../../src/net/tcp-info.ts'
import { run } from '../../namespace.ts'
import { restore } from '../../net/tcp-image.ts'
import { leadTo } from '../../net/tcp-lead.ts'
import { GuestConnection, type SavedConnection } from './guest-connection.ts'
import { goOnPipe, imagePipe, type HalfOpen, type MachineOrder } from './guest-pipes.ts'

/*
 * A machine in small: one server process and the TCP of its network namespace, which are saved together while
 * both stand still, and put back together in another namespace (see guest-machine.ts, which starts it).
 */

interface MachineImage {
  readonly executed: readonly (readonly [request: string, times: number])[]
  readonly connections: readonly SavedConnection[]
  readonly halfOpen: readonly HalfOpen[]
}

run('ip', 'link', 'set', 'lo', 'up')
const { sockets } = await chooseSockets()
const sender = new RawSender()
const executed = new Map<string, number>()
const connections: GuestConnection[] = []

function execute(request: string): void {
  executed.set(request, (executed.get(request) ?? 0) + 1)
}

async function listen(host: string, port: number): Promise<void> {
  await sockets.listen({
    host, port, backlog: 4096, trouble: () => undefined,
    accepted: (side) => { connections.push(GuestConnection.accepted(side, execute)) }
  })
}

function found(name: string): GuestConnection {
  const connection = connections.find((one) => one.name === name)
  if (connection === undefined) throw new Error(`nothing was said on connection ${name}`)
  return connection
}

// ---- images

function stand(): void {
  const image: MachineImage = {
    executed: [...executed], halfOpen: halfOpen(),
    connections: connections.flatMap((connection) => connection.save() ?? [])
  }
  const bytes = serialize(image)
  const length = Buffer.alloc(4)
  length.writeUInt32LE(bytes.length)
  writeAll(Buffer.concat([length, bytes]))
  readSync(goOnPipe, Buffer.alloc(1))
}

function writeAll(bytes: Buffer): void {
  for (let at = 0; at < bytes.length;) at += writeSync(imagePipe, bytes, at)
}

async function putBack(host: string, port: number, bytes: Uint8Array): Promise<void> {
  const image = deserialize(bytes) as MachineImage
  for (const [request, times] of image.executed) executed.set(request, times)
  await listen(host, port)
  for (const saved of image.connections) connections.push(await putBackOne(saved))
  for (const from of image.halfOpen) {
    const to = { address: host, port }
    const segment = { from, to, sequence: 1, acknowledgement: 0, window: 0xffff }
    await arrives(writeSegment({ ...segment, flags: TcpFlag.syn }, new Uint8Array(0)), host)
  }
}

async function putBackOne(saved: SavedConnection): Promise<GuestConnection> {
  const descriptor = restore(saved.image)
  await leadTo(saved.image, {
    end: () => { shutdownWriting(descriptor) },
    arrives: (packet) => arrives(packet, saved.image.local.address),
    until: (state) => until(descriptor, state)
  })
  return GuestConnection.restored(saved, descriptor, (one) => sockets.adopt(one), execute)
}

/** A packet that this machine sends itself never passes its card. */
async function arrives(packet: Buffer, address: string): Promise<void> {
  sender.send(packet, address)
  await new Promise((resolve) => setImmediate(resolve))
}

async function until(descriptor: number, state: number): Promise<void> {
  for (let turn = 0; turn < 10_000; turn++) {
    if (tcpInfo(descriptor).state === state) return
    await new Promise((resolve) => setImmediate(resolve))
  }
  throw new Error(`a connection is in state ${tcpInfo(descriptor).state}, not ${state}`)
}

/** Out of /proc/net/tcp: `sl local remote state …`, addresses as words of this machine's order. */
function halfOpen(): HalfOpen[] {
  return ['tcp', 'tcp6'].flatMap((kind) => {
    const lines = readFileSync(`/proc/net/${kind}`, 'latin1').split('\n').slice(1)
    return lines.flatMap((line) => {
      const [, , remote = '', state] = line.trim().split(/\s+/)
      const [address = '', port = ''] = remote.split(':')
      if (Number.parseInt(state ?? '', 16) !== TcpState.synReceived) return []
      const bytes = Buffer.from(address, 'hex').swap32()
      return { address: addressOfBytes(bytes), port: Number.parseInt(port, 16) }
    })
  })
}

// ---- orders

async function carryOut(order: MachineOrder): Promise<unknown> {
  switch (order.op) {
    case 'run': return run(order.command[0] ?? '', ...order.command.slice(1))
    case 'listen': return listen(order.host, order.port)
    case 'stand': stand(); return
    case 'restore': return putBack(order.host, order.port, order.image)
    case 'go':
      for (const connection of connections) {
        connection.hold(false)
        connection.read(true)
      }
      return
    case 'hold': found(order.name).hold(order.on); return
    case 'read': found(order.name).read(order.on); return
    case 'part': found(order.name).part(); return
    case 'look': return connections.find(({ name }) => name === order.name)?.look()
    case 'half-open': return halfOpen()
    case 'executed': return executed
  }
}

function answer(about: { readonly id: number, readonly result?: unknown, readonly error?: string }): void {
  if (process.connected) process.send?.(about, undefined, undefined, () => undefined)
}

process.on('message', ({ id, order }: { id: number, order: MachineOrder }) => {
  carryOut(order).then(
    (result) => answer({ id, result }), (error: unknown) => answer({ id, error: messageOf(error) }))
})
process.on('disconnect', () => process.exit())
