import { randomBytes } from 'node:crypto'
import { networkInterfaces } from 'node:os'
import { crc32 } from 'node:zlib'
import type { Test } from 'tap'
import { DescriptorRoom as Room } from '../../src/net/descriptor-room.ts'
import { highWaterBytes, lowWaterBytes } from '../../src/net/sockets.ts'
import { mebibyte, type Check, type Exactness, type MakeSockets } from './check.ts'
import { adopting, churn, dialling, draining, listening } from './compliance-process.ts'
import { closeAll, Door, eventually, pairOf, Peer, settle } from './peer.ts'

/** What every implementation of Sockets must pass. */
export function socketsCompliance(test: Test, make: MakeSockets, exactness: Exactness): void {
  const check: Check = (name, body, skip = false) => {
    void test.test(name, { skip }, async (t) => {
      const sockets = make(new Room())
      await body(t, sockets)
      await closeAll()
      await eventually(() => sockets.open === 0, 'every descriptor is closed')
    })
  }
  exchange(check)
  halfClose(check)
  resets(check, exactness)
  pausing(check)
  backPressure(check)
  bulk(check)
  reentrancy(check)
  listening(check, make)
  dialling(check, make)
  adopting(check)
  churn(check)
  draining(check)
}

function exchange(check: Check): void {
  check('bytes come as they were sent, in both directions', async (t, sockets) => {
    const { client, server } = await pairOf(sockets)
    server.onData = (bytes) => server.side.write(bytes)
    server.side.resume()
    client.side.resume()
    client.send('one ')
    client.send('two ')
    await client.until(() => client.received === 8)
    client.send('three')
    await client.until(() => client.received === 13)
    t.equal(client.text, 'one two three')
    t.equal(server.side.bytesRead, 13)
    t.equal(client.side.backlog, 0)
  })

  check('what was written may change as soon as it was written', async (t, sockets) => {
    const { client, server } = await pairOf(sockets)
    server.side.resume()
    const piece = Buffer.alloc(64 * 1024)
    const pieces = 64
    let at = 0
    let wrong = 0
    server.onData = (bytes) => {
      for (const byte of bytes) if (byte !== Math.floor(at++ / piece.length)) wrong++
    }
    // More than the kernel takes at once, so that some of it waits in this process.
    for (let i = 0; i < pieces; i++) client.side.write(piece.fill(i))
    piece.fill(255)
    await server.until(() => server.received === pieces * piece.length)
    t.equal(wrong, 0)
  })

  check('both ends are named', async (t, sockets) => {
    const { client, server, listener } = await pairOf(sockets)
    t.equal(client.side.remote, `127.0.0.1:${listener.port}`)
    t.equal(client.side.local, server.side.remote)
    t.equal(server.side.local, client.side.remote)
    t.equal(listener.address, `127.0.0.1:${listener.port}`)
  })

  check('the descriptor is told while there is one', async (t, sockets) => {
    const { client, server } = await pairOf(sockets)
    t.ok(client.side.descriptor > 2)
    t.not(client.side.descriptor, server.side.descriptor)
    client.side.reset()
    t.equal(client.side.descriptor, -1)
    server.side.resume()
    await server.untilTold('reset')
    t.equal(server.side.descriptor, -1)
  })

  const ipv6 = Object.values(networkInterfaces()).flat().some((entry) => entry?.address === '::1')
  check('IPv6', async (t, sockets) => {
    const { client, server, listener } = await pairOf(sockets, '::1')
    t.equal(client.side.remote, `[::1]:${listener.port}`)
    server.side.resume()
    client.send('six')
    await server.until(() => server.received === 3)
    t.equal(server.text, 'six')
  }, ipv6 ? false : 'this machine has no ::1')

  check("every interface is '', and IPv4 clients keep their names there", async (t, sockets) => {
    const door = await new Door().open(sockets, '')
    const client = new Peer(await sockets.dial('127.0.0.1', door.listener.port, { timeoutMs: 5000 }))
    const server = await door.peer(0)
    t.match(server.side.remote, /^127\.0\.0\.1:\d+$/)
    client.side.reset()
    server.side.reset()
    await door.close()
  })

  check('one-byte writes, in one turn and in turns of their own', async (t, sockets) => {
    const { client, server } = await pairOf(sockets)
    const sent = randomBytes(6000)
    server.side.resume()
    for (let at = 0; at < 5000; at++) client.side.write(sent.subarray(at, at + 1))
    for (let at = 5000; at < sent.length; at++) {
      client.side.write(sent.subarray(at, at + 1))
      await new Promise((resolve) => setImmediate(resolve))
    }
    await server.until(() => server.received === sent.length)
    t.equal(server.crc, crc32(sent))
  })

  check('writing nothing sends nothing', async (t, sockets) => {
    const { client, server } = await pairOf(sockets)
    server.side.resume()
    client.side.write(new Uint8Array(0))
    client.side.end()
    await server.untilTold('end')
    t.same(server.told, ['end'])
    client.side.resume()
    server.side.end()
    await eventually(() => sockets.open === 0, 'both sides close')
  })
}

