import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf, TailgateError } from '../base/errors.ts'

/** A number of Xen's; or whichever domain has the guest's name, while that is being made. */
export type Claimed = number | 'any'

/**
 * Which domain of this host is the guest, told to an agent that comes after this one: by its name alone
 * somebody's own would be taken for it. One line in a file of the guest's directory, the boot and the number:
 *
 *   2b7f2b5c-9f04-4d6a-b5d9-0f6b7f7f3c11 7
 *
 * Numbers begin anew when the host does. So a claim ends with its boot, and need not be synced to the disk.
 * One whose domain has gone does no harm: Xen gives a number again after some 32,000 others.
 */
export class XenClaim {
  readonly #directory: string
  readonly #path: string

  constructor(directory: string) {
    this.#directory = directory
    this.#path = join(directory, 'claim')
  }

  /** Claims a domain in the place of the one before. Rejects with E_ENGINE. */
  async take(domain: Claimed): Promise<void> {
    const next = `${this.#path}.new`
    try {
      await mkdir(this.#directory, { recursive: true, mode: 0o700 })
      await writeFile(next, lineOf(await boot(), domain))
      await rename(next, this.#path)
    } catch (cause) {
      const what = `it cannot be written down which domain is the guest: ${messageOf(cause)}`
      throw new TailgateError('E_ENGINE', `${what}; look at its disk`, { cause })
    }
  }

  /** Whether the domain of the guest's name, which has this number, is claimed. */
  async covers(id: number): Promise<boolean> {
    const line = await readFile(this.#path, 'utf8').catch(() => '')
    const now = await boot()
    return line === lineOf(now, id) || line === lineOf(now, 'any')
  }

  /** No domain is claimed any more: it has gone. That is what counts, and not whether the disk takes it. */
  async drop(): Promise<void> {
    await rm(this.#path, { force: true }).catch(() => undefined)
  }
}

function lineOf(boot: string, domain: Claimed): string {
  return `${boot} ${domain}\n`
}

async function boot(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()
}
