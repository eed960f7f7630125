import { once } from 'node:events'
import t, { type Test } from 'tap'
import { Client } from './client.ts'
import { Front, modes, replicated } from './front.ts'
import { patternHash, patternOf } from './pattern.ts'
import { until } from './program.ts'
import { Service, type Behaviour } from './service.ts'

// Whoever does not read holds back only its own connection, and the gateway takes no more memory for it than
// its limits allow.

/** More than all buffers of kernels, gateway and limits on the way together. */
const floodBytes = 128 << 20
/** For one connection: the kernel's buffers on both sides of the gateway, and the gateway's own. */
const underwayMax = 64 << 20

const keys = 'limits: { held: 16MiB, in_flight: 16MiB, client_buffer: 4MiB }'

interface Place {
  readonly t: Test
  readonly front: Front
  readonly service: Service
  readonly client: (behaviour: Behaviour) => Client
}

/** The resident memory of the gateway, in bytes. */
async function memory(front: Front): Promise<number> {
  return (await front.metrics()).sum('process_resident_memory_bytes')
}

/** Another connection gives and takes as ever. */
async function goesOn({ t, client }: Place): Promise<void> {
  const other = client('echo')
  await other.send(patternOf(0, 200_000))
  other.socket.end()
  const ended = await other.ended
  t.same([ended.hash, ended.error], [patternHash(200_000), undefined], 'another connection goes on')
}

async function clientDoesNotRead(place: Place): Promise<void> {
  const { t, front, client } = place
  const slow = client('source')
  await slow.connected()
  slow.socket.pause()
  const before = front.mode === 'direct' ? 0 : await memory(front)
  await slow.send(String(floodBytes))
  await goesOn(place)
  await goesOn(place)
  if (front.mode !== 'direct') {
    const { heldBytes, heldBytesMax } = await front.guest()
    t.ok(heldBytes <= heldBytesMax, `held ${heldBytes}`)
    const metrics = await front.metrics()
    const released = metrics.sum('tailgate_bytes_total', { direction: 'output' })
    t.ok(released < underwayMax, `reading the service has stopped: ${released} bytes`)
    const grown = await memory(front) - before
    t.ok(grown < underwayMax, `no memory is taken for what is not read: ${grown} bytes`)
  }
  slow.socket.resume()
  await slow.outputEnded
  slow.socket.end()
  const ended = await slow.ended
  t.same([ended.bytes, ended.error], [floodBytes, undefined])
  t.equal(ended.hash, patternHash(floodBytes), 'all of it comes once it is read')
}

async function serviceDoesNotRead(place: Place): Promise<void> {
  const { t, front, service, client } = place
  const slow = client('stalled')
  await slow.connected()
  let sent = 0
  // Where the way is full, the client's socket does not drain before another connection has come and gone.
  for (let full = false; !full;) {
    const piece = patternOf(sent, 1 << 20)
    sent += piece.length
    if (slow.socket.write(piece)) continue
    const drained = once(slow.socket, 'drain').then(() => false)
    full = await Promise.race([drained, goesOn(place).then(() => true)])
    if (sent >= floodBytes) break
  }
  t.ok(sent < floodBytes, `the client is held back after ${sent} bytes`)
  if (front.mode !== 'direct') {
    const { positions } = await front.guest()
    t.ok(positions.receivedBytes < underwayMax, `the gateway has read ${positions.receivedBytes}`)
  }
  service.read()
  slow.socket.end()
  const answer = `${patternHash(sent)} ${sent}\n`
  t.equal((await slow.ended).bytes, answer.length, 'all of it came to the service once it reads')
}

for (const mode of modes) {
  void t.test(`slow readers, ${mode}`, async (t) => {
    const service = await Service.start(t)
    const front = await Front.start(t, mode, service.behind, { keys })
    const client = (behaviour: Behaviour): Client =>
      new Client(t, front.ports[service.behaviours.indexOf(behaviour)] ?? 0)
    const place = { front, service, client }
    await t.test('a client that does not read', async (t) => clientDoesNotRead({ t, ...place }))
    await t.test('a service that does not read', async (t) => serviceDoesNotRead({ t, ...place }))
    if (mode === 'direct') return
    await until('every connection has ended', async () => {
      const { connections } = await front.guest()
      return Object.values(connections).every((count) => count === 0) ? true : undefined
    })
    if (replicated.has(mode)) await front.committed(t, 0)
  })
}
