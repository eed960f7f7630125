import { run } from '../namespace.ts'
import type { XenHostName } from './host.ts'

const table = 'frames-of-a-host'

/**
 * Counts the frames of one sender that come out of a host of the lab, at the bridge outside of it: a table of
 * nftables in the namespace of the test.
 */
export class FrameCount {
  readonly #chain: string

  constructor(host: XenHostName, mac: string) {
    this.#chain = `bridge ${table} ${host}`
    run('nft', 'add', 'table', 'bridge', table)
    run('nft', `add chain ${this.#chain} { type filter hook prerouting priority 0; }`)
    run('nft', `flush chain ${this.#chain}`)
    run('nft', `add rule ${this.#chain} iifname "guest-${host}" ether saddr ${mac} counter`)
  }

  get count(): number {
    const found = /counter packets (\d+)/.exec(run('nft', `list chain ${this.#chain}`))
    if (found === null) throw new Error(`nothing counts the frames of ${this.#chain}`)
    return Number(found[1])
  }
}
