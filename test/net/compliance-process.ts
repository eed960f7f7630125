import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fstatSync, openSync, readdirSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { messageOf, TailgateError } from '../../src/base/errors.ts'
import { targetOf } from '../../src/net/address.ts'
import { DescriptorRoom as Room } from '../../src/net/descriptor-room.ts'
import { drainReads, type DrainResult } from '../../src/net/drain-reads.ts'
import { libc } from '../../src/net/libc.ts'
import { newSocket } from '../../src/net/tcp-repair.ts'
import { mebibyte, type Check, type MakeSockets } from './check.ts'
import { Door, eventually, pairOf, Peer, settle } from './peer.ts'

/** What a child says of a descriptor. */
type Adopted = { readonly local: string, readonly remote: string } | { readonly refused: string }

/** Listeners: what they refuse and what outlives them. */
export function listening(check: Check, make: MakeSockets): void {
  check('listening on a port that is taken', async (t, sockets) => {
    const door = await new Door().open(sockets)
    const { port } = door.listener
    const again = sockets.listen({
      host: '127.0.0.1', port, accepted: () => undefined, trouble: () => undefined
    })
    await t.rejects(again, { code: 'E_LISTEN', message: /127\.0\.0\.1:\d+: another program/ })
    await door.close()
    const after = await sockets.listen({
      host: '127.0.0.1', port, accepted: () => undefined, trouble: () => undefined
    })
    t.equal(after.port, port, 'it can be had again at once')
    await after.close()
  })

  check('listening on an address that is not there', async (t, sockets) => {
    const options = { port: 0, accepted: () => undefined, trouble: () => undefined }
    await t.rejects(sockets.listen({ ...options, host: '192.0.2.1' }), { code: 'E_LISTEN' })
  })

  check('accepted connections outlive their listener', async (t, sockets) => {
    const door = await new Door().open(sockets)
    const client = new Peer(await sockets.dial('127.0.0.1', door.listener.port, { timeoutMs: 5000 }))
    const server = await door.peer(0)
    await door.close()
    await t.rejects(sockets.dial('127.0.0.1', door.listener.port, { timeoutMs: 5000 }), { code: 'E_ATTACH' })
    server.side.resume()
    client.send('still here')
    await server.until(() => server.received === 10)
  })

  check('clients are reset, and it is said once, when there is no room', async (t, sockets) => {
    const small = make(new Room(3))
    const door = await new Door().open(small)
    const dialled = async (): Promise<Peer> =>
      new Peer(await sockets.dial('127.0.0.1', door.listener.port, { timeoutMs: 5000 }))
    for (let n = 0; n < 3; n++) await dialled()
    await door.peer(2)
    for (let n = 0; n < 3; n++) {
      // The reset may come before this side has seen the connection made.
      const turnedAway = await dialled().catch((error: unknown) => error)
      if (turnedAway instanceof Peer) {
        turnedAway.side.resume()
        await turnedAway.untilTold('reset')
      } else {
        t.match(turnedAway, { code: 'E_ATTACH', context: { code: 'ECONNRESET' } })
      }
    }
    t.equal(door.accepted.length, 3)
    t.equal(door.troubles.length, 1)
    t.match(door.troubles[0], /3 connections are open/)
    for (const peer of door.accepted) peer.side.reset()
    await eventually(() => small.open === 0, 'the room is free again')
    const more = await dialled()
    const served = await door.peer(3)
    served.side.reset()
    more.side.resume()
    await more.untilTold('reset')
    await door.close()
  })
}

/** Why no socket can be made by calls of the C library here; false if one can. */
function whyNoCalls(): string | false {
  try {
    libc()
    return false
  } catch (error) {
    return messageOf(error)
  }
}

