import t, { type Test } from 'tap'
import { EmbeddedAttach, newIncarnation } from '../../src/attach/embedded.ts'
import { TcpAttach } from '../../src/attach/tcp.ts'
import { inputOffset, outputOffset, type ConnectionId } from '../../src/core/ids.ts'
import type { StreamSide } from '../../src/core/stream.ts'
import { EmbeddedEngine } from '../../src/engine/embedded.ts'
import { chooseSockets } from '../../src/net/choose-sockets.ts'
import { inPieces, take } from '../engine/compliance.ts'
import { DirectClient } from '../guest/direct-client.ts'
import { attachCompliance, nextConnection } from './compliance.ts'
import { Recorder, turns, write } from './recorder.ts'
import { openPath } from './open-path.ts'

const { sockets } = await chooseSockets()
const connectMs = 5000
const noPath = new Uint8Array(0)

function newEngine(t: Test): EmbeddedEngine {
  const engine = new EmbeddedEngine({ host: '127.0.0.1', ports: [0] })
  t.teardown(() => engine.stop())
  return engine
}

const shared = newEngine(t)
const started = shared.start()
const endpoint = async (): Promise<string> => {
  await started
  return shared.endpoints[0] ?? ''
}
attachCompliance(t, {
  name: 'embedded', endpoint,
  make: () => new EmbeddedAttach({ sockets, incarnation: newIncarnation(), connectMs })
})
attachCompliance(t, { name: 'tcp', endpoint, make: () => new TcpAttach({ sockets, connectMs }) })

/** A guest of its own, joined by one gateway process that outlives it. */
class Scene {
  readonly engine: EmbeddedEngine
  readonly incarnation = newIncarnation()
  readonly floors = new Map<ConnectionId, number>()
  /** Of these the guest has taken the client's reset. */
  readonly resetsTaken: ConnectionId[] = []
  attach: EmbeddedAttach
  readonly #t: Test
  #onFloor: (() => void) | undefined
  #onResetTaken: (() => void) | undefined

  private constructor(t: Test) {
    this.#t = t
    this.engine = newEngine(t)
    this.attach = this.#join()
    t.teardown(() => this.attach.close())
  }

  static async begin(t: Test): Promise<Scene> {
    const scene = new Scene(t)
    await scene.engine.start()
    return scene
  }

  get endpoint(): string {
    return this.engine.endpoints[0] ?? ''
  }

  async open(text = ''): Promise<{ connection: ConnectionId, side: StreamSide, events: Recorder }> {
    const connection = nextConnection()
    const events = new Recorder()
    const { side } = await openPath(this.attach, this.endpoint, connection, events)
    side.resume()
    if (text !== '') write(side, text)
    return { connection, side, events }
  }

  /** From now on the guest takes input and executes none of it. */
  async stall(): Promise<void> {
    this.engine.misbehave({ stall: 'all' })
    // Orders are carried out one after another.
    await take(this.engine)
  }

