import { spawn } from 'node:child_process'
import { isIP } from 'node:net'
import { TailgateError } from '../base/errors.ts'

/** nft answers within tens of milliseconds. */
const nftTimeoutMs = 5000

export interface RstShieldOptions {
  /** Whose shield it is: one of a dead process with the same name is replaced. */
  readonly name: string
  /** SO_MARK of the sockets whose resets are meant. */
  readonly mark: number
  /** The program, for a machine that has it elsewhere. */
  readonly nft?: string
}

/**
 * Keeps this machine's kernel from answering a restored guest on connections before they are rebuilt. To the
 * kernel they belong to nobody, so it answers whatever the guest sends with a reset; such a reset carries no
 * mark, where the reset of a real socket carries the socket's. Or they are over, and in TIME-WAIT here: then
 * it acknowledges all that the guest of before had said, and the restored one, which says it again, keeps
 * nothing of it (RFC 9293, 3.10.7.4). Such an acknowledgement is of no process's socket, so it has no owner.
 *
 *     guest ── data ──► no such socket ── RST, mark 0 ───► dropped
 *     guest ── data ──► TIME-WAIT ─────── ACK, no owner ─► dropped
 *     socket, reset by its client ─────── RST, mark M ───► guest
 *
 * It is a table of its own in nftables, and there only while it is armed. Needs CAP_NET_ADMIN.
 */
export class RstShield {
  readonly #table: string
  readonly #mark: number
  readonly #nft: string
  /** Orders are carried out one after another. */
  #last: Promise<void> = Promise.resolve()
  #armed = false

  constructor({ name, mark, nft = 'nft' }: RstShieldOptions) {
    this.#table = shieldTable(name)
    this.#mark = mark
    this.#nft = nft
  }

  get table(): string {
    return this.#table
  }

  get armed(): boolean {
    return this.#armed
  }

  /** Shields the guest's addresses, and no others. Rejects with E_ATTACH. */
  arm(addresses: readonly string[]): Promise<void> {
    this.#armed = true
    return this.#order(`${this.#removal()}${this.#rules(addresses)}`)
  }

  /** Takes the shield away, also one that a dead process has left. Rejects with E_ATTACH. */
  disarm(): Promise<void> {
    this.#armed = false
    return this.#order(this.#removal())
  }

  #order(script: string): Promise<void> {
    const next = this.#last.then(() => runNft(this.#nft, script))
    this.#last = next.catch(() => undefined)
    return next
  }

  /** Adding before deleting makes it no error that there is none. */
  #removal(): string {
    return `add table inet ${this.#table}\ndelete table inet ${this.#table}\n`
  }

  #rules(addresses: readonly string[]): string {
    const unique = [...new Set(addresses)]
    const hook = 'type filter hook output priority 0; policy accept;'
    return `table inet ${this.#table} {\nchain output {\n${hook}\n`
      + this.#rulesFor('ip', unique.filter((address) => isIP(address) === 4))
      + this.#rulesFor('ip6', unique.filter((address) => isIP(address) === 6))
      + '}\n}\n'
  }

  #rulesFor(family: 'ip' | 'ip6', addresses: readonly string[]): string {
    if (addresses.length === 0) return ''
    const tcp = `${family} daddr { ${addresses.join(', ')} } tcp flags & rst`
    return `${tcp} == rst meta mark != ${this.#mark} drop\n`
      + `${tcp} != rst meta skuid >= 0 accept\n`
      + `${tcp} != rst drop\n`
  }
}

/** The table of the shield of this name: other letters than nftables takes are written as their codes. */
export function shieldTable(name: string): string {
  const plain = name.replace(/[^A-Za-z0-9]/g, (letter) => `_${letter.charCodeAt(0).toString(16)}_`)
  return `tailgate_rst_${plain}`
}

function runNft(program: string, script: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, ['-f', '-'], { stdio: ['pipe', 'ignore', 'pipe'] })
    const limit = setTimeout(() => child.kill('SIGKILL'), nftTimeoutMs)
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => { said = (said + text).slice(0, 2000) })
    // It may refuse to run before it has read anything.
    child.stdin.on('error', () => undefined)
    child.once('error', (cause) => {
      clearTimeout(limit)
      reject(nftMissing(program, cause))
    })
    child.once('close', (status, signal) => {
      clearTimeout(limit)
      if (status === 0) resolve()
      else reject(nftRefused(said, status ?? signal))
    })
    child.stdin.end(script)
  })
}

function nftMissing(program: string, cause: Error): TailgateError {
  const what = `${program} cannot be run: install the package nftables`
  return new TailgateError('E_ATTACH', `${what} (${cause.message})`, { cause })
}

function nftRefused(said: string, status: number | string | null): TailgateError {
  const why = said.split('\n')[0] ?? ''
  const remedy = why.includes('not permitted')
    ? 'give this process the capability cap_net_admin, as ambient one, so that nft has it too'
    : 'is nf_tables, with tables of the family inet, in the kernel?'
  return new TailgateError('E_ATTACH', `nft refused the reset shield (${why || String(status)}): ${remedy}`)
}