function halfClose(check: Check): void {
  for (const first of ['client', 'server'] as const) {
    check(`the ${first} ends first, and the other direction goes on`, async (t, sockets) => {
      const pair = await pairOf(sockets)
      const second = first === 'client' ? 'server' : 'client'
      pair[first].side.resume()
      pair[second].side.resume()
      pair[first].send('question')
      pair[first].side.end()
      await pair[second].untilTold('end')
      t.equal(pair[second].text, 'question')
      const answer = randomBytes(2 * mebibyte)
      pair[second].side.write(answer)
      await pair[first].until(() => pair[first].received === answer.length)
      pair[second].side.end()
      await pair[first].untilTold('end')
      t.equal(pair[first].crc, crc32(answer))
      await eventually(() => sockets.open === 0, 'both sides close by themselves')
      t.same(pair[second].told.filter((what) => what !== 'drain'), ['data', 'end'])
      t.same(pair[first].told, ['data', 'end'])
      t.ok(pair.client.side.closed && pair.server.side.closed)
    })
  }

  check('both end at once', async (t, sockets) => {
    const { client, server } = await pairOf(sockets)
    client.side.resume()
    server.side.resume()
    client.side.end()
    server.side.end()
    await Promise.all([client.untilTold('end'), server.untilTold('end')])
    await eventually(() => sockets.open === 0, 'both sides close by themselves')
    t.same([client.told, server.told], [['end'], ['end']])
  })

  check('ending with a backlog delivers it first', async (t, sockets) => {
    const { client, server } = await pairOf(sockets)
    const sent = randomBytes(16 * mebibyte)
    client.side.write(sent)
    client.side.end()
    await settle(sockets)
    t.ok(client.side.backlog > 0, 'the kernel cannot hold so much')
    server.side.resume()
    await server.untilTold('end')
    t.equal(server.crc, crc32(sent))
    server.side.end()
    client.side.resume()
    await eventually(() => sockets.open === 0, 'both sides close')
  })

  check('data and end are there for a side that reads late', async (t, sockets) => {
    const { client, server } = await pairOf(sockets)
    client.send('late')
    client.side.end()
    await settle(sockets)
    t.same(server.told, [])
    server.side.resume()
    await server.untilTold('end')
    t.same(server.told, ['data', 'end'])
    t.equal(server.text, 'late')
  })
}

