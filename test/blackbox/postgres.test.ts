import { chownSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SpawnOptions } from 'node:child_process'
import t, { type Test } from 'tap'
import { requires } from '../requires.ts'
import { Front, modes, type Behind } from './front.ts'
import { quietPort } from './ports.ts'
import { Program, run, type Result } from './program.ts'

// PostgreSQL: long conversations, COPY in both directions, errors, and pgbench's TPC-B.

const clients = 4

interface Programs {
  readonly initdb: string
  readonly postgres: string
  readonly psql: string
  readonly pgbench: string
}

function programs(t: Test): Programs | undefined {
  const found = ['initdb', 'postgres', 'psql', 'pgbench'].map((name) => requires(t, name))
  const [initdb, postgres, psql, pgbench] = found
  if (initdb === undefined || postgres === undefined) return undefined
  return psql === undefined || pgbench === undefined ? undefined : { initdb, postgres, psql, pgbench }
}

/** PostgreSQL does not run as root: root runs it as the user that its package made. */
async function asServer(t: Test, directory: string): Promise<SpawnOptions> {
  if (process.getuid?.() !== 0) return {}
  const [uid, gid] = await Promise.all(['-u', '-g'].map(async (flag) =>
    Number((await run(t, 'id', [flag, 'postgres'])).out)))
  if (uid === undefined || gid === undefined || uid === 0) throw new Error('there is no user postgres')
  chownSync(directory, uid, gid)
  return { uid, gid, cwd: directory }
}

async function startPostgres(t: Test, { initdb, postgres }: Programs): Promise<Behind> {
  const directory = mkdtempSync(join(tmpdir(), 'tailgate-pg-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const owner = await asServer(t, directory)
  const data = join(directory, 'data')
  const made = await run(t, initdb,
    ['-D', data, '-A', 'trust', '-U', 'tester', '-N', '--no-locale', '-E', 'UTF8'], '', owner)
  if (made.status !== 0) throw new Error(`initdb: ${made.error}`)
  const port = await quietPort()
  const server = new Program(t, postgres, ['-D', data, '-k', directory, '-p', String(port),
    '-c', 'listen_addresses=127.0.0.1', '-c', 'fsync=off', '-c', 'shared_buffers=16MB'], owner)
  await server.says(/database system is ready to accept connections/)
  return { ports: [port], pids: [server.pid] }
}

void t.test('postgresql', async (t) => {
  const found = programs(t)
  if (found === undefined) return
  const server = await startPostgres(t, found)
  for (const mode of modes) {
    await t.test(mode, async (t) => session(t, found, await Front.start(t, mode, server)))
  }
})

async function session(t: Test, found: Programs, front: Front): Promise<void> {
  const at = ['-h', '127.0.0.1', '-p', String(front.port), '-U', 'tester']
  const psql = async (text: string): Promise<Result> =>
    run(t, found.psql, [...at, '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', 'postgres'], text)
  const transactions = front.mode === 'checkpoint' ? 10 : 50
  await conversation(t, psql)
  await tpcb(t, found.pgbench, at, transactions)
  const sums = await psql('SELECT (SELECT sum(abalance) FROM pgbench_accounts) = '
    + '(SELECT sum(delta) FROM pgbench_history), (SELECT count(*) FROM pgbench_history);\n')
  t.equal(sums.out.trim(), `t|${clients * transactions}`, 'each transaction was done once')
  if (front.mode === 'direct') return
  await front.settled(t, (await front.metrics()).sum('tailgate_connections_accepted_total'))
}

async function conversation(t: Test, psql: (text: string) => Promise<Result>): Promise<void> {
  const rows = Array.from({ length: 20_000 }, (_, i) => `${i}\t${'row '.repeat(10)}${i}`)
  const table = 'DROP TABLE IF EXISTS lines;\nCREATE TABLE lines (n int, text text);\n'
  const text = `${rows.join('\n')}\n`
  const sums = 'SELECT count(*), sum(n) FROM lines;\n'
  const loaded = await psql(`${table}COPY lines FROM STDIN;\n${text}\\.\n${sums}`)
  t.same([loaded.status, loaded.out.trim()], [0, `20000|${20_000 * 19_999 / 2}`])
  const copied = await psql('COPY lines TO STDOUT;\n')
  t.ok(copied.out === text, 'COPY gives back what was put in')
  const wrong = await psql('SELECT 1/0;\n')
  t.equal(wrong.status, 3)
  t.match(wrong.error, /division by zero/)
  const many = await psql('SELECT repeat(\'x\', 8000000);\n')
  t.equal(many.out.length, 8_000_001)
}

async function tpcb(t: Test, pgbench: string, at: readonly string[], transactions: number): Promise<void> {
  const made = await run(t, pgbench, [...at, '-i', '-s', '1', '-q', 'postgres'])
  t.equal(made.status, 0, made.error)
  const { status, out, error } = await run(t, pgbench,
    [...at, '-n', '-c', String(clients), '-t', String(transactions), 'postgres'])
  t.equal(status, 0, error)
  const all = clients * transactions
  t.match(out, new RegExp(`transactions actually processed: ${all}/${all}\n`))
  t.match(out, /number of failed transactions: 0/)
}
