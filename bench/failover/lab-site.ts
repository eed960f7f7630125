import { Cluster, servicePort, type HostName } from '../../test/lab/cluster.ts'
import { addressOf } from '../../test/lab/network-lab.ts'
import type { LogLines } from '../../test/failover/log-lines.ts'
import { redisMachine } from '../../test/qemu/lab-guest.ts'
import { metricIn } from '../footprint/link.ts'
import { UndoList } from '../undo-list.ts'
import type { ServiceAddress } from './clients.ts'
import type { ReplayOrder } from './report.ts'
import { logLimits, qemuTimes, rarely, type FailoverSite } from './site.ts'

const agentMetrics = '127.0.0.1:9090'
const metricsProgram = `fetch('http://${agentMetrics}/metrics').then((answer) => answer.text())
  .then((text) => process.stdout.write(text))`

export interface LabSiteOptions {
  /** The directory of the machine's kernel and first file system. */
  readonly image: string
  readonly memoryMiB: number
  readonly tailBytes: number
  readonly order: ReplayOrder
  /** As in a configuration file; {@link rarely} if it is left out. */
  readonly checkpointInterval?: string
}

/** What an agent counts about checkpoints since it was started. */
export interface CheckpointCounts {
  readonly pauses: number
  readonly pausedMs: number
  readonly shippedBytes: number
}

const otherOf = (host: HostName): HostName => host === 'host-a' ? 'host-b' : 'host-a'

/**
 * A virtual machine with a Redis; the gateway and both hosts are machines of a NetworkLab, so this is for a
 * process that has namespaces of its own.
 */
export class LabSite implements FailoverSite {
  readonly service: ServiceAddress = { host: addressOf('gateway', 'service'), port: servicePort }
  readonly #cluster: Cluster
  readonly #undo: UndoList
  readonly #down = new Set<HostName>()
  #primary: HostName = 'host-a'

  private constructor(cluster: Cluster, undo: UndoList) {
    this.#cluster = cluster
    this.#undo = undo
  }

  /** Resolves when the guest has no backup, as that of LoopbackSite; the machine may still be booting. */
  static async start(options: LabSiteOptions): Promise<LabSite> {
    const undo = new UndoList()
    const { heartbeatMs, misses, leaseMs } = qemuTimes
    const { image, memoryMiB, tailBytes, order, checkpointInterval = rarely } = options
    const { memory, total } = logLimits(tailBytes)
    try {
      const cluster = await Cluster.prepared(undo, {
        hosts: ['host-a', 'host-b'], kind: redisMachine({ image, memoryMiB }), agentMetrics,
        guest: {
          checkpoint_interval: checkpointInterval, lease: `${leaseMs}ms`,
          heartbeat: `{ interval: ${heartbeatMs}ms, misses: ${misses} }`,
          log: `{ memory: ${memory}, total: ${total} }`, replay: `{ order: ${order} }`
        }
      })
      for (const host of cluster.hosts) cluster.start(host)
      cluster.start('gateway')
      await cluster.log.until('guest.protected')
      const isAlone = cluster.log.next('guest.unprotected')
      await cluster.process('host-b').kill()
      await isAlone
      return new LabSite(cluster, undo)
    } catch (error) {
      await undo.undoAll()
      throw error
    }
  }

  get admin(): string { return this.#cluster.admin }
  get log(): LogLines { return this.#cluster.log }

  async startBackup(): Promise<void> {
    const host = otherOf(this.#primary)
    if (this.#down.delete(host)) await this.#cluster.lab.boot(host)
    this.#cluster.start(host)
  }

  async killPrimary(): Promise<void> {
    const host = this.#primary
    this.#primary = otherOf(host)
    this.#down.add(host)
    await this.#cluster.lab.kill(host)
  }

  /** What the primary's agent has counted. */
  checkpointCounts(): CheckpointCounts {
    const text = this.#cluster.lab.machine(this.#primary).run([process.execPath, '-e', metricsProgram])
    const of = (name: string): number => metricIn(text, `tailgate_checkpoint_${name}`)
    return {
      pauses: of('pause_seconds_count'), pausedMs: of('pause_seconds_sum') * 1000,
      shippedBytes: of('shipped_bytes_total')
    }
  }

  async stop(): Promise<void> {
    await this.#undo.undoAll()
  }
}
