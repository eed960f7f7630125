import t from 'tap'
import { EmbeddedAttach, newIncarnation } from '../../src/attach/embedded.ts'
import { connectionId, outputOffset, type ConnectionId } from '../../src/core/ids.ts'
import type { StreamSide } from '../../src/core/stream.ts'
import { EmbeddedEngine } from '../../src/engine/embedded.ts'
import { Random } from '../../src/guest/random.ts'
import { chooseSockets } from '../../src/net/choose-sockets.ts'
import { Recorder } from '../attach/recorder.ts'
import { inPieces } from '../engine/compliance.ts'
import { encodeCommand } from './replies.ts'
import { openPath } from '../attach/open-path.ts'

const { sockets } = await chooseSockets()
const noPath = new Uint8Array(0)
const random = new Random(20261122)

/**
 * One client. Its commands touch only its own keys, so its whole output is known beforehand, wherever its
 * input is cut and whatever the others do.
 */
class Client {
  readonly connection: ConnectionId
  readonly input: Buffer
  readonly output: Buffer
  sent = 0
  received = Buffer.alloc(0)
  side: StreamSide | undefined
  events = new Recorder()
  /** Where in its output the present events begin. */
  from = 0
  known = 0

  constructor(id: number, commands: number) {
    this.connection = connectionId(id)
    const input: Buffer[] = []
    const output: string[] = []
    const list: string[] = []
    for (let n = 1; n <= commands; n++) {
      const value = 'x'.repeat(random.below(n % 50 === 0 ? 30_000 : 60))
      list.push(value)
      input.push(encodeCommand(['INCR', `n${id}`]), encodeCommand(['RPUSH', `l${id}`, value]))
      output.push(`:${n}\r\n`, `:${n}\r\n`)
      if (n % 10 !== 0) continue
      input.push(encodeCommand(['LRANGE', `l${id}`, '-3', '-1']))
      output.push(`*3\r\n${list.slice(-3).map((one) => `$${one.length}\r\n${one}\r\n`).join('')}`)
    }
    this.input = Buffer.concat([...input, Buffer.from('QUIT\r\n')])
    this.output = Buffer.from(`${output.join('')}+OK\r\n`)
  }

  get finished(): boolean {
    return this.events.told.includes('end')
  }

  /** Whether the first `share` of its input has been sent. */
  hasSent(share: number): boolean {
    return this.sent >= Math.floor(this.input.length * share)
  }

  /** Sends some of what is left of the first `share`, cut anywhere. */
  push(bytesMax: number, share: number): void {
    const bytes = Math.min(Math.floor(this.input.length * share) - this.sent, 1 + random.below(bytesMax))
    if (bytes <= 0) return
    this.side?.write(this.input.subarray(this.sent, this.sent + bytes))
    this.sent += bytes
  }

  /** All output so far, the present guest's included. */
  get place(): number {
    return this.from + this.events.length
  }
}

async function join(attach: EmbeddedAttach, endpoint: string, client: Client, again: boolean): Promise<void> {
  const received = client.place
  client.received = Buffer.concat([client.received.subarray(0, client.from), client.events.bytes])
  client.events = new Recorder()
  const answer = again
    ? await attach.attach(endpoint, client.connection, noPath, outputOffset(received), client.events)
    : { known: false as const }
  if (answer.known) {
    client.side = answer.side
    client.sent = answer.input
    client.from = answer.resumesAt
    client.known += 1
  } else {
    // Opened after the snapshot: from the beginning.
    client.side = (await openPath(attach, endpoint, client.connection, client.events)).side
    client.sent = 0
    client.from = 0
  }
  client.side.resume()
}

/**
 * Keeps everybody busy until `until`, with the first `share` of what they have to say; acknowledges what
 * came.
 */
async function load(
  attach: EmbeddedAttach, clients: readonly Client[], share: number, until: () => boolean
): Promise<void> {
  for (let turn = 0; !until(); turn++) {
    for (const client of clients) {
      if (client.finished || client.side === undefined) continue
      const bytesMax = random.below(20) === 0 ? 20_000 : 300
      if (client.side.backlog < 64 * 1024 && random.below(3) === 0) client.push(bytesMax, share)
      if (turn % 4 === 0) attach.acknowledge(client.connection, outputOffset(client.place))
    }
    await new Promise((resolve) => setImmediate(resolve))
  }
}

function check(client: Client): string {
  const again = client.events.bytes
  const place = client.from + again.length
  const before = client.received
  if (before.compare(client.output, 0, before.length) !== 0) return 'the output before the failover was wrong'
  if (place > client.output.length) return 'there is too much output'
  if (again.compare(client.output, client.from, place) !== 0) return 'the output differs from what is right'
  return place === client.output.length ? '' : `${place} of ${client.output.length} bytes came`
}

void t.test('checkpoints under load, kill -9, restore, attach, replay, three times', async (t) => {
  const engine = new EmbeddedEngine({ host: '127.0.0.1', ports: [0] })
  const incarnation = newIncarnation()
  const settings = { sockets, incarnation, connectMs: 10_000 }
  let attach = new EmbeddedAttach(settings)
  t.teardown(() => { attach.close(); return engine.stop() })
  await engine.start()
  const endpoint = (): string => engine.endpoints[0] ?? ''
  const clients = Array.from({ length: 24 }, (_, n) => new Client(n + 1, 400))
  const early = clients.slice(0, 16)
  for (const client of early) await join(attach, endpoint(), client, false)
  const joined = [...early]
  for (let failover = 0; failover < 3; failover++) {
    const image: Uint8Array[] = []
    const share = (failover + 1) / 4
    const sent = (part: number) => (): boolean => joined.every((client) => client.hasSent(part))
    await load(attach, joined, share, sent(share - 0.2))
    let whole = false
    const checkpoint = (async (): Promise<void> => {
      for await (const piece of engine.checkpoint(() => load(attach, joined, share, turns(30)))) {
        image.push(piece)
      }
      whole = true
    })()
    await Promise.all([checkpoint, load(attach, joined, share, () => whole)])
    // These are opened after the snapshot, so the restored guest does not know them.
    const late = clients.slice(joined.length, joined.length + (failover < 2 ? 4 : 0))
    for (const client of late) await join(attach, endpoint(), client, false)
    joined.push(...late)
    await load(attach, joined, share, sent(share))
    const dead = new Promise((resolve) => { engine.onFailure = resolve })
    process.kill(engine.pid ?? 0, 'SIGKILL')
    await load(attach, joined, share + 0.1, turns(20))
    await dead
    const alive = joined.filter(({ finished }) => !finished)
    t.equal(alive.length, joined.length, 'nobody is told that the host died, and nobody had finished')
    attach.close()
    await engine.stop()
    await engine.restore(inPieces(Buffer.concat(image)))
    await engine.openNetwork()
    attach = new EmbeddedAttach(settings)
    for (const client of joined) await join(attach, endpoint(), client, true)
    await engine.attached()
    const known = joined.filter((client) => client.known > 0)
    t.equal(known.length, joined.length - late.length, 'the snapshot knew these')
  }
  await load(attach, joined, 1, () => joined.every((client) => client.finished))
  for (const client of joined) t.equal(check(client), '', `connection ${client.connection}`)
  t.ok(joined.every((client) => client.events.told.join() === 'end'))
})

/** True after so many turns. */
function turns(count: number): () => boolean {
  let left = count
  return () => left-- <= 0
}
