import { setTimeout as after } from 'node:timers/promises'
import type { LogLine } from '../../src/demo/log-line.ts'
import { askStatus } from '../../src/observe/admin-client.ts'
import type { FailoverStatus } from '../../src/observe/status.ts'
import { Clients, RedisClient } from './clients.ts'
import type { FailoverRound, Point } from './report.ts'
import { ping, pong } from './requests.ts'
import { within, type FailoverSite } from './site.ts'

const bootMsMax = 90_000
const protectedMsMax = 60_000
/** A request has so long, also where it is one of many and its guest is emulated. */
const requestMsMax = 5
const patienceMs = 60_000

/**
 * Fails the guest of `site` over, again and again: the host that died comes back as the backup, a checkpoint
 * is made with all connections open, clients send the tail, and the guest's host dies.
 *
 *   backup up ─► checkpoint counts ─► the tail, to the last reply ─► kill ─► one request ─► its answer
 *
 * Rejects when a connection was lost, or a client does not find what it had set.
 */
export async function measureFailovers(
  site: FailoverSite, point: Point, rounds: number
): Promise<readonly FailoverRound[]> {
  await answers(site, bootMsMax)
  const clients = await within(Clients.open(site.service, point.connections), patienceMs, 'connecting')
  try {
    const found: FailoverRound[] = []
    for (let round = 0; round < rounds; round++) found.push(await failover(site, clients, point))
    return found
  } finally {
    clients.destroy()
  }
}

async function failover(site: FailoverSite, clients: Clients, point: Point): Promise<FailoverRound> {
  const tailMsMax = patienceMs + point.connections * point.requests * requestMsMax
  const isProtected = next(site, 'guest.protected', protectedMsMax)
  await site.startBackup()
  await isProtected
  await within(clients.sendTail(point), tailMsMax, 'sending the tail')
  const done = next(site, 'failover.done', tailMsMax)
  const killedAt = performance.now()
  const killed = site.killPrimary()
  const answered = clients.askOne().then(() => performance.now() - killedAt)
  const failedOver = Promise.all([answered, done, killed])
  const [firstByteMs] = await within(failedOver, 2 * tailMsMax, 'the failover')
  await within(clients.verify(), patienceMs, 'asking for what was set')
  return { ...await roundOf(site, point), firstByteMs }
}

/** What the gateway says of the failover that is over. */
async function roundOf(
  { admin }: FailoverSite, { connections }: Point
): Promise<Omit<FailoverRound, 'firstByteMs'>> {
  const last = await lastFailover(admin)
  const { connectionsKept: kept, connectionsReset: reset } = last
  if (kept !== connections || reset !== 0) {
    throw new Error(`of ${connections} connections ${kept} were kept and ${reset} reset`)
  }
  const { phasesMs, totalMs, replayedBytes, replayedRecords } = last
  return { phasesMs, afterDetectionMs: totalMs, replayedBytes, replayedRecords }
}

/** What the gateway tells at its admin socket of the failover that it did last. */
export async function lastFailover(admin: string): Promise<FailoverStatus> {
  const last = (await askStatus(admin)).guests[0]?.lastFailover
  if (last === undefined || last === null) throw new Error('the gateway knows of no failover')
  return last
}

/** The next such line of the gateway's log. */
export function next({ log }: FailoverSite, event: string, patienceMs: number): Promise<LogLine> {
  return log.until(event, { from: log.count, patienceMs })
}

/** Resolves when a client gets an answer: the guest has started. */
export async function answers(
  { service }: Pick<FailoverSite, 'service'>, limitMs: number
): Promise<void> {
  const end = performance.now() + limitMs
  for (;;) {
    try {
      const client = await RedisClient.open(service)
      try {
        await within(client.ask(ping, pong), limitMs, 'the first answer')
        return
      } finally {
        client.destroy()
      }
    } catch (cause) {
      // The gateway resets clients whose guest does not take them.
      if (performance.now() > end) throw new Error('the guest answers no client', { cause })
      await after(200)
    }
  }
}
