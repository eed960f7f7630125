import t from 'tap'
import { TailgateError } from '../../src/base/errors.ts'
import { hostName, lsn } from '../../src/core/ids.ts'
import type { Envelope, Message } from '../../src/core/message.ts'
import type { LinkConnection, LinkEvents } from '../../src/link/link.ts'
import { LinkListener } from '../../src/link/listener.ts'
import {
  ReconnectingLink, type ReconnectingEvents, type ReconnectingWorld
} from '../../src/link/reconnecting-link.ts'
import { End, envelope } from './peers.ts'

/** Writes down what it is told, and lets a test wait for it. */
class Journal implements ReconnectingEvents {
  readonly lines: string[] = []
  readonly links: LinkConnection[] = []
  #awaited: { line: string, resolve: () => void } | undefined

  up(link: LinkConnection): void {
    this.links.push(link)
    this.#write('up')
  }

  message(_envelope: Envelope, message: Message): void {
    this.#write(message.type)
  }

  down(): void {
    this.#write('down')
  }

  failed(error: TailgateError, retryMs: number): void {
    this.#write(`${error.code} ${retryMs}`)
  }

  /** Resolves when `line` is written; at once if it is the last one. */
  until(line: string): Promise<void> {
    if (this.lines.at(-1) === line) return Promise.resolve()
    return new Promise(resolve => { this.#awaited = { line, resolve } })
  }

  #write(line: string): void {
    this.lines.push(line)
    if (this.#awaited?.line !== line) return
    this.#awaited.resolve()
    this.#awaited = undefined
  }
}

const target = {
  self: { name: hostName('gw'), role: 'gateway', tls: undefined },
  expected: hostName('a1'),
  host: '127.0.0.1'
} as const

async function listenAt(port: number): Promise<{ listener: LinkListener, ends: End[] }> {
  const ends: End[] = []
  const listener = await LinkListener.listen({
    self: { name: hostName('a1'), role: 'agent', tls: undefined },
    host: '127.0.0.1',
    port,
    up(link) {
      const end = new End()
      end.link = link
      ends.push(end)
      link.send(envelope, { type: 'position', canRestore: true, lastLsn: lsn(1) })
      return end
    },
    refused(error) { throw error }
  })
  return { listener, ends }
}

void t.test('it comes back after the listener died and returned', async t => {
  const first = await listenAt(0)
  const { port } = first.listener
  const journal = new Journal()
  const backoff = { firstMs: 2, lastMs: 8, factor: 2 }
  const link = new ReconnectingLink({ ...target, port, backoff }, journal, { random: () => 0 })
  link.start()
  await journal.until('position')
  t.equal(link.link, journal.links[0])
  await first.listener.close()
  await journal.until('down')
  t.equal(link.link, undefined)
  await journal.until('E_LINK_LOST 4')
  const second = await listenAt(port)
  await journal.until('position')
  t.strictSame(journal.lines.filter(line => !line.startsWith('E_LINK_LOST')),
    ['up', 'position', 'down', 'up', 'position'])
  t.not(journal.links[0], journal.links[1])
  link.stop()
  await second.ends[0]?.ended
  await second.listener.close()
  t.equal(journal.lines.at(-1), 'position', 'nothing is heard after stop')
})

/** A world whose time stands still until a test says otherwise, and where dialing does what the test says. */
class StillWorld implements ReconnectingWorld {
  readonly waits: number[] = []
  readonly dials: { up: (link: LinkConnection) => LinkEvents, fail: (error: TailgateError) => void }[] = []
  aborted = 0
  pending: (() => void) | undefined

  random(): number {
    return 0.5
  }

  after(ms: number, call: () => void): () => void {
    this.waits.push(ms)
    this.pending = call
    return () => { this.pending = undefined }
  }

  dial: ReconnectingWorld['dial'] = (options, up) => {
    options.signal?.addEventListener('abort', () => { this.aborted++ })
    return new Promise((_resolve, reject) => { this.dials.push({ up, fail: reject }) })
  }
}

const lost = new TailgateError('E_LINK_LOST', 'nobody there')

/** A link that does nothing but say that it was closed. */
function deadLink(closed: () => void): LinkConnection {
  return {
    peer: { name: hostName('a1'), role: 'agent' },
    backlog: 0,
    send: () => undefined,
    drained: () => Promise.resolve(),
    pause: () => undefined,
    resume: () => undefined,
    close: closed
  }
}

function still(): { world: StillWorld, journal: Journal, link: ReconnectingLink } {
  const world = new StillWorld()
  const journal = new Journal()
  const link = new ReconnectingLink({ ...target, port: 1 }, journal, {
    random: () => world.random(),
    after: (ms, call) => world.after(ms, call),
    dial: world.dial
  })
  link.start()
  return { world, journal, link }
}

void t.test('waits grow from failure to failure and begin anew after a link', async t => {
  const { world, journal, link } = still()
  for (const wait of [37.5, 75, 150, 300, 600, 1200, 1500, 1500]) {
    world.dials.at(-1)?.fail(lost)
    await journal.until(`E_LINK_LOST ${wait}`)
    world.pending?.()
  }
  const events = world.dials.at(-1)?.up(deadLink(() => undefined))
  t.equal(world.waits.length, 8)
  events?.closed(lost)
  t.strictSame(world.waits.slice(8), [37.5])
  t.strictSame(journal.lines.slice(-2), ['up', 'down'])
  link.stop()
  t.equal(world.pending, undefined, 'stop ends the wait')
})

void t.test('stop while dialing', async t => {
  const { world, journal, link } = still()
  link.stop()
  t.equal(world.aborted, 1)
  let closed = 0
  world.dials[0]?.up(deadLink(() => { closed++ })).closed(lost)
  t.equal(closed, 1, 'a link that came all the same is closed')
  world.dials[0]?.fail(lost)
  await new Promise(resolve => { setImmediate(resolve) })
  t.strictSame(journal.lines, [])
  t.strictSame(world.waits, [])
})

void t.test('it starts once', t => {
  const { link } = still()
  t.throws(() => link.start(), { name: 'InvariantError' })
  link.stop()
  t.throws(() => link.start(), { name: 'InvariantError' })
  t.end()
})