  async floor(connection: ConnectionId, place: number): Promise<void> {
    while ((this.floors.get(connection) ?? 0) < place) {
      await new Promise<void>((resolve) => { this.#onFloor = resolve })
    }
  }

  async resetTaken(connection: ConnectionId): Promise<void> {
    while (!this.resetsTaken.includes(connection)) {
      await new Promise<void>((resolve) => { this.#onResetTaken = resolve })
    }
  }

  /** The host dies; the guest is restored from `image`. */
  async failover(image: Uint8Array): Promise<void> {
    const { pid } = this.engine
    const dead = new Promise((resolve) => { this.engine.onFailure = resolve })
    if (pid !== undefined) process.kill(pid, 'SIGKILL')
    await dead
    await this.next(image)
  }

  async next(image: Uint8Array): Promise<void> {
    this.attach.close()
    await this.engine.stop()
    await this.engine.restore(inPieces(image))
    this.attach = this.#join()
    await this.#t.rejects(this.again(nextConnection(), 0), { code: 'E_ATTACH' }, 'its network is closed')
    this.attach.close()
    await this.engine.openNetwork()
    this.attach = this.#join()
  }

  async again(connection: ConnectionId, received: number): Promise<
    { input: number, output: number, resumesAt: number, side: StreamSide, events: Recorder } | undefined
  > {
    const events = new Recorder()
    const answer = await this.attach.attach(this.endpoint, connection, noPath, outputOffset(received), events)
    return answer.known ? { ...answer, events } : undefined
  }

  #join(): EmbeddedAttach {
    const attach = new EmbeddedAttach({ sockets, incarnation: this.incarnation, connectMs })
    attach.onFloor = (connection, floor) => {
      this.floors.set(connection, floor)
      this.#onFloor?.()
    }
    attach.onResetTaken = (connection) => {
      this.resetsTaken.push(connection)
      this.#onResetTaken?.()
    }
    return attach
  }
}

void t.test('a second dial of a connection leaves the first one as it is', async (t) => {
  const scene = await Scene.begin(t)
  const { connection, side, events } = await scene.open('PING\r\n')
  await events.untilText('+PONG\r\n')
  const again = openPath(scene.attach, scene.endpoint, connection, new Recorder())
  await t.rejects(again, { code: 'E_ATTACH', message: /is joined already/ })
  write(side, 'QUIT\r\n')
  await events.untilTold('end')
  t.equal(events.text, '+PONG\r\n+OK\r\n')
})

void t.test('of two dials of one connection at the same time one is taken, and hears its end', async (t) => {
  const scene = await Scene.begin(t)
  const connection = nextConnection()
  const ears = [new Recorder(), new Recorder()]
  const made = ears.map((events) => openPath(scene.attach, scene.endpoint, connection, events))
  const taken = (await Promise.allSettled(made)).map(({ status }) => status === 'fulfilled')
  t.equal(taken.filter((isTaken) => isTaken).length, 1)
  const which = taken.indexOf(true)
  const path = await made[which]
  path?.side.resume()
  if (path !== undefined) write(path.side, 'QUIT\r\n')
  await ears[which]?.untilTold('end')
  t.equal(ears[which]?.text, '+OK\r\n')
})

void t.test('floors follow the input, its end counted', async (t) => {
  const scene = await Scene.begin(t)
  await scene.stall()
  const { connection, side } = await scene.open('PING\r\nPI')
  await scene.floor(connection, 8)
  t.equal(scene.floors.get(connection), inputOffset(8))
  write(side, 'NG\r\n')
  side.end()
  await scene.floor(connection, 13)
  t.equal(scene.floors.get(connection), 13)
})

void t.test('a host that dies says nothing; its guest goes on in the middle of a command', async (t) => {
  const scene = await Scene.begin(t)
  const one = await scene.open('INCR a\r\nINCR a\r\nGE')
  await scene.floor(one.connection, 18)
  const image = await take(scene.engine)
  write(one.side, 'T a\r\nINCR a\r\n')
  const wanted = ':1\r\n:2\r\n$1\r\n2\r\n:3\r\n'
  await one.events.untilText(wanted)
  const late = await scene.open('PING\r\n')
  await late.events.untilText('+PONG\r\n')
  await scene.failover(image)
  await turns()
  t.same([...one.events.told, ...late.events.told], [], 'death is silent')

  t.equal(await scene.again(late.connection, 7), undefined, 'opened after the snapshot')
  const again = await scene.again(one.connection, one.events.length)
  if (again === undefined) throw new Error('it must be known')
  t.same([again.input, again.output, again.resumesAt], [18, 8, 8])
  again.side.resume()
  write(again.side, 'T a\r\nINCR a\r\nQUIT\r\n')
  await again.events.untilTold('end')
  t.equal(again.events.text, `${wanted.slice(8)}+OK\r\n`)
})

void t.test('output that was not received is sent again, from the place that was', async (t) => {
  const scene = await Scene.begin(t)
  const { connection, events } = await scene.open('PING\r\nECHO abc\r\n')
  const wanted = '+PONG\r\n$3\r\nabc\r\n'
  await events.untilText(wanted)
  const image = await take(scene.engine)
  for (const received of [0, 9, wanted.length]) {
    if (received === 0) await scene.failover(image)
    else await scene.next(image)
    const again = await scene.again(connection, received)
    t.equal(again?.resumesAt, received)
    again?.side.resume()
    if (again !== undefined) write(again.side, 'PING\r\n')
    await again?.events.untilText(`${wanted.slice(received)}+PONG\r\n`)
    t.equal(again?.events.text, `${wanted.slice(received)}+PONG\r\n`)
  }
})

void t.test('a stream that had ended is known until its end is acknowledged, and then not', async (t) => {
  const scene = await Scene.begin(t)
  const { connection, side, events } = await scene.open('PING\r\n')
  await events.untilText('+PONG\r\n')
  side.pause()
  write(side, 'QUIT\r\n')
  await scene.floor(connection, 12)
  const before = await take(scene.engine)
  side.resume()
  await events.untilTold('end')
  side.end()
  const forgotten = await untilForgotten(scene, connection)
  t.ok(forgotten)
  const after = await take(scene.engine)

  await scene.failover(before)
  const again = await scene.again(connection, 7)
  t.same([again?.input, again?.output, again?.resumesAt], [12, 13, 7])
  again?.side.resume()
  await again?.events.untilTold('end')
  t.equal(again?.events.text, '+OK\r\n')
  await scene.next(before)
  const whole = await scene.again(connection, 13)
  t.same([whole?.output, whole?.resumesAt], [13, 13], 'its end has been received: it is not told again')
  whole?.side.resume()
  await turns()
  t.same(whole?.events.told, [])
  await scene.next(after)
  t.equal(await scene.again(connection, 13), undefined)
})

/** A forgotten stream's id can be opened anew by the same gateway, which it never does otherwise. */
async function untilForgotten(scene: Scene, connection: ConnectionId): Promise<boolean> {
  for (;;) {
    try {
      const { side } = await openPath(scene.attach, scene.endpoint, connection, new Recorder())
      side.reset()
      await turns(50)
      return true
    } catch {
      await turns(20)
    }
  }
}

void t.test('a half-closed stream keeps its place', async (t) => {
  const scene = await Scene.begin(t)
  await scene.stall()
  const { connection, side } = await scene.open('PING\r\n')
  side.end()
  await scene.floor(connection, 7)
  const image = await take(scene.engine)
  await scene.failover(image)
  const again = await scene.again(connection, 0)
  t.same([again?.input, again?.output], [7, 7 + 1], 'run on, it has answered and ended')
  again?.side.resume()
  await again?.events.untilTold('end')
  t.equal(again?.events.text, '+PONG\r\n')
})

void t.test('subscriptions, transactions and watches live on; messages wait for the attach', async (t) => {
  const scene = await Scene.begin(t)
  const listener = await scene.open('SUBSCRIBE news\r\n')
  const buyer = await scene.open('WATCH stock\r\nMULTI\r\nINCR stock\r\n')
  await listener.events.until(() => listener.events.text.endsWith(':1\r\n'))
  await buyer.events.untilText('+OK\r\n+OK\r\n+QUEUED\r\n')
  const image = await take(scene.engine)
  await scene.failover(image)
  const other = await DirectClient.open(scene.endpoint)
  t.equal(await other.ask('PUBLISH news hello'), 1)
  t.equal(await other.ask('INCR stock'), 1)
  const heard = await scene.again(listener.connection, listener.events.length)
  heard?.side.resume()
  await heard?.events.until(() => heard.events.text.endsWith('hello\r\n'))
  t.equal(heard?.events.text, '*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n')
  const bought = await scene.again(buyer.connection, buyer.events.length)
  bought?.side.resume()
  if (bought !== undefined) write(bought.side, 'EXEC\r\n')
  await bought?.events.untilText('*-1\r\n')
  t.equal(bought?.events.text, '*-1\r\n', 'the watched key has changed')
  other.close()
})

void t.test('streams that nobody attached are closed when the agent says so', async (t) => {
  const scene = await Scene.begin(t)
  const kept = await scene.open('SUBSCRIBE c\r\n')
  const left = await scene.open('SUBSCRIBE c\r\n')
  for (const { events } of [kept, left]) await events.until(() => events.text.endsWith(':1\r\n'))
  await scene.failover(await take(scene.engine))
  const again = await scene.again(kept.connection, kept.events.length)
  const other = await DirectClient.open(scene.endpoint)
  t.equal(await other.ask('PUBLISH c x'), 2)
  await scene.engine.attached()
  t.equal(await other.ask('PUBLISH c x'), 1)
  t.equal(await scene.again(left.connection, left.events.length), undefined)
  t.ok(again)
  other.close()
})

void t.test('a gateway that dies takes its clients with it', async (t) => {
  const scene = await Scene.begin(t)
  const { events } = await scene.open('SUBSCRIBE c\r\n')
  await events.until(() => events.text.endsWith(':1\r\n'))
  const other = await DirectClient.open(scene.endpoint)
  t.equal(await other.ask('PUBLISH c x'), 1)
  scene.attach.close()
  while (await other.ask('PUBLISH c x') !== 0) await turns(10)
  t.same(events.told, [])
  other.close()
})

void t.test('a guest whose lease ran out is silent; renewed, its streams flow on', async (t) => {
  const scene = await Scene.begin(t)
  const { side, events } = await scene.open('PING\r\n')
  await events.untilText('+PONG\r\n')
  scene.engine.renewLease(0)
  // A checkpoint is an order of the same channel: when it is there, the lease has arrived.
  await take(scene.engine)
  write(side, 'INCR a\r\n')
  await take(scene.engine)
  t.same(events.told, [])
  t.equal(events.text, '+PONG\r\n')
  scene.engine.renewLease(60_000)
  await events.untilText('+PONG\r\n:1\r\n')
  t.same(events.told, [])
})

void t.test('a client\'s reset takes place after the input before it, however they arrive', async (t) => {
  const scene = await Scene.begin(t)
  const other = await DirectClient.open(scene.endpoint)
  for (let n = 0; n < 20; n++) {
    const { side } = await scene.open(`${'INCR n\r\n'.repeat(100)}INCR done\r\nINC`)
    side.reset()
    while (Number(await other.ask('GET done')) !== n + 1) await turns(5)
    t.equal(Number(await other.ask('GET n')), (n + 1) * 100)
  }
  other.close()
})

/** A client waits for an element of `q`, with more input behind it than the guest reads, and resets. */
async function resetWhileBlocked(scene: Scene): Promise<ConnectionId> {
  const behind = `${'INCR n\r\n'.repeat(200_000)}INCR done\r\n`
  const { connection, side } = await scene.open(`BLPOP q 0\r\n${behind}`)
  await scene.floor(connection, 1)
  side.reset()
  return connection
}

void t.test('the guest tells that it has taken a reset when it has all input before it, and not earlier',
  async (t) => {
    const scene = await Scene.begin(t)
    const other = await DirectClient.open(scene.endpoint)
    const connection = await resetWhileBlocked(scene)
    const quick = await scene.open('PING\r\n')
    quick.side.reset()
    await scene.resetTaken(quick.connection)
    t.same(scene.resetsTaken, [quick.connection], 'the other has input on its way for as long as it waits')
    t.equal(await other.ask('GET n'), null)
    await other.ask('RPUSH q x')
    await scene.resetTaken(connection)
    t.same(scene.resetsTaken, [quick.connection, connection])
    t.same([await other.ask('GET n'), await other.ask('GET done')], ['200000', '1'])
    other.close()
  })

void t.test('a reset is taken at once by a guest that has forgotten the stream', async (t) => {
  const scene = await Scene.begin(t)
  const { connection, side, events } = await scene.open('QUIT\r\n')
  await events.untilTold('end')
  side.reset()
  await scene.resetTaken(connection)
  t.same(scene.resetsTaken, [connection])
})

void t.test('a guest that has reset all streams of a broken control connection has taken every reset',
  async (t) => {
    const scene = await Scene.begin(t)
    const connection = await resetWhileBlocked(scene)
    const usurper = new EmbeddedAttach({ sockets, incarnation: scene.incarnation, connectMs })
    t.teardown(() => usurper.close())
    await openPath(usurper, scene.endpoint, nextConnection(), new Recorder())
    await scene.resetTaken(connection)
    t.same(scene.resetsTaken, [connection])
  })

void t.test('a stream that nobody acknowledges stops being executed, and goes on', async (t) => {
  const scene = await Scene.begin(t)
  const { connection, side, events } = await scene.open(`SET v ${'v'.repeat(10_000)}\r\n`)
  const other = await DirectClient.open(scene.endpoint)
  const rounds = 400
  for (let n = 0; n < rounds; n++) write(side, 'GET v\r\nINCR n\r\n')
  await events.until(() => events.length > 1024 * 1024)
  await turns()
  const stopped = Number(await other.ask('GET n'))
  t.ok(stopped < rounds / 2, `${stopped} of ${rounds} were executed`)
  const counts = Array.from({ length: rounds }, (_, n) => `:${n + 1}\r\n`).join('')
  const total = 5 + rounds * 10_010 + counts.length
  while (events.length < total) {
    const before = events.length
    scene.attach.acknowledge(connection, outputOffset(before))
    await events.until(() => events.length > before)
  }
  t.equal(Number(await other.ask('GET n')), rounds)
  other.close()
})

void t.test('acknowledging what an earlier guest sent does not stop the regenerated output', async (t) => {
  const scene = await Scene.begin(t)
  const { connection, side, events } = await scene.open(`SET v ${'v'.repeat(10_000)}\r\n`)
  await events.untilText('+OK\r\n')
  const image = await take(scene.engine)
  const input = 'GET v\r\n'.repeat(300)
  write(side, input)
  const total = 5 + 300 * 10_010
  while (events.length < total) {
    const before = events.length
    scene.attach.acknowledge(connection, outputOffset(before))
    await events.until(() => events.length > before)
  }
  await scene.failover(image)
  const again = await scene.again(connection, total)
  if (again === undefined) throw new Error('it must be known')
  scene.attach.acknowledge(connection, outputOffset(total))
  again.side.resume()
  write(again.side, input)
  while (again.events.length < total - 5) {
    const before = again.events.length
    scene.attach.acknowledge(connection, outputOffset(5 + before))
    await again.events.until(() => again.events.length > before)
  }
  t.equal(again.events.length, total - 5)
})

void t.test('what does not speak the protocol is E_ATTACH', async (t) => {
  const listener = await sockets.listen({
    host: '127.0.0.1', port: 0, trouble: () => undefined,
    accepted: (side) => {
      side.attach({
        data: () => side.write(Buffer.from('HTTP/1.1 400 Bad Request\r\n')),
        end: () => undefined, reset: () => undefined, drain: () => undefined
      })
      side.resume()
    }
  })
  const attach = new EmbeddedAttach({ sockets, incarnation: 1n, connectMs })
  await t.rejects(openPath(attach, listener.address, nextConnection(), new Recorder()), { code: 'E_ATTACH' })
  attach.close()
  await listener.close()
})
