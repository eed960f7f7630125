import { TailgateError } from '../base/errors.ts'
import type { PacketFilter } from './packet-filter.ts'

/** The longest and shortest life of a ticket, and its part of what a lease has left. In milliseconds. */
const ticketMsMax = 100
const ticketMsMin = 10
const ticketPart = 1 / 8
/** The kernel counts a time-out in its ticks: with the longest of 10 ms, two of them late at most. */
const tickMs = 20

type SetName = 'open' | 'spoken' | 'ticket'

export interface GatePlace {
  /** The name of the gate's own table, one word for nft(8). */
  readonly table: string
  /** The guest's device. */
  readonly device: string
  /** More devices of the guest, which are open and shut with the first. */
  readonly also?: readonly string[]
  /** What the names of other devices begin with that the guest's address is never let through. */
  readonly strays?: string
  /** The guest's MAC address. */
  readonly mac: string
}

/** How a lease was granted; `late`: its ticket had run out, nothing was changed, and it can be tried anew. */
export type Grant = 'granted' | 'late' | 'nothing-left'

/**
 * A gate in the packet filter through which all frames of a guest pass, or none: a table of the bridge family
 * whose rules drop what comes from its device, and what goes there, unless the device is in the set `open`;
 * and what this host sends in its name, unless its address is in the set `spoken`. Both are set together.
 *
 * ```
 *  device ─► prerouting, input: drop unless @open ─► bridge ─► postrouting: drop unless @open ─► device
 *  announcements ─► output: drop unless @spoken ─► bridge
 * ```
 *
 * The elements may have a time-out, which the kernel keeps: the gate shuts although everybody is dead. But
 * the time-out begins when the kernel takes it, and the process that worked it out may have been frozen in
 * between, for minutes. So a lease is granted with a *ticket*: an element that lives for a short while,
 * without which the grant, one transaction, is refused.
 *
 * ```
 *  ticket laid ──► known ──► clock read: what is left of the lease ──► transaction:
 *     │                                                                delete the ticket, or fail;
 *     └─────────── lives for so long, then it is gone ───►             time-out = left − the ticket's life
 * ```
 *
 * However late the transaction is taken, the gate shuts before the lease ends.
 */
export class PathGate {
  readonly #filter: PacketFilter
  readonly #table: string
  readonly #devices: readonly string[]
  readonly #place: GatePlace

  constructor(filter: PacketFilter, place: GatePlace) {
    this.#filter = filter
    this.#table = place.table
    this.#devices = [place.device, ...place.also ?? []]
    this.#place = place
  }

  /** Makes the gate, shut, in the place of one of that name. Rejects with E_ENGINE. */
  async lay(): Promise<void> {
    const { mac, strays } = this.#place
    const table = `bridge ${this.#table}`
    const set = (type: string): string => `{ type ${type}; flags timeout; }`
    const chain = (hook: string): string => `{ type filter hook ${hook} priority -400; policy accept; }`
    const rule = (chain: string, words: string): string => `add rule ${table} ${chain} ${words}`
    const devices = `{ ${this.#devices.map((device) => `"${device}"`).join(', ')} }`
    const from = `iifname ${devices} iifname != @open drop`
    await this.#must('laid', [
      `add table ${table}`, `delete table ${table}`, `add table ${table}`,
      `add set ${table} open ${set('ifname')}`, `add set ${table} spoken ${set('ether_addr')}`,
      `add set ${table} ticket ${set('ifname')}`,
      `add chain ${table} from-guest ${chain('prerouting')}`, rule('from-guest', from),
      // Frames to the bridge itself (IEEE 802.1D's group addresses) do not pass the first hook, and teach it.
      `add chain ${table} to-host ${chain('input')}`, rule('to-host', from),
      `add chain ${table} to-guest ${chain('postrouting')}`,
      rule('to-guest', `oifname ${devices} oifname != @open drop`),
      `add chain ${table} in-its-name ${chain('output')}`,
      rule('in-its-name', `ether saddr ${mac} ether saddr != @spoken drop`),
      ...strays === undefined ? [] : [
        rule('from-guest', `iifname "${strays}*" ether saddr ${mac} iifname != @open drop`),
        rule('to-host', `iifname "${strays}*" ether saddr ${mac} iifname != @open drop`),
        rule('to-guest', `oifname "${strays}*" ether daddr ${mac} oifname != @open drop`)
      ]
    ])
  }

  /** Opens it for good. Rejects with E_ENGINE. */
  async open(): Promise<void> {
    await this.#must('opened', this.#openStatements())
  }

  /**
   * Lets it be open until `deadline` (by performance.now(), in milliseconds) and not longer; `wanted` is
   * asked before the last step. Rejects with E_ENGINE.
   */
  async lease(deadline: number, wanted: () => boolean): Promise<Grant> {
    const left = (): number => deadline - performance.now()
    const ticketMs = Math.round(Math.min(ticketMsMax, Math.max(ticketMsMin, left() * ticketPart)))
    await this.#must('opened', [
      this.#flush('ticket'), this.#element('add', 'ticket', ticketMs)
    ])
    // From here to the kernel's taking of the next transaction less than a ticket's life passes, or it fails.
    const openMs = Math.floor(left() - ticketMs - tickMs)
    if (openMs <= 0 || !wanted()) return 'nothing-left'
    const verdict = await this.#filter.transaction([
      this.#element('delete', 'ticket'), ...this.#openStatements(openMs)
    ])
    if (verdict.taken) return 'granted'
    if (verdict.reason.includes('No such file or directory')) return 'late'
    throw this.#error('opened', verdict.reason)
  }

  /** Shuts it, and makes every grant under way fail. Rejects with E_ENGINE. */
  async shut(): Promise<void> {
    await this.#must('shut', [this.#flush('open'), this.#flush('spoken'), this.#flush('ticket')])
  }

  /** Whether a gate is there, laid by this process or one before. Rejects with E_ENGINE. */
  async isLaid(): Promise<boolean> {
    const { taken } = await this.#filter.transaction([this.#flush('ticket')])
    return taken
  }

  /** Takes it away: afterwards nothing holds the device's frames. Rejects with E_ENGINE. */
  async remove(): Promise<void> {
    const table = `bridge ${this.#table}`
    await this.#must('removed', [`add table ${table}`, `delete table ${table}`])
  }

  #openStatements(timeoutMs?: number): readonly string[] {
    return (['open', 'spoken'] as const).flatMap((set) =>
      [this.#flush(set), this.#element('add', set, timeoutMs)])
  }

  #flush(set: SetName): string {
    return `flush set bridge ${this.#table} ${set}`
  }

  #element(verb: 'add' | 'delete', set: SetName, timeoutMs?: number): string {
    const timeout = timeoutMs === undefined ? '' : ` timeout ${timeoutMs}ms`
    const keys = set === 'spoken' ? [this.#place.mac] : this.#devices.map((device) => `"${device}"`)
    const elements = keys.map((key) => key + timeout).join(', ')
    return `${verb} element bridge ${this.#table} ${set} { ${elements} }`
  }

  async #must(done: string, statements: readonly string[]): Promise<void> {
    const verdict = await this.#filter.transaction(statements)
    if (!verdict.taken) throw this.#error(done, verdict.reason)
  }

  #error(done: string, reason: string): TailgateError {
    const { device } = this.#place
    const what = `the gate of ${device} could not be ${done}; if nft(8) has removed the table `
      + `${this.#table}, start the agent again`
    return new TailgateError('E_ENGINE', `${what}: ${reason}`, {
      context: { device, table: this.#table }
    })
  }
}
