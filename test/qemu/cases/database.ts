import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import t, { type Test } from 'tap'
import { until } from '../../blackbox/program.ts'
import { Cluster, type HostName } from '../../lab/cluster.ts'
import { addressOf } from '../../lab/network-lab.ts'
import { databaseMachine, httpPort, postgresqlPort } from '../lab-guest.ts'

// PostgreSQL and nginx in a real virtual machine with a disk, whose host dies under load.

const kind = databaseMachine({ image: process.env.TAILGATE_TEST_IMAGE ?? '', memoryMiB: 192 })
const guest = {
  checkpoint_interval: '3s', heartbeat: '{ interval: 200ms, misses: 8 }', lease: '2s'
} as const
const host = addressOf('gateway', 'service')
const connection = ['-h', host, '-p', String(postgresqlPort), '-U', 'postgres']
/** The moment of the kill is chosen from so many events of the log after a checkpoint that counts. */
const killWithinEvents = 1200
const clients = 8
/** How often a host is killed; more in the long version. */
const rounds = Number(process.env.TAILGATE_TEST_ROUNDS ?? '1')
const transactionsEach = 60
/** What test/qemu/database/build.sh puts there, always the same. */
const downloadBytes = 48 << 20
/** What of it waits until the host has died. */
const lastBytes = 8 << 20
const downloadHash = '7e91236f3b22e255b850985eda9dbf4841c8ab7bcde623cb323420424ec08863'

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

/** What one statement returns, without headings. */
async function query(statement: string): Promise<string> {
  return (await run('psql', [...connection, '-A', '-t', '-c', statement, 'postgres'])).trim()
}

/** Reads slowly, and the last part of it not before {@link finish}. Resolves with the hash of it all. */
class Download {
  bytes = 0
  readonly hash: Promise<string>
  #response: IncomingMessage | undefined
  #mayFinish = false

  constructor(bytesPerSecond: number) {
    this.hash = new Promise((resolve, reject) => {
      get({ host, port: httpPort, path: '/download' }, (response: IncomingMessage) => {
        this.#response = response
        const hash = createHash('sha256')
        const began = performance.now()
        response.on('data', (chunk: Buffer) => {
          hash.update(chunk)
          this.bytes += chunk.length
          if (!this.#mayFinish && this.bytes > downloadBytes - lastBytes) {
            response.pause()
            return
          }
          const dueMs = this.bytes / bytesPerSecond * 1000 - (performance.now() - began)
          if (dueMs <= 5) return
          response.pause()
          setTimeout(() => { response.resume() }, dueMs)
        })
        response.on('end', () => { resolve(hash.digest('hex')) })
        response.on('error', reject)
      }).on('error', reject)
    })
  }

  /** However slow the machine is, it is under way until then. */
  finish(): void {
    this.#mayFinish = true
    this.#response?.resume()
  }
}

/** pgbench's TPC-B; rejects if one of its clients is reset. */
function load(): Promise<string> {
  const amount = ['-c', String(clients), '-t', String(transactionsEach)]
  return run('pgbench', [...connection, '-n', ...amount, 'postgres'])
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
async function someMoment(cluster: Cluster): Promise<void> {
  const logged = async (): Promise<number> => (await cluster.status()).positions.loggedLsn
  const moment = await logged() + Math.random() * killWithinEvents
  await until('the moment of the kill', async () => await logged() >= moment || undefined)
}

/** The host dies while transactions are under way, and a download, if that is given. */
async function killUnderLoad(t: Test, cluster: Cluster, from: HostName, download?: Download): Promise<void> {
  const said = load()
  // Connections that are opened after a checkpoint get other random keys when they are replayed.
  await cluster.log.next('checkpoint.counted')
  await cluster.log.next('checkpoint.counted')
  await someMoment(cluster)
  const done = await cluster.failOverFrom(from)
  t.comment(`${from}: ${JSON.stringify(done)}`)
  t.match(done, { reset: 0 })
  if (download !== undefined) t.ok(download.bytes < downloadBytes, 'the download was under way')
  download?.finish()
  t.match(await said, new RegExp(`transactions actually processed: ${clients * transactionsEach}/`))
  t.match(await said, /number of failed transactions: 0 /)
}

void t.test(`no commit is lost when the host of a database dies, ${rounds} times`, async (t) => {
  const cluster = await Cluster.protected(t, { hosts: ['host-a', 'host-b', 'host-c'], kind, guest })
  await until('the database answers', () => query('SELECT 1').catch(() => undefined))
  await run('pgbench', [...connection, '-i', '-s', '1', '-q', 'postgres'])
  const download = new Download(2 << 20)
  const way: HostName[] = ['host-a', 'host-b', 'host-c']
  for (let round = 0; round < rounds; round++) {
    const host = way[round % way.length] ?? 'host-a'
    const before = cluster.log.count
    await killUnderLoad(t, cluster, host, round === 0 ? download : undefined)
    await allThere(t, clients * transactionsEach * (round + 1))
    if (round + 1 === rounds) break
    await cluster.log.until('guest.protected', { from: before })
    await cluster.boot(host)
  }
  t.equal(await download.hash, downloadHash)
  t.equal(download.bytes, downloadBytes)
})
