import t, { type Test } from 'tap'
import { Station } from '../../engine/tap-network/ethernet.ts'
import { addressOf, NetworkLab } from '../network-lab.ts'
import { LineClient, startEcho } from '../stations.ts'
import { everybody, numbered } from '../frames.ts'

const near = '52:54:00:00:01:01'

/** A station on the network of the services, and what the line to the gateway has carried of it. */
async function shaped(t: Test): Promise<{ readonly lab: NetworkLab, readonly station: Station }> {
  const lab = await NetworkLab.create(t, { hosts: [], shaped: ['service'] })
  const station = Station.on(t, 'service', 'station', near)
  return { lab, station }
}

void t.test('a line without delay and loss carries everything', async (t) => {
  const { lab } = await shaped(t)
  const at = addressOf('gateway', 'service')
  await startEcho(lab.machine('gateway'), at, 7000)
  const client = await LineClient.open(t, at, 7000)
  t.equal(await client.line(), addressOf('clients', 'service'))
  const long = 'x'.repeat(200_000)
  client.say(long)
  t.equal(await client.line(), long)
  const { passed, lost } = await lab.count('gateway', 'service')
  t.ok(passed > 200)
  t.equal(lost, 0)
})

void t.test('a line loses the part that it is told, and nothing passes one that loses all', async (t) => {
  const { lab, station } = await shaped(t)
  await lab.shape('gateway', 'service', { loss: 0.25 })
  const before = await lab.count('gateway', 'service')
  const frames = 2000
  let sent = 0
  const seen = async (): Promise<number> => {
    const { passed, lost } = await lab.count('gateway', 'service')
    return passed + lost - before.passed - before.lost
  }
  while (sent < frames) {
    for (let n = 0; n < 100; n++) station.device.send(numbered(near, everybody, ++sent))
    while (await seen() < sent) continue
  }
  const after = await lab.count('gateway', 'service')
  const lost = after.lost - before.lost
  t.ok(lost > frames * 0.2 && lost < frames * 0.3, `${lost} of ${frames} were lost`)
  t.equal(after.overrun, before.overrun)
  await lab.shape('gateway', 'service', { loss: 1 })
  const { passed } = await lab.count('gateway', 'service')
  station.device.send(numbered(near, everybody, ++sent))
  while ((await lab.count('gateway', 'service')).lost === after.lost) continue
  t.equal((await lab.count('gateway', 'service')).passed, passed)
})

void t.test('a line with a delay brings later what was sent before', async (t) => {
  const { lab, station } = await shaped(t)
  const count = () => lab.count('gateway', 'service')
  // The devices are new, and their kernels have something to say.
  await lab.shape('gateway', 'service', { loss: 1 })
  const { overrun, ...before } = await count()
  let { passed } = before
  station.send(1)
  while ((await count()).lost === 0) continue
  await lab.shape('gateway', 'service', { delayMs: 600_000, jitterMs: 20 })
  for (let n = 0; n < 50; n++) station.send(n)
  while ((await count()).onTheWay < 50) continue
  t.equal((await count()).passed, passed, 'all of them are on their way, and none has arrived')
  t.equal((await count()).overrun, overrun)
  await lab.shape('gateway', 'service', { delayMs: 0 })
  await lab.kill('gateway')
  await lab.boot('gateway')
  await startEcho(lab.machine('gateway'), addressOf('gateway', 'service'), 7000)
  const client = await LineClient.open(t, addressOf('gateway', 'service'), 7000)
  await client.line()
  await lab.shape('gateway', 'service', { delayMs: 50, jitterMs: 10 })
  passed = (await count()).passed
  client.say('one')
  client.say('two')
  while ((await count()).onTheWay === 0) continue
  t.equal(client.unread, '')
  t.equal(await client.line(), 'one')
  t.equal(await client.line(), 'two')
  t.ok((await count()).passed > passed)
})
