import type { LogLine } from '../../src/demo/log-line.ts'
import { RedisClient, type ServiceAddress } from './clients.ts'
import type { CheckpointCounts, LabSite } from './lab-site.ts'
import { answers, next } from './measure.ts'
import type { CheckpointFigure, CheckpointRound } from './report.ts'
import { ok, ping, pong, setKey } from './requests.ts'

/** From the beginning of one checkpoint to that of the next: all is written in what the first one leaves. */
export const checkpointInterval = '12s'
/** What could not be written in that time is written anew, so often at most. */
const attemptsMax = 3
/** Values are rewritten in the order in which they were made, so that whole pages are. */
const valueBytes = 16 * 1024
const writers = 4
const bootMsMax = 90_000
const checkpointMsMax = 60_000

/** Bytes of values that are rewritten between two checkpoints. */
export const dirtyBytes = [0, 8, 32, 64].map((mebibytes) => mebibytes << 20)

/**
 * Checkpoints of the virtual machine of `site`, each after so much was rewritten in it since the one before.
 * Rejects when writing takes so long that a checkpoint comes in between, again and again.
 */
export async function measureCheckpoints(
  site: LabSite, memoryMiB: number, rounds: number
): Promise<readonly CheckpointFigure[]> {
  await answers(site, bootMsMax)
  const isProtected = next(site, 'guest.protected', checkpointMsMax)
  await site.startBackup()
  const most = Math.max(...dirtyBytes)
  await rewrite(site.service, most, 'a')
  await isProtected
  await next(site, 'checkpoint.counted', checkpointMsMax)
  const found = new Map<number, CheckpointRound[]>(dirtyBytes.map((bytes) => [bytes, []]))
  for (let round = 0; round < rounds; round++) {
    for (const bytes of dirtyBytes) found.get(bytes)?.push(await checkpointAfter(site, bytes, round))
  }
  return dirtyBytes.map((bytes) =>
    ({ guest: 'qemu', memoryMiB, dirtyBytes: bytes, rounds: found.get(bytes) ?? [] }))
}

/** To be called when one has just counted, as it has when this resolves. */
async function checkpointAfter(site: LabSite, bytes: number, round: number): Promise<CheckpointRound> {
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const before = site.checkpointCounts()
    const counted = next(site, 'checkpoint.counted', checkpointMsMax)
    await rewrite(site.service, bytes, `${round}.${attempt}`)
    if (site.checkpointCounts().pauses === before.pauses) return await checkpoint(site, before, counted)
    await counted
  }
  throw new Error(`${bytes >> 20} MiB could not be rewritten between two checkpoints`)
}

async function checkpoint(
  site: LabSite, before: CheckpointCounts, counted: Promise<LogLine>
): Promise<CheckpointRound> {
  const waiting = await Asking.begin(site.service)
  const { durationMs } = await counted
  const worstResponseMs = await waiting.end()
  const now = site.checkpointCounts()
  if (now.pauses !== before.pauses + 1) throw new Error('more than one checkpoint was made at a time')
  if (typeof durationMs !== 'number') throw new Error('the gateway does not say how long a checkpoint took')
  return {
    shippedBytes: now.shippedBytes - before.shippedBytes, pauseMs: now.pausedMs - before.pausedMs,
    durationMs, worstResponseMs
  }
}

/** Sets the first values again, so many bytes of them, to something that they were not. */
async function rewrite(service: ServiceAddress, bytes: number, content: string): Promise<void> {
  const count = bytes / valueBytes
  let key = 0
  const inTurn = async (): Promise<void> => {
    const client = await RedisClient.open(service)
    try {
      while (key < count) await client.ask(setKey(`value-${key++}`, Buffer.alloc(valueBytes, content)), ok)
    } finally {
      client.destroy()
    }
  }
  await Promise.all(Array.from({ length: writers }, inTurn))
}

/** A client that asks again as soon as it has its answer. */
class Asking {
  readonly #client: RedisClient
  readonly #over: Promise<void>
  #wanted = true
  #worstMs = 0

  private constructor(client: RedisClient) {
    this.#client = client
    this.#over = this.#ask()
  }

  static async begin(service: ServiceAddress): Promise<Asking> {
    return new Asking(await RedisClient.open(service))
  }

  /** Resolves with the longest time that an answer has taken, in milliseconds. */
  async end(): Promise<number> {
    this.#wanted = false
    await this.#over
    this.#client.destroy()
    return this.#worstMs
  }

  async #ask(): Promise<void> {
    while (this.#wanted) {
      const since = performance.now()
      await this.#client.ask(ping, pong)
      this.#worstMs = Math.max(this.#worstMs, performance.now() - since)
    }
  }
}
