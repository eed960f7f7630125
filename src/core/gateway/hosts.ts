import { millis, type Generation, type HostName, type Millis } from '../ids.ts'
import type { AgentMessage, GuestCondition, LogPosition, Role } from '../message.ts'
import type { GuestSettings, HostSettings } from './settings.ts'

/**
 * How much longer than the host a lease is reckoned here, as a part of it. Two clocks that are being slewed
 * in opposite directions, by 500 ppm each at most (adjtimex), drift apart by a tenth of this.
 */
const leaseMargin = 0.01

/** What the gateway knows of one host, and when it last heard of it. */
export interface Host {
  readonly name: HostName
  readonly settings: HostSettings
  linked: boolean
  /** Its agent obeys another gateway in this generation: it is of no use here. */
  refuses: boolean
  /** When a heartbeat or an answer last came; undefined before the first. */
  heard: Millis | undefined
  role: Role
  condition: GuestCondition
  /** The newest generation it has named. */
  generation: Generation | undefined
  log: LogPosition | undefined
  /** Until then its guest's path may be open, by the newest heartbeat that was acknowledged. */
  leaseUntil: Millis
}

type Heartbeat = AgentMessage & { readonly type: 'heartbeat' }

/**
 * Who is alive, and until when a host may act (design, rule 7).
 *
 * A gateway that was itself paused blames nobody: when its ticks show a gap, everybody gets a whole new
 * window.
 */
export class Hosts {
  readonly #settings: GuestSettings
  readonly #hosts = new Map<HostName, Host>()
  #lastTick: Millis | undefined

  constructor(settings: GuestSettings) {
    this.#settings = settings
    for (const host of settings.hosts) {
      this.#hosts.set(host.name, {
        name: host.name, settings: host, linked: false, refuses: false, heard: undefined, role: 'idle',
        condition: 'absent', generation: undefined, log: undefined, leaseUntil: millis(0)
      })
    }
  }

  get(name: HostName): Host | undefined {
    return this.#hosts.get(name)
  }

  all(): Iterable<Host> {
    return this.#hosts.values()
  }

  /** How long a host may be silent. */
  get windowMs(): number {
    return this.#settings.heartbeatMs * this.#settings.misses
  }

  /**
   * Time passes. Returns how long the gateway itself must have been away, or 0: its ticks come at least once
   * per heartbeat interval, so a gap of half a window is its own doing and not the others'.
   */
  tick(now: Millis): number {
    const gap = this.#lastTick === undefined ? 0 : now - this.#lastTick
    this.#lastTick = now
    if (gap < Math.max(this.windowMs / 2, this.#settings.heartbeatMs * 2)) return 0
    for (const host of this.#hosts.values()) if (host.heard !== undefined) host.heard = now
    return gap
  }

  /** The host said something that only a live one says. */
  heardOf(host: Host, now: Millis): void {
    host.heard = now
  }

  heartbeat(host: Host, message: Heartbeat, now: Millis): void {
    this.heardOf(host, now)
    host.role = message.role
    host.condition = message.condition
    host.log = message.log
  }

  /**
   * A heartbeat of this host is being acknowledged, or may have been a moment ago: its lease runs on, at the
   * latest until a lease from now.
   */
  grantLease(host: Host, now: Millis): void {
    const { leaseMs } = this.#settings
    if (leaseMs > 0) host.leaseUntil = millis(now + leaseMs * (1 + leaseMargin))
  }

  /** Why `host`, whose guest ran, is taken for dead, or undefined. A host that was never heard of is not. */
  suspicion(host: Host, now: Millis): string | undefined {
    if (host.condition === 'failed') return `the agent on ${host.name} says its guest failed`
    if (host.heard === undefined) return undefined
    if (host.condition === 'absent') return `the guest is not on ${host.name} any more`
    const silentMs = now - host.heard
    if (silentMs <= this.windowMs) return undefined
    return `no heartbeat from ${host.name} for ${Math.round(silentMs)} ms`
  }
}

