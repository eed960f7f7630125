import type { Test } from 'tap'
import { checkpointId, lsn } from '../../src/core/ids.ts'
import type { Message } from '../../src/core/message.ts'
import type { LinkLimits } from '../../src/link/limits.ts'
import { comparable } from './arbitraries.ts'
import { envelope, type Pair } from './peers.ts'

/** Makes a link between gateway `gw` and agent `a1`, up at both ends. */
export type PairFactory = (limits?: Partial<LinkLimits>) => Promise<Pair>

type Case = (t: Test, connect: PairFactory) => Promise<void>

const checkpointData = (n: number, bytes: number): Message => ({
  type: 'checkpoint-data', checkpoint: checkpointId(n), bytes: Buffer.alloc(bytes, n)
})

/** What every kind of link must do, whatever carries it. */
const cases: Readonly<Record<string, Case>> = {
  async 'both ends know who the other is'(t, connect) {
    const { gateway, agent, close } = await connect()
    t.strictSame(gateway.up.peer, { name: 'a1', role: 'agent' })
    t.strictSame(agent.up.peer, { name: 'gw', role: 'gateway' })
    await close()
  },

  async 'messages pass in both directions, with their envelopes'(t, connect) {
    const { gateway, agent, close } = await connect()
    gateway.up.send(envelope, { type: 'heartbeat-ack', n: 7 })
    await agent.received(1)
    t.strictSame(agent.messages, [{ envelope, message: { type: 'heartbeat-ack', n: 7 } }])
    const other = { ...envelope, guest: 'päyments' }
    agent.up.send(other, { type: 'ack', lsn: lsn(12) })
    agent.up.send(envelope, { type: 'ack', lsn: lsn(13) })
    await gateway.received(2)
    t.strictSame(gateway.messages, [
      { envelope: other, message: { type: 'ack', lsn: 12 } },
      { envelope, message: { type: 'ack', lsn: 13 } }
    ])
    await close()
  },

  async 'an epoch of 1 MiB in 1000 slices arrives whole'(t, connect) {
    const { gateway, agent, close } = await connect()
    const records = Array.from({ length: 1000 }, (_, n) => Buffer.alloc(n % 2 === 0 ? 1049 : 1048, n))
    const epoch: Message = { type: 'epoch', firstLsn: lsn(1), lastLsn: lsn(1000), records }
    gateway.up.send(envelope, epoch)
    await agent.received(1)
    const arrived = agent.messages[0]?.message
    t.ok(arrived !== undefined)
    if (arrived !== undefined) t.strictSame(comparable(arrived), comparable(epoch))
    await close()
  },

  async 'order and wholeness hold under backlog, and drained() holds it down'(t, connect) {
    const high = 2 * 1024 * 1024
    const { gateway, agent, close } = await connect({ backlogHighBytes: high, backlogLowBytes: 512 * 1024 })
    const piece = 700_000
    let most = 0
    for (let n = 1; n <= 60; n++) {
      await agent.up.drained()
      most = Math.max(most, agent.up.backlog)
      agent.up.send(envelope, checkpointData(n, piece))
      agent.up.send(envelope, { type: 'ack', lsn: lsn(n) })
    }
    await gateway.received(120)
    t.ok(most <= high, 'never above the high-water mark when drained() resolved')
    for (let n = 1; n <= 60; n++) {
      const data = gateway.messages[2 * n - 2]?.message
      const whole = data?.type === 'checkpoint-data' && data.checkpoint === n
        && data.bytes.length === piece && data.bytes.every(byte => byte === n)
      t.ok(whole, `piece ${n}`)
      t.match(gateway.messages[2 * n - 1]?.message, { type: 'ack', lsn: n })
    }
    await close()
  },

  async 'drained() waits while the other side does not take anything'(t, connect) {
    const { gateway, agent, close } = await connect({ backlogHighBytes: 65_536, backlogLowBytes: 1024 })
    await agent.up.drained()
    gateway.up.pause()
    for (let n = 1; n <= 40; n++) agent.up.send(envelope, checkpointData(n, 1_000_000))
    t.ok(agent.up.backlog > 65_536)
    let drained = false
    const waiting = agent.up.drained().then(() => { drained = true })
    t.equal(drained, false)
    gateway.up.resume()
    await waiting
    t.ok(agent.up.backlog <= 1024)
    await gateway.received(40)
    await close()
  },

  async 'closing lets what is queued arrive'(t, connect) {
    const { gateway, agent, close } = await connect()
    for (let n = 1; n <= 10; n++) agent.up.send(envelope, checkpointData(n, 1_000_000))
    agent.up.close()
    agent.up.send(envelope, { type: 'stale' })
    t.match(await gateway.ended, { code: 'E_LINK_LOST' })
    t.match(await agent.ended, { code: 'E_LINK_LOST' })
    t.equal(gateway.messages.length, 10, 'all before the close, none after')
    await close()
  },

  async 'drained() rejects at the end'(t, connect) {
    const { gateway, agent, close } = await connect({ backlogHighBytes: 65_536, closeMs: 50 })
    gateway.up.pause()
    for (let n = 1; n <= 40; n++) agent.up.send(envelope, checkpointData(n, 1_000_000))
    const waiting = agent.up.drained()
    agent.up.close()
    await t.rejects(waiting, { code: 'E_LINK_LOST' })
    await t.rejects(agent.up.drained(), { code: 'E_LINK_LOST' })
    await agent.ended
    gateway.up.resume()
    await gateway.ended
    await close()
  },

  async 'a sender that does not care loses the link at the limit'(t, connect) {
    const { gateway, agent, close } = await connect({ backlogBytesMax: 3_000_000 })
    gateway.up.pause()
    for (let n = 1; n <= 40; n++) agent.up.send(envelope, checkpointData(n, 1_000_000))
    t.match(await agent.ended, { code: 'E_LINK_LOST', message: /takes too little/ })
    t.ok(agent.up.backlog < 5_000_000)
    gateway.up.resume()
    await gateway.ended
    await close()
  },

  async 'no message is heard after closing'(t, connect) {
    const { gateway, agent, close } = await connect()
    gateway.onMessage = () => gateway.up.close()
    for (let n = 1; n <= 5; n++) agent.up.send(envelope, { type: 'ack', lsn: lsn(n) })
    await gateway.ended
    await agent.ended
    t.equal(gateway.messages.length, 1)
    await close()
  },

  async 'a silent peer is noticed'(t, connect) {
    const { gateway, agent, close } = await connect({ pingMs: 20, pingMisses: 3 })
    gateway.up.pause()
    t.match(await agent.ended, { code: 'E_LINK_LOST', message: /silent/ })
    gateway.up.resume()
    await gateway.ended
    await close()
  },

  async 'an idle link outlives a silent one'(t, connect) {
    const limits = { pingMs: 20, pingMisses: 3 }
    const idle = await connect(limits)
    const silent = await connect(limits)
    silent.gateway.up.pause()
    await silent.agent.ended
    idle.gateway.up.send(envelope, { type: 'heartbeat-ack', n: 1 })
    await idle.agent.received(1)
    t.equal(idle.agent.messages.length, 1, 'and nobody above the link saw its pings')
    t.equal(idle.gateway.messages.length, 0)
    silent.gateway.up.resume()
    await silent.gateway.ended
    await silent.close()
    await idle.close()
  }
}

/** Runs the suite on the links that `connect` makes. */
export function linkCompliance(suite: Test, connect: PairFactory): void {
  for (const [name, run] of Object.entries(cases)) {
    void suite.test(name, test => run(test, connect))
  }
}
