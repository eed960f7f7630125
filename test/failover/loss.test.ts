import t, { type Test } from 'tap'
import type { Client } from './client.ts'
import { Lab } from './lab.ts'

// What cannot be saved is known, said, and never wrong: lost guests and diverged ones.

void t.test('a primary that dies while syncing is lost, until an operator accepts it', async (t) => {
  const lab = await Lab.alone(t, { faulty: { a: {} } })
  const old = await lab.client()
  t.equal(await old.ask('SET kept 1', '+OK\r\n'), '+OK\r\n')
  await lab.bringBack('b')
  t.equal(await old.ask('SET lost 1', '+OK\r\n'), '+OK\r\n')
  lab.order('a', { guest: { hangInCheckpoint: true } })
  const unprotected = lab.log.next('guest.unprotected')
  lab.links.b.cut()
  await unprotected
  const syncing = lab.log.next('guest.syncing')
  lab.links.b.mend()
  await syncing
  const lost = lab.log.next('guest.lost')
  await lab.killHost('a')
  await lost
  t.match(await lab.status(), { generation: 1, protection: { state: 'lost', todo: /--accept-loss/ } })
  t.same(lab.log.all('failover.began'), [], 'nothing is promoted by itself')
  await t.rejects(lab.failover(), { code: 'E_ADMIN' })
  const { failover } = await lab.failover(true)
  t.match(failover, { acceptedLoss: true, generation: 2, connectionsKept: 0, connectionsReset: 1 })
  t.equal(await old.over(), 'reset')
  t.equal(old.unread, '')
  const fresh = await lab.client()
  t.equal(await fresh.ask('GET kept', '$1\r\n1\r\n'), '$1\r\n1\r\n')
  t.equal(await fresh.ask('GET lost', '$-1\r\n'), '$-1\r\n')
})

/** Two clients that were told what the restored guest counts differently, and one that was not. */
async function diverging(
  t: Test, policy: string
): Promise<{ lab: Lab, skewed: readonly Client[], plain: Client }> {
  const faulty = { b: { skewAfterRestore: 'skewed' } }
  const lab = await Lab.protected(t, { faulty, guest: { on_divergence: policy } })
  const skewed = [await lab.client(), await lab.client()]
  const plain = await lab.client()
  for (const [n, client] of skewed.entries()) {
    t.equal(await client.ask(`INCR skewed${n}`, ':1\r\n'), ':1\r\n')
  }
  t.equal(await plain.ask('INCR plain', ':1\r\n'), ':1\r\n')
  return { lab, skewed, plain }
}

void t.test('divergence resets exactly the connections that were told something else', async (t) => {
  const { lab, skewed, plain } = await diverging(t, 'reset')
  t.match(await lab.failOverFrom('a'), { kept: 1, reset: 2 })
  for (const client of skewed) {
    t.equal(await client.over(), 'reset')
    t.equal(client.unread, '', 'no wrong byte goes out')
  }
  t.equal(await plain.ask('INCR plain', ':2\r\n'), ':2\r\n')
  t.match(await lab.status(), { divergence: { diverged: true, connections: 2 } })
  t.equal(await lab.metric('tailgate_divergences_total{'), 2)
  t.equal(lab.log.all('connection.diverged').length, 2)
  t.match(lab.log.all('guest.diverged'), [{ guest: 'guest', policy: 'reset' }])
  await lab.bringBack('a')
  t.match(await lab.failOverFrom('b'), { kept: 1, reset: 0 })
  t.equal(await plain.ask('INCR plain', ':3\r\n'), ':3\r\n')
  t.match(await lab.status(), { divergence: { diverged: true } }, 'it stays known')
  t.equal(plain.unread, '')
  await lab.process('gateway').kill()
  lab.start('gateway')
  await lab.log.until('admin.listening')
  t.match(await lab.status(), { divergence: { diverged: true } }, 'also after a restart')
})

void t.test('divergence with on_divergence: reset-all resets everybody, and serves on', async (t) => {
  const { lab, skewed, plain } = await diverging(t, 'reset-all')
  t.match(await lab.failOverFrom('a'), { kept: 0, reset: 3 })
  for (const client of [...skewed, plain]) {
    t.equal(await client.over(), 'reset')
    t.equal(client.unread, '')
  }
  const fresh = await lab.client()
  t.equal(await fresh.ask('INCR plain', ':2\r\n'), ':2\r\n')
})

void t.test('divergence with on_divergence: stop ends the service until an operator decides', async (t) => {
  const { lab, skewed, plain } = await diverging(t, 'stop')
  const lost = lab.log.next('guest.lost')
  await lab.killHost('a')
  t.match(await lost, { reason: /diverged/ })
  for (const client of [...skewed, plain]) {
    t.equal(await client.over(), 'reset')
    t.equal(client.unread, '')
  }
  t.match(await lab.status(), { protection: { state: 'lost' }, divergence: { diverged: true } })
  t.same(lab.log.all('failover.done'), [])
})
