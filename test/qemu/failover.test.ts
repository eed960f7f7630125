import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { AgentConfig } from '../../src/config/types.ts'
import { connectionId, historyId, hostName, lsn } from '../../src/core/ids.ts'
import { RecordKind, type LogRecord } from '../../src/core/record.ts'
import { agentConfig, startAgent } from '../agent/agents.ts'
import { GatewayStub, guest } from '../agent/gateway-stub.ts'
import { DirectClient } from '../guest/direct-client.ts'
import { Console, guestMac, machineWords, qemuHost, type QemuHost } from './guest.ts'
import { guestAddress, Namespace, shortDirectory, TapInNamespace } from './namespace.ts'

// Two real agents and a real guest; the gateway is a stub.

const opened: LogRecord = (
  { kind: RecordKind.open, connection: connectionId(1), service: 0, client: '10.0.0.1:1' })

async function ask(space: Namespace, line: string) {
  const client = await DirectClient.open(space.redis)
  const reply = await client.ask(line)
  client.close()
  return reply
}

function configOf(
  name: string, dataDir: string, host: QemuHost, space: Namespace, console: Console
): AgentConfig {
  return agentConfig(name, dataDir, {
    guests: [{
      engine: 'qemu', name: guest, endpoints: [{ host: guestAddress, port: 6379 }], attach: undefined,
      program: [...space.within, host.qemu], arguments: [...machineWords(host, 96), ...console.words],
      network: { tap: 'guest', bridge: 'guests', mac: guestMac, card: [] }, disks: []
    }]
  })
}

const host = await qemuHost(t)
if (host !== undefined) {
  void t.test('the agent of a backup keeps a QEMU ready and is promoted with it', async t => {
    const dataDir = await shortDirectory(t)
    const [spaceA, spaceB] = [await Namespace.make(t), await Namespace.make(t)]
    const console = await Console.listen(t)
    const networks: TapInNamespace[] = []
    const networkOf = (space: Namespace) => ({ device }: { device: string }) => {
      const network = new TapInNamespace(space, device)
      networks.push(network)
      return network
    }
    const a = await startAgent(t, configOf('a', join(dataDir, 'a'), host, spaceA, console),
      { networkOf: networkOf(spaceA) })
    const b = await startAgent(t, configOf('b', join(dataDir, 'b'), host, spaceB, console),
      { networkOf: networkOf(spaceB) })
    const [, networkB] = networks
    if (networkB === undefined) throw new Error('two agents have two networks')
    const toA = await GatewayStub.connect(a.port, 'a')
    const toB = await GatewayStub.connect(b.port, 'b')
    t.teardown(() => { toB.close() })
    toB.assign({ role: 'backup' })
    await toB.take('position')
    toA.history = toB.history = historyId('aaaaaaaaaaaaaaaa')
    toB.send({ type: 'begin', firstLsn: lsn(1) })
    toB.epoch(1, [opened])
    await toB.take('ack')
    const peer = { peer: hostName('b'), peerAddress: `127.0.0.1:${b.port}` }
    toA.assign({ role: 'primary', boot: true, ...peer, checkpointMs: 0 })
    const running = await toA.take('guest', ({ condition }) => condition === 'running')
    t.same(running.endpoints, [`${guestAddress}:6379`])
    await console.says('tailgate: ready')
    t.equal(await ask(spaceA, 'SET key before'), 'OK')
    t.same(networkB.orders, [], 'nothing is prepared before there is a checkpoint')

    toA.assign({ role: 'primary', ...peer, checkpointMs: 3_600_000 })
    const { checkpoint } = await toA.take('mark-request')
    toB.epoch(2, [{ kind: RecordKind.mark, checkpoint }])
    const prepared = networkB.told('prepare')
    toA.send({ type: 'mark', checkpoint, lsn: lsn(2) })
    await toB.take('counted', counted => counted.checkpoint === checkpoint)
    await prepared
    t.equal(await ask(spaceA, 'SET key after'), 'OK', 'it runs on')

    await a.stop()
    t.notOk(existsSync(join(dataDir, 'a', guest, 'qemu', 'qemu.pid')), 'its guest is gone with it')
    toB.generation = 2
    toB.send({ type: 'promote', lastLsn: lsn(2), acceptLoss: false })
    const promoted = await toB.take('promoted')
    t.match(promoted, { checkpoint, endpoints: [`${guestAddress}:6379`] })
    toB.send({ type: 'open-network' })
    await toB.take('network-open')
    t.equal(await ask(spaceB, 'GET key'), 'before')
    t.same(networkB.orders.filter(order => !order.startsWith('lease')), ['prepare', 'open', 'announce'])
    await b.stop()
    t.notOk(existsSync(join(dataDir, 'b', guest, 'qemu', 'qemu.pid')))
  })
}
