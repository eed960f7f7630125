import { createHash } from 'node:crypto'
import t, { type Test } from 'tap'
import { Client } from './client.ts'
import { Front, modes, replicated } from './front.ts'
import { patternHash, patternOf } from './pattern.ts'
import { Service, type Behaviour } from './service.ts'

// What TCP itself offers to a client and a service is the same with a gateway between them as without one.
// Each case is one function with the same assertions for the direct run and for every mode.

interface Place {
  readonly t: Test
  readonly front: Front
  readonly service: Service
  readonly client: (behaviour: Behaviour) => Client
}

const burstBytes = 64 << 20

const cases: Readonly<Record<string, (place: Place) => Promise<readonly string[]>>> = {
  async 'the client ends first and still gets the answer'({ t, client }) {
    const one = client('digest')
    await one.send(patternOf(0, 100_000))
    one.socket.end()
    const answer = `${patternHash(100_000)} 100000\n`
    const ended = await one.ended
    t.same([ended.bytes, ended.end, ended.error], [answer.length, true, undefined])
    t.equal(ended.hash, createHash('sha256').update(answer).digest('hex'))
    return ['C-']
  },

  async 'the service ends first and still reads'({ t, client, service }) {
    const one = client('farewell')
    await one.outputEnded
    t.equal(one.bytes, 'farewell\n'.length)
    t.notOk(one.socket.destroyed, 'the other direction is open')
    await one.send(patternOf(0, 300_000))
    one.socket.end()
    t.equal(await service.saw('read', 'farewell'), `${patternHash(300_000)} 300000\n`)
    t.equal((await one.ended).error, undefined)
    return ['S-']
  },

  async 'the client ends without a word'({ t, client, service }) {
    const one = client('echo')
    await one.connected()
    one.socket.end()
    const ended = await one.ended
    t.same([ended.bytes, ended.end, ended.error], [0, true, undefined])
    t.equal(await service.saw('close', 'echo'), '0')
    return ['C-']
  },

  async 'the service resets'({ t, client }) {
    const one = client('reset')
    await one.send('anything')
    const ended = await one.ended
    t.same([ended.bytes, ended.end, ended.error], [0, false, 'ECONNRESET'])
    return ['S[DH]']
  },

  async 'the client resets'({ t, client, service }) {
    const one = client('echo')
    await one.send('anything')
    await one.received(8)
    one.socket.resetAndDestroy()
    t.equal(await service.saw('error', 'echo'), 'ECONNRESET')
    t.equal(await service.saw('close', 'echo'), '8')
    return ['C[DH]']
  },

  async 'the client resets in the middle of a large answer'({ t, client, service }) {
    const one = client('source')
    await one.send(String(burstBytes))
    await one.received(1_000_000)
    one.socket.resetAndDestroy()
    t.match(await service.saw('error', 'source'), /^(ECONNRESET|EPIPE)$/)
    return ['C[DHL]']
  },

  async 'single bytes arrive as single bytes and as what they are'({ t, client }) {
    const one = client('echo')
    const rounds = 200
    for (let i = 0; i < rounds; i++) await one.send(patternOf(i, 1))
    one.socket.end()
    const ended = await one.ended
    t.same([ended.hash, ended.bytes, ended.error], [patternHash(rounds), rounds, undefined])
    return ['C-']
  },

  async 'a burst to the service'({ t, client }) {
    const one = client('digest')
    for (let at = 0; at < burstBytes; at += 1 << 20) await one.send(patternOf(at, 1 << 20))
    one.socket.end()
    const answer = `${patternHash(burstBytes)} ${burstBytes}\n`
    t.equal((await one.ended).hash, createHash('sha256').update(answer).digest('hex'))
    return ['C-']
  },

  async 'a burst to the client'({ t, client }) {
    const one = client('source')
    await one.send(String(burstBytes))
    await one.outputEnded
    one.socket.end()
    const ended = await one.ended
    t.same([ended.bytes, ended.error], [burstBytes, undefined])
    t.equal(ended.hash, patternHash(burstBytes))
    return ['S-']
  },

  async 'a burst both ways at once'({ t, client }) {
    const one = client('echo')
    const bytes = 16 << 20
    for (let at = 0; at < bytes; at += 1 << 20) await one.send(patternOf(at, 1 << 20))
    one.socket.end()
    const ended = await one.ended
    t.same([ended.bytes, ended.error, ended.hash], [bytes, undefined, patternHash(bytes)])
    return ['C-']
  }
}

for (const mode of modes) {
  void t.test(`transport, ${mode}`, async (t) => {
    const service = await Service.start(t)
    const front = await Front.start(t, mode, service.behind)
    let connections = 0
    for (const [title, act] of Object.entries(cases)) {
      await t.test(title, async (t) => {
        service.forget()
        const client = (behaviour: Behaviour): Client =>
          new Client(t, front.ports[service.behaviours.indexOf(behaviour)] ?? 0)
        const codes = await act({ t, front, service, client })
        if (mode === 'direct') return
        await front.ended(connections + codes.length)
        const ends = front.ends.slice(connections).map(({ end }) => end)
        t.match(ends, codes.map((code) => new RegExp(`^${code}$`)), `termination codes ${ends.join(' ')}`)
        connections += codes.length
      })
    }
    await front.settled(t, connections)
    if (!replicated.has(mode)) return
    t.equal((await front.guest()).heldBytes, 0)
  })
}