/** Connections made: refused, unanswered, from an address, without room. */
export function dialling(check: Check, make: MakeSockets): void {
  check('nobody listens', async (t, sockets) => {
    const door = await new Door().open(sockets)
    const { port } = door.listener
    await door.close()
    const refused = sockets.dial('127.0.0.1', port, { timeoutMs: 5000 })
    await t.rejects(refused, { code: 'E_ATTACH', context: { code: 'ECONNREFUSED' } })
    await eventually(() => sockets.open === 0, 'its descriptor is given back')
  })

  const skip = process.platform === 'linux' ? false : 'needs the way Linux ignores a full listener'
  check('a host that neither takes nor refuses', async (t, sockets) => {
    const listen = "require('net').createServer().listen({ host: '127.0.0.1', port: 0, backlog: 1 }, "
      + 'function () { console.log(this.address().port) })'
    const child = spawn(process.execPath, ['-e', listen], { stdio: ['ignore', 'pipe', 'inherit'] })
    t.teardown(() => child.kill('SIGKILL'))
    const [line] = await once(child.stdout, 'data') as [Buffer]
    child.kill('SIGSTOP')
    const dials = Array.from({ length: 8 }, () =>
      sockets.dial('127.0.0.1', Number(line.toString()), { timeoutMs: 300 }))
    const failures: unknown[] = []
    for (const outcome of await Promise.allSettled(dials)) {
      if (outcome.status === 'fulfilled') outcome.value.reset()
      else failures.push(outcome.reason)
    }
    t.ok(failures.length > 0)
    for (const failure of failures) t.match(failure, { code: 'E_TIMEOUT', message: /within 300 ms/ })
  }, skip)

  check('from a local address', async (t, sockets) => {
    const door = await new Door().open(sockets)
    const { port } = door.listener
    const side = await sockets.dial('127.0.0.1', port, { timeoutMs: 5000, localAddress: '127.0.0.1' })
    t.match(side.local, /^127\.0\.0\.1:/)
    side.reset()
    const foreign = sockets.dial('127.0.0.1', port, { timeoutMs: 5000, localAddress: '192.0.2.1' })
    await t.rejects(foreign, { code: 'E_ATTACH', context: { code: 'EADDRNOTAVAIL' } })
    const server = await door.peer(0)
    server.side.reset()
    await door.close()
    await eventually(() => sockets.open === 0, 'their descriptors are given back')
  })

  check('with a socket that the caller makes, or cannot make', async (t, sockets) => {
    const door = await new Door().open(sockets)
    const { port } = door.listener
    for (const [n, host] of ['127.0.0.1', 'localhost'].entries()) {
      const descriptors: number[] = []
      const makeSocket = (family: 4 | 6): number => {
        descriptors.push(newSocket(family))
        return descriptors[0] ?? -1
      }
      const client = new Peer(await sockets.dial(host, port, { timeoutMs: 5000, makeSocket }))
      t.same(descriptors, [client.side.descriptor])
      const server = await door.peer(n)
      client.send('there')
      server.side.resume()
      await server.until(() => server.received === 5)
      server.send('and back')
      client.side.resume()
      await client.until(() => client.received === 8)
      client.side.reset()
      server.side.reset()
    }
    const makeSocket = (): never => { throw new TailgateError('E_ATTACH', 'no socket today') }
    const none = sockets.dial('127.0.0.1', port, { timeoutMs: 5000, makeSocket })
    await t.rejects(none, { code: 'E_ATTACH', message: 'no socket today' })
    await door.close()
    await eventually(() => sockets.open === 0, 'their descriptors are given back')
  }, whyNoCalls())

  check('a side is read from its first turn when it is resumed then, and paused else', async (t, sockets) => {
    const door = await new Door().open(sockets)
    door.onAccepted = (peer) => { peer.send('hello') }
    const made = (resumed: boolean): Promise<Peer> => new Promise((resolve, reject) => {
      sockets.connect(targetOf('127.0.0.1', door.listener.port), { timeoutMs: 5000 }, {
        connected: (side) => {
          const peer = new Peer(side)
          if (resumed) side.resume()
          resolve(peer)
        },
        failed: reject
      })
    })
    const paused = await made(false)
    const read = await made(true)
    await read.until(() => read.received === 5)
    await settle(sockets)
    t.equal(paused.received, 0)
    paused.side.resume()
    await paused.until(() => paused.received === 5)
    read.side.pause()
    const server = await door.peer(1)
    server.send(' again')
    await settle(sockets)
    t.equal(read.received, 5)
    read.side.resume()
    await read.until(() => read.received === 11)
  })

  check('a connection is told of in a later turn, also when it fails at once', async (t, sockets) => {
    let called = false
    const failed = new Promise<unknown>((resolve) => {
      const options = { timeoutMs: 5000, localAddress: '192.0.2.1' }
      sockets.connect(targetOf('127.0.0.1', 1), options, {
        connected: () => resolve('connected'),
        failed: (error) => {
          t.ok(called)
          resolve(error)
        }
      })
      called = true
    })
    t.match(await failed, { code: 'E_ATTACH', context: { code: 'EADDRNOTAVAIL' } })
  })

  check('a dial that is given up is told to nobody, and one that was told goes on', async (t, sockets) => {
    const door = await new Door().open(sockets)
    const { port } = door.listener
    let told = 0
    const nobody = { connected: () => { told += 1 }, failed: () => { told += 1 } }
    const [plain, named] = [targetOf('127.0.0.1', port), targetOf('localhost', port)]
    for (const target of [plain, named]) {
      sockets.connect(target, { timeoutMs: 5000 }, nobody).cancel()
      sockets.connect(target, { timeoutMs: 5000, localAddress: '192.0.2.1' }, nobody).cancel()
    }
    door.onAccepted = (peer) => { peer.send('hello') }
    // Looked up after the ones that were given up.
    const client = await new Promise<Peer>((resolve, reject) => {
      const dialing = sockets.connect(named, { timeoutMs: 5000 }, {
        connected: (side) => {
          dialing.cancel()
          resolve(new Peer(side))
        },
        failed: reject
      })
    })
    client.side.resume()
    await client.until(() => client.received === 5)
    await settle(sockets)
    t.equal(told, 0)
  })

  check('by name', async (t, sockets) => {
    const door = await new Door().open(sockets)
    const side = await sockets.dial('localhost', door.listener.port, { timeoutMs: 5000 })
    t.match(side.remote, `:${door.listener.port}`)
    side.reset()
    const server = await door.peer(0)
    server.side.reset()
    await door.close()
  })

  check('no room to dial', async (t) => {
    const small = make(new Room(2))
    const { client, server } = await pairOf(small)
    await t.rejects(small.dial('127.0.0.1', 1, { timeoutMs: 5000 }), { code: 'E_ATTACH' })
    client.side.reset()
    server.side.reset()
    await eventually(() => small.open === 0, 'both sides close')
  })
}

