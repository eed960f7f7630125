import { crc32 } from 'node:zlib'
import type { GuestAgent } from '../../../src/core/agent/guest-agent.ts'
import type {
  AppendOutcome, CheckpointEvents, CheckpointRequest, ImageInfo
} from '../../../src/core/agent/port.ts'
import { Images } from '../../../src/core/agent/images.ts'
import { checkpointId, generation, type CheckpointId, type Lsn, type Millis } from '../../../src/core/ids.ts'
import type { GatewayLife } from '../../../src/core/message.ts'
import { RecordCursor } from '../../../src/core/record-codec.ts'
import { RecordKind } from '../../../src/core/record.ts'
import { SimAgentPort } from '../agent-port.ts'
import type { Engine } from '../engine.ts'
import { Guest } from '../guest.ts'
import type { Host } from '../host.ts'
import type { World } from '../world.ts'
import type { Canary } from './canary.ts'

/** An epoch is acknowledged when it comes, and stored later. */
class HastyPort extends SimAgentPort {
  override append(
    firstLsn: Lsn, lastLsn: Lsn, records: readonly Uint8Array[],
      done: (now: Millis, outcome: AppendOutcome) => void
  ): void {
    this.process.after(0, () => done(this.host.clock.now(), { ok: true, lsn: lastLsn }))
    this.process.after(this.world.diskDelay() * 4,
      () => super.append(firstLsn, lastLsn, records, () => undefined))
  }
}

/** The log is pruned when a mark arrives, whatever becomes of its checkpoint. */
class EarlyPrunePort extends SimAgentPort {
  override append(
    firstLsn: Lsn, lastLsn: Lsn, records: readonly Uint8Array[],
      done: (now: Millis, outcome: AppendOutcome) => void
  ): void {
    super.append(firstLsn, lastLsn, records, (now, outcome) => {
      done(now, outcome)
      for (const bytes of records) {
        const cursor = new RecordCursor(bytes)
        while (cursor.next()) {
          if (cursor.kind === RecordKind.mark) this.#prune(checkpointId(cursor.checkpoint))
        }
      }
    })
  }

  #prune(checkpoint: CheckpointId): void {
    const mark = this.markOf(checkpoint)
    if (mark !== undefined) this.pruneLog(checkpoint, mark, () => undefined)
  }
}

/** The guest runs on at once, and only then is the mark asked for. */
class RunsOnPort extends SimAgentPort {
  override beginCheckpoint(
    checkpoint: CheckpointId, request: CheckpointRequest, events: CheckpointEvents
  ): void {
    super.beginCheckpoint(checkpoint, request, {
      ...events,
      standing: () => {
        this.host.guest?.process.resume()
        this.process.after(4000, () => events.standing(this.host.clock.now()))
      }
    })
  }
}

/** Every image builds on the one before, whatever became of that. */
class BuildsOnAnythingPort extends SimAgentPort {
  override beginCheckpoint(
    checkpoint: CheckpointId, request: CheckpointRequest, events: CheckpointEvents
  ): void {
    super.beginCheckpoint(checkpoint, { ...request, builds: true }, events)
  }
}

/** An order of an older generation is taken for one of the present, by the gateway that is obeyed. */
function takesOldOrders(agent: GuestAgent): void {
  const take = agent.gatewayMessage.bind(agent)
  let life: GatewayLife | undefined
  agent.gatewayMessage = (now, link, envelope, message) => {
    const isOld = envelope.generation < agent.generation
    const about = { ...envelope, generation: isOld ? agent.generation : envelope.generation }
    if (message.type !== 'assign') return take(now, link, about, message)
    if (!isOld) life = { gateway: message.gateway, incarnation: message.incarnation }
    take(now, link, about, { ...message, ...isOld ? life : undefined })
  }
}

