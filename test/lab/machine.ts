import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { withSystemPrograms } from '../../src/engine/system-programs.ts'

/** How often the states of processes are looked at while a machine freezes, before something is wrong. */
const looksMax = 100_000
/** Stopped, dead and not yet waited for, or gone. */
const doesNothing: readonly string[] = ['T', 'Z', 'X', '']
/**
 * Its first process holds the machine's namespaces, and ends when the one that booted it does. It is a shell
 * to the end: the first process is given all orphans, and who waits for one of them to be gone waits for ever
 * where the first process does not.
 */
const init = 'ip link set dev lo up && echo up && cat; exit $?'

/**
 * A machine of the lab: a network namespace, and a process namespace, with a /proc of its own, which makes
 * its death as sudden as that of a real one: when its first process is killed, the kernel kills all others.
 */
export class Machine {
  readonly name: string
  /** The first process, by whose id the namespaces are named. */
  readonly pid: number
  readonly #holder: ChildProcess

  private constructor(name: string, holder: ChildProcess) {
    this.name = name
    this.#holder = holder
    const id = String(holder.pid)
    this.pid = Number(readFileSync(`/proc/${id}/task/${id}/children`, 'utf8').trim())
  }

  static async boot(name: string): Promise<Machine> {
    const args = ['--net', '--pid', '--mount-proc', '--fork', 'sh', '-c', init]
    const holder = spawn('unshare', args, {
      env: withSystemPrograms(process.env), stdio: ['pipe', 'pipe', 'pipe']
    })
    let said = ''
    holder.stderr.on('data', (bytes: Buffer) => { said += bytes.toString() })
    const ended = new Promise<never>((_resolve, reject) => {
      holder.once('exit', () => reject(new Error(`${name} did not come up: ${said}`)))
    })
    await Promise.race([once(holder.stdout, 'data'), ended])
    ended.catch(() => undefined)
    return new Machine(name, holder)
  }

  /** The words before a command that is to run on this machine. */
  get enter(): readonly [string, ...string[]] {
    const here = `--wd=${process.cwd()}`
    return ['nsenter', '--target', String(this.pid), '--mount', '--net', '--pid', here, '--']
  }

  /** Runs a command on it, with `input`, and returns what it says. Throws if it fails. */
  run(command: readonly string[], input = ''): string {
    const [program, ...args] = [...this.enter, ...command]
    return execFileSync(program, args, {
      input, encoding: 'utf8', env: withSystemPrograms(process.env), stdio: ['pipe', 'pipe', 'pipe']
    })
  }

  /** All processes in its network, wherever they were started. */
  pids(): readonly number[] {
    const own = networkOf(this.pid)
    if (own === undefined) return []
    return readdirSync('/proc').map(Number).filter((pid) => pid > 0 && networkOf(pid) === own)
  }

  /** As proc(5) has it: `T` is stopped; '' when it is gone. */
  stateOf(pid: number): string {
    return stateOf(pid)
  }

  /** Stops every process (SIGSTOP), and returns when all stand still. */
  freeze(): void {
    for (let looks = 0; looks < looksMax; looks++) {
      const moving = this.pids().filter((pid) => !doesNothing.includes(stateOf(pid)))
      if (moving.length === 0) return
      for (const pid of moving) signal(pid, 'SIGSTOP')
    }
    throw new Error(`${this.name} does not stand still`)
  }

  /** Lets them run on. A program that waits for another one that was stopped can stop itself once more. */
  thaw(): void {
    for (let looks = 0; looks < looksMax; looks++) {
      const stopped = this.pids().filter((pid) => stateOf(pid) === 'T')
      if (stopped.length === 0) return
      for (const pid of stopped) signal(pid, 'SIGCONT')
    }
    throw new Error(`${this.name} does not wake`)
  }

  /** Kills every process at once (SIGKILL); resolves when they are gone, and the network with them. */
  async kill(): Promise<void> {
    if (this.#holder.exitCode !== null || this.#holder.signalCode !== null) return
    const gone = once(this.#holder, 'exit')
    const holder = this.#holder.pid ?? 0
    // Those that only entered its network are not killed by the kernel with the first process, and one of
    // them that is stopped would keep the rest from being gone.
    const others = this.pids().filter((pid) => pid !== holder)
    signal(this.pid, 'SIGKILL')
    for (const pid of others) signal(pid, 'SIGKILL')
    signal(holder, 'SIGCONT')
    await gone
  }
}

/** Which network a process is in; undefined when it is gone. */
function networkOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`)
  } catch {
    return undefined
  }
}

/** The field after the name, which may have any character in it. */
function stateOf(pid: number): string {
  try {
    return /^.*\) (\w)/s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1] ?? ''
  } catch {
    return ''
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
