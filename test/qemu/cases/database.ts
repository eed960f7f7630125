import { createHash } from 'node:crypto'
import { get, type IncomingMessage } from 'node:http'
import t from 'tap'
import { Cluster, type HostName } from '../../lab/cluster.ts'
import { addressOf } from '../../lab/network-lab.ts'
import { killUnderLoad, prepareDatabase } from '../database-load.ts'
import { databaseMachine, httpPort } from '../lab-guest.ts'

// PostgreSQL and nginx in a real virtual machine with a disk, whose host dies under load.

const kind = databaseMachine({ image: process.env.TAILGATE_TEST_IMAGE ?? '', memoryMiB: 192 })
const guest = {
  checkpoint_interval: '3s', heartbeat: '{ interval: 200ms, misses: 8 }', lease: '2s'
} as const
const load = { transactionsEach: 60, killWithinEvents: 1200 } as const
/** How often a host is killed; more in the long version. */
const rounds = Number(process.env.TAILGATE_TEST_ROUNDS ?? '1')
/** What test/qemu/database/build.sh puts there, always the same. */
const downloadBytes = 48 << 20
/** What of it waits until the host has died. */
const lastBytes = 8 << 20
const downloadHash = '7e91236f3b22e255b850985eda9dbf4841c8ab7bcde623cb323420424ec08863'

/** Reads slowly, and the last part of it not before {@link finish}. Resolves with the hash of it all. */
class Download {
  bytes = 0
  readonly hash: Promise<string>
  #response: IncomingMessage | undefined
  #mayFinish = false

  constructor(bytesPerSecond: number) {
    this.hash = new Promise((resolve, reject) => {
      const from = { host: addressOf('gateway', 'service'), port: httpPort, path: '/download' }
      get(from, (response: IncomingMessage) => {
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

void t.test(`no commit is lost when the host of a database dies, ${rounds} times`, async (t) => {
  const cluster = await Cluster.protected(t, { hosts: ['host-a', 'host-b', 'host-c'], kind, guest })
  await prepareDatabase()
  const download = new Download(2 << 20)
  const way: HostName[] = ['host-a', 'host-b', 'host-c']
  for (let round = 0; round < rounds; round++) {
    const host = way[round % way.length] ?? 'host-a'
    const before = cluster.log.count
    await killUnderLoad(t, cluster, host, load, round + 1, () => {
      if (round === 0) t.ok(download.bytes < downloadBytes, 'the download was under way')
      download.finish()
    })
    if (round + 1 === rounds) break
    await cluster.log.until('guest.protected', { from: before })
    await cluster.boot(host)
  }
  t.equal(await download.hash, downloadHash)
  t.equal(download.bytes, downloadBytes)
})
