import { spawn, type ChildProcess } from 'node:child_process'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { messageOf, TailgateError } from '../base/errors.ts'
import type { QemuMachine } from './qemu-machine.ts'
import { beginLoading } from './qemu-migration.ts'
import { QmpClient } from './qmp.ts'
import { writeDrained } from './write-drained.ts'

/** What of QEMU's last words is kept for the reason of its end, in characters. */
const lastWordsMax = 2000
/** A killed QEMU has to give its memory back before it is gone. */
const goneMsMax = 30_000
const goneCheckMs = 20

/** The descriptors that QEMU finds open at its start. */
const controlDescriptor = 3
const incomingDescriptor = 4

export interface QemuLaunch {
  /** The program, with words that come before everything else. */
  readonly program: readonly string[]
  /** The machine, without its network and its control. */
  readonly arguments: readonly string[]
  /** QEMU's options for the network card. */
  readonly network: readonly string[]
  /** Where the process is written down; there is one at a time in each. */
  readonly directory: string
  /** Whether it waits for a guest to be loaded; else it stands at the guest's first instruction. */
  readonly incoming: boolean
  /** How long it may take to answer, in milliseconds. */
  readonly timeoutMs: number
}

/**
 * A QEMU that this process started, and that does not outlive it: the kernel kills it when the thread that
 * started it ends (prctl PR_SET_PDEATHSIG, by way of setpriv).
 */
export class QemuProcess implements QemuMachine {
  readonly qmp: QmpClient
  readonly gone: Promise<string>
  readonly #child: ChildProcess
  readonly #incoming: Duplex
  readonly #directory: string

  readonly #ending: Promise<Ending>

  private constructor(
    child: ChildProcess, ending: Promise<Ending>, qmp: QmpClient, incoming: Duplex, directory: string
  ) {
    this.#child = child
    this.#ending = ending
    this.gone = ending.then(({ how, words }) => `QEMU ended by itself (${how})${words}`)
    this.qmp = qmp
    this.#incoming = incoming
    this.#directory = directory
  }

  get pid(): number | undefined { return this.#child.pid }

  /** Starts a QEMU whose guest does not run yet. Rejects with E_ENGINE; none is left then. */
  static async launch(launch: QemuLaunch): Promise<QemuProcess> {
    await endStale(launch.directory)
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...launch.program, ...wordsOf(launch)], {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe']
    })
    const [, , , control, incoming] = child.stdio
    const ending = endingOf(child)
    try {
      if (!isDuplex(control) || !isDuplex(incoming)) {
        throw new TailgateError('E_ENGINE', 'QEMU could not be given its sockets')
      }
      // How QEMU ended is told by `gone`; a broken pipe says less.
      incoming.on('error', () => undefined)
      await writePid(launch.directory, child.pid)
      const qmp = await QmpClient.open(control, launch.timeoutMs)
      return new QemuProcess(child, ending, qmp, incoming, launch.directory)
    } catch (cause) {
      child.kill('SIGKILL')
      const { words, notStarted } = await ending
      throw new TailgateError('E_ENGINE', notStarted ?? `${messageOf(cause)}${words}`, { cause })
    }
  }

  /**
   * Loads a guest from the bytes of a migration stream. It is in place, and does not run, when this resolves.
   * Rejects with E_ENGINE, and with whatever `stream` throws.
   */
  async load(stream: AsyncIterable<Uint8Array>, timeoutMs: number): Promise<void> {
    const loading = await beginLoading(this.qmp, `fd:${incomingDescriptor}`, timeoutMs)
    for await (const bytes of stream) {
      await writeDrained(this.#incoming, bytes, 'the QEMU that is to load the guest')
    }
    this.#incoming.end()
    const status = await loading.over.catch(async (cause: unknown) => {
      // A QEMU that cannot load a guest ends, and says why on its way out.
      this.#child.kill('SIGKILL')
      const { words } = await this.#ending
      throw new TailgateError('E_ENGINE', `QEMU could not load the checkpoint${words}`, { cause })
    })
    if (status === 'completed') return
    throw new TailgateError('E_ENGINE', `QEMU could not load the checkpoint: it ended as '${status}'`)
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.gone
    this.qmp.close()
    await rm(pidFile(this.#directory), { force: true })
  }
}

/**
 * Ends a QEMU that a process before this one has left in `directory`. Its id may be another's by now, so the
 * time at which it began counts too. Rejects with E_ENGINE when it cannot be ended.
 */
export async function endStale(directory: string): Promise<void> {
  const written = await readFile(pidFile(directory), 'utf8').catch(() => '')
  const pid = Number(written.split(' ')[0])
  if (Number.isInteger(pid) && pid > 1) {
    const deadline = performance.now() + goneMsMax
    while (await identityOf(pid) === written) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code === 'ESRCH') break
        throw notEnded(pid, messageOf(cause))
      }
      if (performance.now() > deadline) throw notEnded(pid, `it is still there after ${goneMsMax} ms`)
      await new Promise(resolve => { setTimeout(resolve, goneCheckMs) })
    }
  }
  await rm(pidFile(directory), { force: true })
}

function notEnded(pid: number, why: string): TailgateError {
  const what = `an earlier QEMU (process ${pid}) cannot be ended: ${why}; end it by hand`
  return new TailgateError('E_ENGINE', what)
}

async function writePid(directory: string, pid: number | undefined): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const identity = pid === undefined ? undefined : await identityOf(pid)
  if (identity === undefined) return
  await writeFile(pidFile(directory), identity)
}

/** A process id, when that process began (proc(5), field 22), and the boot it belongs to. */
async function identityOf(pid: number): Promise<string | undefined> {
  try {
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8')
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    // One that has ended and is only waited for by its parent holds nothing any more.
    return fields[0] === 'Z' ? undefined : `${pid} ${fields[19] ?? ''} ${boot.trim()}`
  } catch {
    return undefined
  }
}

function pidFile(directory: string): string {
  return join(directory, 'qemu.pid')
}

function wordsOf({ arguments: words, network, incoming }: QemuLaunch): readonly string[] {
  return [
    '-nodefaults', '-no-user-config', '-display', 'none', ...words, ...network, '-S',
    '-chardev', `socket,id=tailgate-control,fd=${controlDescriptor}`,
    '-mon', 'chardev=tailgate-control,mode=control', ...incoming ? ['-incoming', 'defer'] : []
  ]
}

interface Ending {
  readonly how: string
  /** What it said last, as the end of a sentence. */
  readonly words: string
  /** Why there was no process at all. */
  readonly notStarted?: string
}

/** Resolves when the process is gone, with what is known of the reason. */
function endingOf(child: ChildProcess): Promise<Ending> {
  let lastWords = ''
  child.stderr?.on('data', (bytes: Buffer) => {
    lastWords = (lastWords + bytes.toString()).slice(-lastWordsMax)
  })
  return new Promise(resolve => {
    child.once('error', error => {
      const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
      const notStarted = missing ? 'QEMU is started through setpriv, which is missing: install util-linux'
        : `QEMU could not be started: ${error.message}`
      resolve({ how: 'never began', words: '', notStarted })
    })
    child.once('close', (code, signal) => {
      const words = lastWords.trim()
      resolve({ how: signal ?? `exit code ${code}`, words: words === '' ? '' : `: ${words}` })
    })
  })
}

function isDuplex(pipe: unknown): pipe is Duplex {
  return typeof pipe === 'object' && pipe !== null && 'write' in pipe && 'read' in pipe
}
