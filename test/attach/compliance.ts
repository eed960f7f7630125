import type { Test } from 'tap'
import type { Attach } from '../../src/attach/attach.ts'
import { connectionId } from '../../src/core/ids.ts'
import type { StreamSide } from '../../src/core/stream.ts'
import { DirectClient } from '../guest/direct-client.ts'
import { Recorder, turns, write } from './recorder.ts'
import { openPath } from './open-path.ts'

/** What the suite needs of an implementation: something to join, which speaks as the embedded guest does. */
export interface AttachUnderTest {
  readonly name: string
  /** Where a guest answers RESP, for the whole suite. */
  endpoint(): Promise<string>
  make(): Attach
}

interface Opened {
  readonly attach: Attach
  readonly side: StreamSide
  readonly events: Recorder
  readonly endpoint: string
}

let lastConnection = 1000

/** An id that no other connection of this process has. */
export function nextConnection(): ReturnType<typeof connectionId> {
  lastConnection += 1
  return connectionId(lastConnection)
}

/** What every attach must do with a guest that lives (src/attach/attach.ts). */
export function attachCompliance(test: Test, under: AttachUnderTest): void {
  const open = async (t: Test): Promise<Opened> => {
    const attach = under.make()
    t.teardown(() => attach.close())
    const events = new Recorder()
    const endpoint = await under.endpoint()
    const { side } = await openPath(attach, endpoint, nextConnection(), events)
    return { attach, side, events, endpoint }
  }

  void test.test(`${under.name}: a new side is paused, and then delivers in order`, async (t) => {
    const { side, events } = await open(t)
    write(side, 'PING\r\nECHO a\r\n')
    await turns()
    t.equal(events.length, 0)
    side.resume()
    await events.untilText('+PONG\r\n$1\r\na\r\n')
    t.equal(events.text, '+PONG\r\n$1\r\na\r\n')
    side.pause()
    write(side, 'PING\r\n')
    await turns()
    t.equal(events.length, 14, 'nothing comes while it is paused')
    side.resume()
    await events.until(() => events.length === 21)
    t.same(events.told, [])
  })

  void test.test(`${under.name}: the client's half-close reaches the guest after its input`, async (t) => {
    const { side, events } = await open(t)
    side.resume()
    write(side, 'PING\r\n'.repeat(1000))
    side.end()
    await events.untilTold('end')
    t.equal(events.text, '+PONG\r\n'.repeat(1000))
    t.same(events.told, ['end'])
  })

  void test.test(`${under.name}: the guest's end follows its output and waits for the reader`, async (t) => {
    const { side, events } = await open(t)
    write(side, 'PING\r\nQUIT\r\n')
    await turns()
    t.same(events.told, [])
    side.resume()
    await events.untilTold('end')
    t.equal(events.text, '+PONG\r\n+OK\r\n')
    side.end()
  })

  void test.test(`${under.name}: the guest resets`, async (t) => {
    const { side, events, endpoint } = await open(t)
    side.resume()
    write(side, 'CLIENT ID\r\n')
    await events.until(() => events.text.endsWith('\r\n'))
    const other = await DirectClient.open(endpoint)
    t.equal(await other.ask(`CLIENT KILL ID ${events.text.slice(1, -2)}`), 1)
    await events.untilTold('reset')
    t.same(events.told, ['reset'])
    other.close()
  })

  void test.test(`${under.name}: the client's reset ends its session in the guest`, async (t) => {
    const { side, events, endpoint } = await open(t)
    const channel = `channel-${lastConnection}`
    side.resume()
    write(side, `SUBSCRIBE ${channel}\r\n`)
    await events.until(() => events.text.endsWith(':1\r\n'))
    const other = await DirectClient.open(endpoint)
    t.equal(await other.ask(`PUBLISH ${channel} x`), 1)
    side.reset()
    while (await other.ask(`PUBLISH ${channel} x`) !== 0) await turns(10)
    t.same(events.told, [], 'nothing is told after a reset')
    other.close()
  })

  void test.test(`${under.name}: back-pressure in both directions, byte by byte the same`, async (t) => {
    const { attach, side, events } = await open(t)
    const connection = connectionId(lastConnection)
    const value = Buffer.alloc(6 * 1024 * 1024, 'abcdefg').toString()
    write(side, `*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$${value.length}\r\n`)
    for (let at = 0; at < value.length; at += 100_000) write(side, value.slice(at, at + 100_000))
    write(side, '\r\nGET big\r\nGET big\r\n')
    t.ok(side.backlog > 0)
    side.resume()
    await events.untilTold('drain')
    const wanted = `+OK\r\n${`$${value.length}\r\n${value}\r\n`.repeat(2)}`
    while (events.length < wanted.length) {
      const before = events.length
      await events.until(() => events.length > before)
      side.pause()
      await turns(1)
      attach.acknowledge(connection, events.length as Parameters<Attach['acknowledge']>[1])
      side.resume()
    }
    t.ok(events.text === wanted)
    t.same(events.told.filter((what) => what !== 'drain'), [])
  })

  void test.test(`${under.name}: what cannot be joined is E_ATTACH`, async (t) => {
    const attach = under.make()
    t.teardown(() => attach.close())
    await t.rejects(openPath(attach, '127.0.0.1:1', nextConnection(), new Recorder()), { code: 'E_ATTACH' })
    await t.rejects(openPath(attach, 'nowhere', nextConnection(), new Recorder()), { code: 'E_ATTACH' })
    attach.close()
    const endpoint = await under.endpoint()
    await t.rejects(openPath(attach, endpoint, nextConnection(), new Recorder()), { code: 'E_ATTACH' })
  })

  void test.test(`${under.name}: close and abandon are silent here`, async (t) => {
    const { attach, side, events, endpoint } = await open(t)
    const more = new Recorder()
    const second = await openPath(attach, endpoint, nextConnection(), more)
    side.resume()
    second.side.resume()
    side.abandon()
    attach.close()
    await turns()
    t.same([...events.told, ...more.told], [])
  })
}
