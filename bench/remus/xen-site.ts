import { Cluster, servicePort } from '../../test/lab/cluster.ts'
import type { LogLine } from '../../test/failover/log-lines.ts'
import { addressOf } from '../../test/lab/network-lab.ts'
import { run } from '../../test/namespace.ts'
import { guestAddress, patient, redis, xenGuest } from '../../test/xen/xen-cluster.ts'
import { XenMachines } from '../../test/xen/xen-machines.ts'
import type { ServiceAddress } from '../failover/clients.ts'
import { countedCheckpoint, type CountedCheckpoint } from '../latency/counted-checkpoint.ts'
import { UndoList } from '../undo-list.ts'
import type { Setting } from './report.ts'

/** For the first checkpoint, which has all of the memory, and for a failover. In milliseconds. */
const patienceMs = 300_000

/**
 * Two Xen hosts, which are emulated, with a Redis in a domain on the first one, and the gateway. For a
 * process that has namespaces of its own.
 */
export class XenSite {
  readonly service: ServiceAddress = { host: addressOf('gateway', 'service'), port: servicePort }
  /** The guest's own address, which this process reaches past the gateway. */
  readonly guest = guestAddress
  readonly #cluster: Cluster
  readonly #undo: UndoList

  private constructor(cluster: Cluster, undo: UndoList) {
    this.#cluster = cluster
    this.#undo = undo
  }

  /** Resolves when the guest runs, and has no backup. `image` is the directory of the Xen host's. */
  static async start(image: string, { mode, intervalMs }: Setting): Promise<XenSite> {
    const undo = new UndoList()
    const hosts = ['host-a', 'host-b'] as const
    try {
      const machines = new XenMachines(undo, { directory: image, qemu: 'qemu-system-x86_64', hosts })
      const cluster = await Cluster.prepared(undo, {
        hosts, kind: xenGuest([{ ...redis, release: mode }]), machines, patienceMs,
        guest: { ...patient, checkpoint_interval: `${intervalMs}ms` }
      })
      run('ip', 'address', 'add', `${addressOf('clients', 'guest')}/24`, 'dev', 'guest')
      for (const name of [...hosts, 'gateway'] as const) cluster.start(name)
      // A gateway that knows no guest yet asks every host for it, so the backup must have been there once.
      await cluster.process('host-a').log.until('role.assigned', {
        patienceMs, matches: ({ role }) => role === 'primary'
      })
      const isAlone = cluster.log.next('guest.unprotected')
      await cluster.process('host-b').kill()
      await isAlone
      return new XenSite(cluster, undo)
    } catch (error) {
      await undo.undoAll()
      throw error
    }
  }

  get admin(): string { return this.#cluster.admin }

  /** Gives the guest a backup; resolves when it is protected, and a checkpoint after that one counts. */
  async protect(): Promise<void> {
    this.#cluster.start('host-b')
    await this.#cluster.isProtected()
    await this.nextCheckpoint()
  }

  nextCheckpoint(): Promise<void> {
    return this.#cluster.nextCheckpoint()
  }

  /** All checkpoints that have counted. */
  get checkpoints(): readonly CountedCheckpoint[] {
    return this.#cluster.log.all('checkpoint.counted').map(countedCheckpoint)
      .filter((checkpoint) => checkpoint !== undefined)
  }

  /** Checkpoints of which the primary's agent has said how long the guest stood still, in milliseconds. */
  get pauses(): readonly { readonly at: number, readonly pauseMs: number }[] {
    return this.#cluster.process('host-a').log.all('checkpoint.stored').flatMap(({ time, pauseMs }) =>
      typeof pauseMs === 'number' ? [{ at: Date.parse(String(time)), pauseMs }] : [])
  }

  /** The power of the primary is cut. Resolves with what the gateway says when the failover is done. */
  failOver(): Promise<LogLine> {
    return this.#cluster.failOverFrom('host-a')
  }

  async stop(): Promise<void> {
    await this.#undo.undoAll()
  }
}
