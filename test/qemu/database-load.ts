import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Test } from 'tap'
import { until } from '../blackbox/program.ts'
import type { Cluster, HostName } from '../lab/cluster.ts'
import { addressOf } from '../lab/network-lab.ts'
import { postgresqlPort } from './lab-guest.ts'

// A PostgreSQL in a guest of the laboratory, and transactions of which none may be lost.

const connection = ['-h', addressOf('gateway', 'service'), '-p', String(postgresqlPort), '-U', 'postgres']
const clients = 8

export interface DatabaseLoad {
  /** What each client does while a host dies. */
  readonly transactionsEach: number
  /** The moment of the kill is chosen from so many events of the log after a checkpoint that counts. */
  readonly killWithinEvents: number
  /** Resolves at the moment of the kill, where that is another one. */
  readonly moment?: (() => Promise<void>) | undefined
}

/** Resolves when the database has what pgbench's TPC-B begins with. */
export async function prepareDatabase(): Promise<void> {
  await until('the database answers', () => query('SELECT 1').catch(() => undefined))
  await run('pgbench', [...connection, '-i', '-s', '1', '-q', 'postgres'])
}

/**
 * A host dies while transactions are under way: every one is acknowledged, none of the clients is reset, and
 * all that was acknowledged is there, now and in the rounds before.
 *
 * @param rounds how many there are with this one
 * @param over called when the failover is
 */
export async function killUnderLoad(
  t: Test, cluster: Cluster, from: HostName, load: DatabaseLoad, rounds: number, over?: () => void
): Promise<void> {
  const { transactionsEach, killWithinEvents } = load
  const transactions = clients * transactionsEach
  // It rejects if one of its clients is reset.
  const amount = ['-c', String(clients), '-t', String(transactionsEach)]
  const said = run('pgbench', [...connection, '-n', ...amount, 'postgres'])
  // Connections that are opened after a checkpoint get other random keys when they are replayed.
  await cluster.nextCheckpoint()
  await cluster.nextCheckpoint()
  await (load.moment?.() ?? someMoment(cluster, killWithinEvents))
  const done = await cluster.failOverFrom(from)
  t.comment(`${from}: ${JSON.stringify(done)}`)
  t.match(done, { reset: 0 })
  t.ok(Number(done.kept) >= clients, 'every client was in the middle of it')
  over?.()
  t.match(await said, new RegExp(`transactions actually processed: ${transactions}/`))
  t.match(await said, /number of failed transactions: 0 /)
  await allThere(t, transactions * rounds)
}

/** All transactions that were acknowledged are there, `count` of them, and nothing of any other. */
async function allThere(t: Test, count: number): Promise<void> {
  t.equal(await query('SELECT count(*) FROM pgbench_history'), String(count))
  const sums = await query(`SELECT (SELECT sum(abalance) FROM pgbench_accounts),
    (SELECT sum(tbalance) FROM pgbench_tellers), (SELECT sum(bbalance) FROM pgbench_branches),
    (SELECT sum(delta) FROM pgbench_history)`)
  t.equal(new Set(sums.split('|')).size, 1, `every sum is the same: ${sums}`)
}

/** Nothing is asked of the database: a connection of after the checkpoint says other things in a replay. */
async function someMoment(cluster: Cluster, withinEvents: number): Promise<void> {
  const logged = async (): Promise<number> => (await cluster.status()).positions.loggedLsn
  const moment = await logged() + Math.random() * withinEvents
  await until('the moment of the kill', async () => await logged() >= moment || undefined)
}

/** What one statement returns, without headings. */
async function query(statement: string): Promise<string> {
  return (await run('psql', [...connection, '-A', '-t', '-c', statement, 'postgres'])).trim()
}

/** Runs a program, and returns what it says; rejects with that if it fails. */
async function run(program: string, args: readonly string[]): Promise<string> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (bytes: Buffer) => { said += bytes.toString() })
  }
  const [status] = await once(child, 'close') as [number | null]
  if (status !== 0) throw new Error(`${program} ended with ${status}: ${said}`)
  return said
}
