import t, { type Test } from 'tap'
import { servicePort, type Cluster } from '../../lab/cluster.ts'
import { Chronicle } from '../chronicle.ts'
import { redisCluster } from '../lab-load.ts'

/*
 * A service that never answers alike, in both modes of release. In mode `checkpoint` a failover is exact, for
 * nothing that was told is ever made again; in mode `epoch` it is found out, and resets who was told.
 *
 *     checkpoint │ asked, carried out, answered │ the host dies
 *                │ mode checkpoint: the answer waits for the next checkpoint; made anew, and told once
 *                │ mode epoch:      the answer was told; made anew it is another one: reset
 */

const exactPort = servicePort
const quickPort = servicePort + 1
const services = [
  { name: 'exact', port: exactPort, release: 'checkpoint' },
  { name: 'quick', port: quickPort, release: 'epoch' }
] as const
const clients = 4

function open(t: Test, name: string, port: number): Promise<readonly Chronicle[]> {
  return Promise.all(Array.from({ length: clients }, (_, n) => Chronicle.open(t, `${name}:${n}`, port)))
}

function each<T>(those: readonly Chronicle[], call: (one: Chronicle) => Promise<T>): Promise<readonly T[]> {
  return Promise.all(those.map(call))
}

void t.test('a service that never answers alike', async (t) => {
  const cluster = await redisCluster(t, { hosts: ['host-a', 'host-b', 'host-c'], services })
  const exact = await open(t, 'exact', exactPort)
  const writing = each(exact, (one) => one.writeOn())
  writing.catch(() => undefined)
  await t.test('release: checkpoint is exact', (t) => failOverExactly(t, cluster, exact))
  await t.test('release: epoch resets who was told, and says so', (t) => diverge(t, cluster))
  for (const one of exact) one.stop()
  await writing
  for (const one of exact) {
    t.same(await one.read(), one.told, 'the guest knows all that was told in mode checkpoint, and no more')
    t.same(one.unasked, [])
  }
})

async function failOverExactly(t: Test, cluster: Cluster, exact: readonly Chronicle[]): Promise<void> {
  const { log } = cluster
  await each(exact, (one) => one.more(2))
  await log.next('checkpoint.counted')
  // What is held now is in no checkpoint, and it takes seconds until one counts that has it.
  while ((await cluster.status()).heldBytes === 0) continue
  const isProtected = log.next('guest.protected')
  const done = await cluster.failOverFrom('host-a')
  t.match(done, { kept: clients, reset: 0 })
  t.ok(Number(done.replayedBytes) > 0, 'what they had asked was carried out anew')
  await each(exact, (one) => one.more(2))
  t.same(log.all('connection.diverged'), [])
  t.same(log.all('guest.diverged'), [])
  t.match(await cluster.status(), { divergence: { diverged: false, connections: 0 } })
  await isProtected
}

async function diverge(t: Test, cluster: Cluster): Promise<void> {
  const { log } = cluster
  const quick = await open(t, 'quick', quickPort)
  const counter = await cluster.client(t, quickPort)
  let count = 0
  const increase = async (): Promise<void> => {
    const reply = `:${count += 1}\r\n`
    t.equal(await counter.ask('INCR counter', reply), reply)
  }
  // Each is to have been told something since the newest checkpoint.
  for (let counted = -1; counted !== log.all('checkpoint.counted').length;) {
    counted = log.all('checkpoint.counted').length
    await Promise.all([each(quick, (one) => one.write()), increase()])
  }
  const told = quick.map((one) => [...one.told])
  const from = log.count
  t.match(await cluster.failOverFrom('host-b'), { kept: clients + 1, reset: clients })
  await each(quick, (one) => one.lost())
  t.same(quick.map((one) => [one.told, one.unasked]), told.map((one) => [one, []]), 'not one byte came')

  const reset = { service: 'quick' }
  t.match(log.all('connection.diverged'), quick.map(() => reset))
  t.match(log.all('connection.end', from), quick.map(() => ({ ...reset, end: 'DR' })))
  t.match(log.all('guest.diverged'), [{ guest: 'guest', generation: 3, policy: 'reset' }])
  t.match(await cluster.status(), { divergence: { diverged: true, connections: clients } })
  await increase()
  const after = await Chronicle.open(t, 'after', quickPort)
  for (const one of quick) {
    const has = await after.read(one)
    t.equal(Array.isArray(has) && has.length, one.told.length, 'all that was asked was carried out anew')
    t.notSame(has, one.told, 'and is not what was told')
  }
}
