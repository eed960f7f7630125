import { spawn, type ChildProcess } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { setTimeout } from 'node:timers/promises'
import { messageOf, TailgateError } from '../base/errors.ts'
import { runOrder, withSystemPrograms } from './system-programs.ts'

/** How long one order of the toolstack may take, in milliseconds: a domain's memory is given back slowly. */
const timeoutMs = 120_000
/** What is kept of a program's last words, in characters. */
const lastWordsMax = 2000
/** How long an `xl remus` that has lost its agent may last, and how often one looks, in milliseconds. */
const othersMsMax = 90_000
const othersCheckMs = 100

/** A network card of a domain, as libxl describes it. */
export interface XenCard {
  readonly mac: string
  readonly bridge: string
  /** The name of its device in dom0: `vifname` of the configuration. '' where Xen chooses one. */
  readonly device: string
}

/** What libxl's description of a domain says of what matters here. */
export interface XenDescription {
  readonly name: string
  readonly type: string
  readonly cards: readonly XenCard[]
  /** Disks that the domain may write to, by their names in it. */
  readonly writableDisks: readonly string[]
}

/** Xen's toolstack in dom0, by its program xl(1). */
export class Xl {
  /** The domain's number; undefined when there is none of that name. */
  async domainId(name: string): Promise<number | undefined> {
    try {
      return Number(await this.#run(`the domain ${name} could not be looked up`, ['domid', name]))
    } catch (error) {
      if (/invalid domain identifier|Can't get domid/i.test(messageOf(error))) return undefined
      throw error
    }
  }

  /** Whether the domain stands in the state `suspend` and runs on only by order. */
  async isSuspended(name: string): Promise<boolean> {
    const said = await this.#run(`the domain ${name} could not be listed`, ['list', name])
    return /^\S+ +\d+ +\d+ +\d+ +[-r][-b][-p]s/m.test(said)
  }

  /** A running domain as libxl has it. */
  async describe(name: string): Promise<XenDescription> {
    const said = await this.#run(`the domain ${name} could not be described`, ['list', '-l', name])
    return describedIn(said)
  }

  /** The domain that a configuration would make; nothing is made. */
  async describeFile(config: string): Promise<XenDescription> {
    const what = `the domain of ${config} could not be described`
    return describedIn(await this.#run(what, ['create', '-q', '-n', config]))
  }

  async create(config: string): Promise<void> {
    await this.#run(`the domain of ${config} could not be created`, ['create', config])
  }

  /** Lets a domain that was restored to stand run. */
  async unpause(name: string): Promise<void> {
    await this.#run(`the domain ${name} could not be let run`, ['unpause', name])
  }

  /** Nothing happens when there is none of that name. */
  async destroy(name: string): Promise<void> {
    if (await this.domainId(name) === undefined) return
    await this.#run(`the domain ${name} could not be destroyed`, ['destroy', name])
    if (await this.domainId(name) === undefined) return
    throw new TailgateError('E_ENGINE', `the domain ${name} is still there after it was destroyed: `
      + 'look at xl list, and at what holds its memory')
  }

  /**
   * Resolves when no `xl remus` has the domain: that of an agent before this one ends by itself, at its next
   * checkpoint. Rejects with E_ENGINE when one does not.
   */
  async othersGone(domain: string): Promise<void> {
    const deadline = performance.now() + othersMsMax
    for (let others = await remusOf(domain); others.length > 0; others = await remusOf(domain)) {
      if (performance.now() > deadline) {
        throw new TailgateError('E_ENGINE', `another xl remus has the domain ${domain}: end the process `
          + `${others.join(' and ')} by hand`)
      }
      await setTimeout(othersCheckMs)
    }
  }

  async #run(what: string, args: readonly string[]): Promise<string> {
    const missing = 'run the agent in dom0, with xen-utils installed'
    return (await runOrder({ what, program: 'xl', args, timeoutMs, missing, reasonIn: lastLineOf })).trim()
  }
}

/**
 * What a description in libxl's JSON says: of `xl list -l`, `xl create -n` or a stream's beginning. Throws
 * E_ENGINE.
 */
export function describedIn(json: string): XenDescription {
  try {
    const parsed = JSON.parse(json) as Described | readonly { readonly config: Described }[]
    const found = Array.isArray(parsed) ? (parsed as readonly { readonly config: Described }[])[0]?.config
      : parsed as Described
    const { c_info: info, nics = [], disks = [] } = found ?? {}
    return {
      name: info?.name ?? '', type: info?.type ?? 'pv',
      cards: nics.map(({ mac = '', bridge = '', ifname = '' }) => ({ mac, bridge, device: ifname })),
      writableDisks: disks.filter(({ readwrite }) => readwrite !== undefined && readwrite !== 0)
        .map(({ vdev = 'without a name' }) => vdev)
    }
  } catch (cause) {
    throw new TailgateError('E_ENGINE', `Xen's description of the domain is not JSON: ${messageOf(cause)}`,
      { cause })
  }
}

/** The fields of libxl_domain_config that are read here (Xen's libxl_types.idl); defaults are left out. */
interface Described {
  readonly c_info?: { readonly type?: string, readonly name?: string }
  readonly nics?: readonly { readonly mac?: string, readonly bridge?: string, readonly ifname?: string }[]
  readonly disks?: readonly { readonly vdev?: string, readonly readwrite?: number }[]
}

/** How a program of the toolstack ended, and what it said last. */
export interface XlEnding {
  readonly status: number | null
  readonly words: string
}

/** An `xl` that stays for as long as its stream does. `ending` resolves when it is gone; it never rejects. */
export interface XlProcess {
  readonly child: ChildProcess
  readonly ending: Promise<XlEnding>
}

/** Starts an `xl` with the pipes that `stdio` says. */
export function spawnXl(
  args: readonly string[], stdio: readonly ('ignore' | 'pipe')[], before: readonly string[] = []
): XlProcess {
  const [program = 'xl', ...words] = [...before, 'xl', ...args]
  const child = spawn(program, words, { stdio: [...stdio], env: withSystemPrograms(process.env) })
  let said = ''
  child.stderr?.on('data', (bytes: Buffer) => { said = (said + bytes.toString()).slice(-lastWordsMax) })
  const ending = new Promise<XlEnding>(resolve => {
    child.once('error', ({ message }) => {
      resolve({ status: null, words: `it could not be started: ${message}` })
    })
    // What it has started holds its stderr open, too, for as long as it has a word to wait for.
    child.once('exit', () => { child.stdio[3]?.destroy() })
    child.once('close', (status, signal) => {
      resolve({ status, words: lastLineOf(said) ?? signal ?? `it ended with status ${status ?? 'unknown'}` })
    })
  })
  return { child, ending }
}

/** The processes of this host that are an `xl remus` of a domain. */
async function remusOf(domain: string): Promise<readonly string[]> {
  const found: string[] = []
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue
    const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0')
    const isXl = /(^|\/)xl$/.test(words[0] ?? '')
    if (isXl && words.includes('remus') && words.includes(domain)) found.push(pid)
  }
  return found
}

function lastLineOf(text: string): string | undefined {
  return text.trim().split('\n').at(-1)?.trim() || undefined
}