/** Descriptors that another process made. */
export function adopting(check: Check): void {
  const program = fileURLToPath(new URL('adopter.ts', import.meta.url))
  /** What a child says of descriptors 3 and on, to which `passed` are handed. */
  const childWith = async (
    t: Test, name: string, sidesMax: number, passed: readonly (Socket | 'pipe' | 'ignore')[]
  ): Promise<{ said: readonly Adopted[], end(): void }> => {
    const args = ['--import=tsx', program, name, String(sidesMax), ...passed.map((_, n) => String(n + 3))]
    const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit', ...passed] })
    t.teardown(() => child.kill('SIGKILL'))
    const [line] = await once(child.stdout as Readable, 'data') as [Buffer]
    return { said: JSON.parse(line.toString()) as Adopted[], end: () => child.stdin?.end() }
  }
  const socketTo = async (door: Door): Promise<Socket> => {
    const socket = connect({ host: '127.0.0.1', port: door.listener.port, allowHalfOpen: true })
    socket.pause()
    await once(socket, 'connect')
    return socket
  }

  check('a connected descriptor becomes a side', async (t, sockets) => {
    const door = await new Door().open(sockets)
    const [echoed, cut] = [await socketTo(door), await socketTo(door)]
    const ports = [echoed.localPort, cut.localPort]
    const child = await childWith(t, sockets.name, 10, [echoed, cut])
    // The connections live on in the child.
    for (const socket of [echoed, cut]) socket.destroy()
    t.same(child.said, ports.map((port) =>
      ({ local: `127.0.0.1:${port ?? 0}`, remote: door.listener.address })))
    const [one, two] = [await door.peer(0), await door.peer(1)]
    for (const peer of [one, two]) peer.side.resume()
    one.side.write(new Uint8Array(3 * mebibyte))
    await one.until(() => one.received === 3 * mebibyte)
    one.side.end()
    await one.untilTold('end')
    t.same(one.told.filter((what) => what !== 'drain'), ['data', 'end'])
    two.send('hello')
    await two.until(() => two.received === 5)
    child.end()
    await two.untilTold('reset')
  })

  check('descriptors that cannot be taken over', async (t, sockets) => {
    const door = await new Door().open(sockets)
    const child = await childWith(t, sockets.name, 2, [
      'pipe', await socketTo(door), await socketTo(door), await socketTo(door)])
    const [pipe, first, second, third] = child.said
    t.match(pipe, { refused: /^descriptor 3 cannot be taken over: it is (not a TCP|a) socket/ })
    t.match([first, second], [{ remote: door.listener.address }, { remote: door.listener.address }])
    t.match(third, { refused: /^descriptor 6 cannot be taken over: as many connections are open/ })
    child.end()

    const file = openSync(program, 'r')
    const listener = createServer().listen(0, '127.0.0.1')
    t.teardown(() => listener.close())
    await once(listener, 'listening')
    const { fd } = (listener as unknown as { _handle: { fd: number } })._handle
    const refused = { code: 'E_ATTACH' }
    t.throws(() => sockets.adopt(file), { ...refused, message: /it is not a TCP socket/ })
    t.throws(() => fstatSync(file), { code: 'EBADF' }, 'what is refused is closed')
    t.throws(() => sockets.adopt(file), refused)
    t.throws(() => sockets.adopt(-1), { ...refused, message: /it is not open in this process/ })
    t.throws(() => sockets.adopt(fd), { ...refused, message: /something else in this process/ })
    t.ok(fstatSync(fd).isSocket(), 'what something else has is not closed')
    await eventually(() => sockets.open === 3, 'no place is kept for them')
  })
}