function resets(check: Check, { resetBehindData }: Exactness): void {
  for (const first of ['client', 'server'] as const) {
    for (const how of ['reset', 'abandon'] as const) {
      check(`the ${first} calls ${how}`, async (t, sockets) => {
        const pair = await pairOf(sockets)
        const other = pair[first === 'client' ? 'server' : 'client']
        pair[first].side.resume()
        other.side.resume()
        pair[first].side[how]()
        await other.untilTold('reset')
        await eventually(() => sockets.open === 0, 'both sides close')
        t.same(other.told, ['reset'])
        t.same(pair[first].told, [], 'nothing is told to the one that called')
        t.ok(pair[first].side.closed && other.side.closed)
      })
    }
  }

  check('a reset with a backlog', async (t, sockets) => {
    const { client, server } = await pairOf(sockets)
    client.side.write(new Uint8Array(16 * mebibyte))
    await settle(sockets)
    client.side.reset()
    server.side.resume()
    await server.until(() => server.told.some((what) => what !== 'data'))
    t.ok(server.received < 16 * mebibyte)
    await settle(sockets)
    t.same(client.told, [])
    if (resetBehindData) t.same(server.told, ['data', 'reset'])
  })

  for (const turns of [0, 1]) {
    check(`a reset ${turns} turns after the end`, async (t, sockets) => {
      const { client, server } = await pairOf(sockets)
      client.side.end()
      for (let n = 0; n < turns; n++) await new Promise<void>((resolve) => process.nextTick(resolve))
      client.side.reset()
      server.side.resume()
      server.onEnd = () => server.send('?'.repeat(1000))
      await eventually(() => sockets.open <= 1, 'the descriptor is closed')
      await server.untilTold('reset')
      t.same(client.told, [])
    })
  }

  check('writing to a connection that was reset', async (t, sockets) => {
    const { client, server } = await pairOf(sockets)
    client.side.reset()
    await settle(sockets)
    server.send('to nobody')
    server.side.resume()
    await server.untilTold('reset')
    server.send('again')
    server.side.end()
    server.side.pause()
    server.side.resume()
    await settle(sockets)
    t.same(server.told, ['reset'], 'told once')
    await eventually(() => sockets.open === 0, 'both sides close')
  })

  check('a paused side that writes notices the reset', async (t, sockets) => {
    const { client, server } = await pairOf(sockets)
    client.side.reset()
    await settle(sockets)
    server.send('to nobody')
    await server.untilTold('reset')
    t.same(server.told, ['reset'])
  })

  check('a reset while the kernel is behind with a write', async (t, sockets) => {
    const { client, server } = await pairOf(sockets)
    server.side.write(new Uint8Array(16 * mebibyte))
    await settle(sockets)
    t.ok(server.side.backlog > 0)
    client.side.reset()
    await server.untilTold('reset')
    t.same(server.told, ['reset'])
    await eventually(() => sockets.open === 0, 'both sides close')
  })
}

function pausing(check: Check): void {
  check('a new side is paused, and a paused one reports no data', async (t, sockets) => {
    const { client, server } = await pairOf(sockets)
    client.send('first')
    await settle(sockets)
    t.same(server.told, [])
    server.side.resume()
    await server.until(() => server.received === 5)
    server.side.pause()
    client.send('second')
    await settle(sockets)
    t.equal(server.received, 5)
    server.side.resume()
    await server.until(() => server.received === 11)
    client.side.end()
    server.side.pause()
    await settle(sockets)
    t.same(server.told, ['data'])
    server.side.resume()
    await server.untilTold('end')
    t.same(server.told, ['data', 'end'])
    server.side.end()
    client.side.resume()
    await client.untilTold('end')
  })

  check('pausing and resuming many times loses nothing', async (t, sockets) => {
    const { client, server } = await pairOf(sockets)
    const sent = randomBytes(4 * mebibyte)
    client.side.write(sent)
    client.side.end()
    while (!server.told.includes('end')) {
      server.side.resume()
      await new Promise((resolve) => setImmediate(resolve))
      server.side.pause()
      server.side.pause()
      const before = server.received
      await new Promise((resolve) => setImmediate(resolve))
      if (server.received !== before) t.fail('data while paused')
      server.side.resume()
    }
    t.equal(server.crc, crc32(sent))
  })
}

function backPressure(check: Check): void {
  check('a slow reader: the backlog grows, and falls with one drain', async (t, sockets) => {
    const { client, server } = await pairOf(sockets)
    const piece = randomBytes(64 * 1024)
    let sent = 0
    let crc = 0
    while (client.side.backlog < highWaterBytes) {
      client.side.write(piece)
      sent += piece.length
      crc = crc32(piece, crc)
      await new Promise((resolve) => setImmediate(resolve))
      if (sent > 512 * mebibyte) throw new Error('the backlog does not grow')
    }
    t.notOk(client.told.includes('drain'))
    client.onDrain = () => t.ok(client.side.backlog <= lowWaterBytes)
    server.side.resume()
    await client.untilTold('drain')
    await server.until(() => server.received === sent)
    t.equal(server.crc, crc)
    t.same(client.told, ['drain'])
    t.equal(client.side.backlog, 0)
  })

  check('what the kernel takes at once drains in the same turn', async (t, sockets) => {
    const { client, server } = await pairOf(sockets)
    server.side.resume()
    for (let n = 0; n < highWaterBytes / 1024; n++) client.side.write(new Uint8Array(1024))
    t.equal(client.side.backlog, highWaterBytes)
    await client.untilTold('drain')
    await server.until(() => server.received === highWaterBytes)
  })

  check('no drain below the high water', async (t, sockets) => {
    const { client, server } = await pairOf(sockets)
    server.side.resume()
    client.side.write(new Uint8Array(highWaterBytes - 1))
    await server.until(() => server.received === highWaterBytes - 1)
    await settle(sockets)
    t.same(client.told, [])
  })
}