/** As a receiver that unpauses what it has, at any end of its stream. */
function startsWhatItHas(world: World, host: Host, engine: Engine): void {
  const newest = host.images.found().at(-1)
  const image = newest === undefined ? undefined : world.images.get(newest.checkpoint)
  if (newest === undefined || image === undefined || host.guest !== undefined) return
  const guest = new Guest(world, host, { snapshot: image.snapshot, checkpoint: newest.checkpoint })
  host.place(guest)
  engine.openPath(guest)
  guest.start()
}

/** Images that were being received when the agent died, told as whole ones. */
function tornImages(host: Host): ImageInfo[] {
  const opened = host.log.open({ durability: 'disk', memoryBytes: 1 << 20, totalBytes: 1 << 24 })
  if (!opened.ok) return []
  const { history } = opened.log
  return [...host.images.unfinished()].flatMap(([id, bytes]) => {
    const checkpoint = checkpointId(id)
    const mark = host.log.markOf(checkpoint)
    if (mark === undefined) return []
    const info: ImageInfo = {
      checkpoint, mark, history, generation: host.state.generation, bytes: bytes.length,
        crc: crc32(bytes)
    }
    host.images.finish(info, true)
    return [info]
  })
}

/** When the link of an image that is coming in ends, what came is taken for all of it. */
function endsTornImages(agent: GuestAgent, host: Host): void {
  const sums = new Map<number,
    { checkpoint: CheckpointId, bytes: number, crc: number, generation: number, history: string }>()
  const message = agent.peerMessage.bind(agent)
  const down = agent.peerDown.bind(agent)
  agent.peerMessage = (now, link, envelope, what) => {
    if (what.type === 'checkpoint-begin') {
      sums.set(link, { ...envelope, checkpoint: what.checkpoint, bytes: 0, crc: 0 })
    } else if (what.type === 'checkpoint-data') {
      const sum = sums.get(link)
      if (sum !== undefined) {
        sum.bytes += what.bytes.length
        sum.crc = crc32(what.bytes, sum.crc)
      }
    } else if (what.type === 'checkpoint-end' || what.type === 'checkpoint-abort') sums.delete(link)
    message(now, link, envelope, what)
  }
  agent.peerDown = (now, link) => {
    const sum = sums.get(link)
    sums.delete(link)
    const mark = sum === undefined ? undefined : host.log.markOf(sum.checkpoint)
    if (sum !== undefined && mark !== undefined) {
      message(now, link, { guest: 'g', generation: generation(sum.generation),
        history: sum.history as never },
        { type: 'checkpoint-end', checkpoint: sum.checkpoint, mark, bytes: sum.bytes, crc: sum.crc })
    }
    down(now, link)
  }
}

export const agentCanaries: readonly Canary[] = [
  {
    name: 'acknowledge-before-storing', rules: [1],
    agentPort: (world, host, process, engine) => new HastyPort(world, host, process, engine)
  },
  {
    name: 'prune-too-early', rules: [6],
    agentPort: (world, host, process, engine) => new EarlyPrunePort(world, host, process, engine)
  },
  {
    name: 'mark-after-the-guest-ran-on', rules: [6],
    agentPort: (world, host, process, engine) => new RunsOnPort(world, host, process, engine)
  },
  {
    name: 'builds-on-what-never-came', rules: [5],
    agentPort: (world, host, process, engine) => new BuildsOnAnythingPort(world, host, process, engine)
  },
  {
    name: 'restore-while-absorbing', rules: [5],
    patch: () => {
      const absorbing = Object.getOwnPropertyDescriptor(Images.prototype, 'absorbing') ?? {}
      Object.defineProperty(Images.prototype, 'absorbing', { configurable: true, get: () => false })
      return () => { Object.defineProperty(Images.prototype, 'absorbing', absorbing) }
    }
  },
  { name: 'lost-standby-still-counts', rules: [5], agent: agent => { agent.imagesLost = () => undefined } },
  { name: 'old-generation-accepted', rules: [7], agent: takesOldOrders },
  { name: 'agent-crash-starts-the-guest', rules: [7], agentStarts: startsWhatItHas },
  { name: 'torn-checkpoint-counted', rules: [5], agent: endsTornImages, foundImages: tornImages }
]