/** Many connections, one after another. */
export function churn(check: Check): void {
  const descriptors = (): number => readdirSync('/proc/self/fd').length
  const skip = process.platform === 'linux' ? false : 'counts descriptors in /proc'
  check('thousands of connections leave no descriptor behind', async (t, sockets) => {
    const door = await new Door().open(sockets)
    door.onAccepted = (peer) => {
      const n = door.accepted.length
      peer.onData = (bytes) => peer.side.write(bytes.slice())
      peer.onEnd = () => n % 4 === 0 ? peer.side.reset() : peer.side.end()
      peer.side.resume()
    }
    // What an earlier check left behind closes in a turn of its own, and must not be counted here.
    await eventually(() => sockets.open === 0, 'the sides of earlier checks close')
    const before = descriptors()
    const one = async (n: number): Promise<void> => {
      const client = new Peer(await sockets.dial('127.0.0.1', door.listener.port, { timeoutMs: 5000 }))
      client.side.resume()
      client.send('ping')
      await client.until(() => client.received === 4)
      if (n % 3 === 0) client.side.reset()
      else {
        client.side.end()
        await client.until(() => client.told.includes('end') || client.told.includes('reset'))
      }
    }
    for (let n = 0; n < 3000; n += 100) {
      await Promise.all(Array.from({ length: 100 }, (_, i) => one(n + i)))
    }
    await eventually(() => sockets.open === 0, 'all sides close')
    t.equal(door.accepted.length, 3000)
    await eventually(() => descriptors() <= before, 'every descriptor is closed')
    await door.close()
  }, skip)
}

/** Reading what the kernel holds, before a failover. */
export function draining(check: Check): void {
  const drained = (peers: readonly Peer[], bytesMax: number): Promise<DrainResult> =>
    new Promise((resolve) => {
      drainReads(peers.map(({ side }) => side), { bytesMax, roundsMax: 1000 }, resolve)
    })

  check('draining reads what the kernel holds, and pauses', async (t, sockets) => {
    const pairs = await Promise.all(Array.from({ length: 20 }, () => pairOf(sockets)))
    for (const [n, { client }] of pairs.entries()) {
      client.side.write(new Uint8Array(n * 10_000))
      if (n % 2 === 0) client.side.end()
    }
    await settle(sockets)
    const result = await drained(pairs.map(({ server }) => server), 64 * mebibyte)
    t.equal(result.bytes, 10_000 * 190)
    t.ok(result.complete)
    for (const [n, { server }] of pairs.entries()) t.equal(server.received, n * 10_000)
    for (const [n, { client }] of pairs.entries()) if (n % 2 === 1) client.send('more')
    await settle(sockets)
    const again = await drained([], 1)
    t.same([again.bytes, again.complete], [0, true])
    for (const { client, server } of pairs) {
      client.side.reset()
      server.side.reset()
    }
  })

  check('draining in a callback, and with a limit', async (t, sockets) => {
    const { client, server } = await pairOf(sockets)
    const sent = 2 * mebibyte
    client.side.write(new Uint8Array(sent))
    await settle(sockets)
    const first = await new Promise<DrainResult>((resolve) => {
      server.onData = () => {
        server.onData = undefined
        drainReads([server.side], { bytesMax: 1000, roundsMax: 1000 }, resolve)
      }
      server.side.resume()
    })
    t.notOk(first.complete)
    const held = server.received
    await settle(sockets)
    t.equal(server.received, held, 'it is paused')
    server.side.resume()
    await server.until(() => server.received === sent)
  })
}