function bulk(check: Check): void {
  check('64 MiB in each direction at once', async (t, sockets) => {
    const { client, server } = await pairOf(sockets)
    const pieces = Array.from({ length: 16 }, () => randomBytes(mebibyte + 17))
    const total = 64 * mebibyte
    const pump = (peer: Peer): { crc: number } => {
      const state = { crc: 0, sent: 0 }
      const fill = (): void => {
        while (state.sent < total && peer.side.backlog < highWaterBytes) {
          const piece = pieces[state.sent % pieces.length] ?? new Uint8Array(0)
          const bytes = piece.subarray(0, Math.min(piece.length, total - state.sent))
          state.crc = crc32(bytes, state.crc)
          state.sent += bytes.length
          peer.side.write(bytes)
        }
        if (state.sent === total) peer.side.end()
        else peer.onDrain = fill
      }
      fill()
      return state
    }
    client.side.resume()
    server.side.resume()
    const [up, down] = [pump(client), pump(server)]
    await Promise.all([client.untilTold('end'), server.untilTold('end')])
    t.same([server.received, client.received], [total, total])
    t.same([server.crc, client.crc], [up.crc, down.crc])
    await eventually(() => sockets.open === 0, 'both sides close')
  })
}

function reentrancy(check: Check): void {
  check('pausing inside data', async (t, sockets) => {
    const { client, server } = await pairOf(sockets)
    client.side.write(new Uint8Array(mebibyte))
    let calls = 0
    server.onData = () => {
      calls += 1
      server.side.pause()
    }
    for (let n = 1; n <= 3; n++) {
      server.side.resume()
      await server.until(() => calls === n)
      await settle(sockets)
      t.equal(calls, n)
    }
  })

  for (const how of ['reset', 'abandon'] as const) {
    check(`${how} inside data`, async (t, sockets) => {
      const { client, server } = await pairOf(sockets)
      client.side.write(new Uint8Array(mebibyte))
      client.side.end()
      let calls = 0
      server.onData = () => {
        calls += 1
        server.side[how]()
      }
      server.side.resume()
      client.side.resume()
      await client.untilTold('reset')
      await settle(sockets)
      t.equal(calls, 1)
      t.same(server.told, ['data'])
      await eventually(() => sockets.open === 0, 'both sides close')
    })
  }

  check('ending inside end, and resetting inside end', async (t, sockets) => {
    const first = await pairOf(sockets)
    first.server.onEnd = () => {
      first.server.send('bye')
      first.server.side.end()
    }
    first.server.side.resume()
    first.client.side.resume()
    first.client.side.end()
    await first.client.untilTold('end')
    t.equal(first.client.text, 'bye')
    const second = await pairOf(sockets)
    second.server.onEnd = () => second.server.side.reset()
    second.server.side.resume()
    second.client.side.resume()
    second.client.side.end()
    await eventually(() => sockets.open <= 1, 'the server side closes')
    t.same(second.server.told, ['end'])
    second.client.side.reset()
  })

  check('writing inside drain', async (t, sockets) => {
    const { client, server } = await pairOf(sockets)
    let rounds = 0
    client.onDrain = () => {
      rounds += 1
      if (rounds === 20) client.side.end()
      else client.side.write(new Uint8Array(highWaterBytes))
    }
    server.side.resume()
    client.side.write(new Uint8Array(highWaterBytes))
    await server.untilTold('end')
    t.equal(server.received, 20 * highWaterBytes)
  })

  check('writing to another side inside data', async (t, sockets) => {
    const [left, right] = [await pairOf(sockets), await pairOf(sockets)]
    left.server.onData = (bytes) => right.client.side.write(bytes.slice())
    right.server.onData = (bytes) => right.server.side.write(bytes.slice())
    right.client.onData = (bytes) => left.server.side.write(bytes.slice())
    for (const peer of [left.client, left.server, right.client, right.server]) peer.side.resume()
    for (let n = 1; n <= 100; n++) {
      left.client.send('x')
      await left.client.until(() => left.client.received === n)
    }
    t.equal(right.server.received, 100)
    for (const peer of [left.client, left.server, right.client, right.server]) peer.side.reset()
  })
}
