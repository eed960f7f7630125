import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as after } from 'node:timers/promises'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { programPath } from '../program.ts'

/** In the guest every connection to this port is a shell (deploy/demo-guest/init). */
const shellPort = 7000
const readyMsMax = 120_000
const functions = 200
const compiler = 'tcc'

/** What is compiled: enough for some tenths of a second of an emulated processor. */
function source(): string {
  return Array.from({ length: functions }, (_, n) => `
int f${n}(int a, int b) {
  int i, sum = ${n};
  for (i = 0; i < a; i++) { if ((i ^ b) & 1) sum += i * ${n % 7 + 1}; else sum -= b << (i & 7); }
  return sum;
}`).join('\n')
}

/**
 * A compiler that runs in the guest again and again, started over the guest's own network and not through the
 * gateway, so that nothing that it says is held back.
 */
export class CompileJob {
  readonly #host: string

  private constructor(host: string) {
    this.#host = host
  }

  /** Puts the compiler of this machine, and what it compiles, into the guest's memory. */
  static async prepare(host: string): Promise<CompileJob> {
    const job = new CompileJob(host)
    const path = programPath(compiler)
    if (path === undefined) throw new Error(`${compiler} is not installed`)
    // Its libraries and their loader come with it: the guest has its own, or none.
    const libraries = execFileSync('ldd', [path], { encoding: 'utf8' }).match(/\/\S+/g) ?? []
    const files = [path, ...libraries]
    const tar = execFileSync('tar', ['--dereference', '--transform', 's,.*/,,', '-Pc', ...files],
      { maxBuffer: 1 << 26 })
    const packed = await promisify(gzip)(tar)
    const socket = await job.#shell([
      'mkdir -p /job', `base64 -d <<END | tar -xz -C /job\n${packed.toString('base64')}\nEND`,
      `cat >/job/source.c <<END\n${source()}\nEND`, 'echo prepared'
    ])
    await once(socket, 'data', { signal: AbortSignal.timeout(readyMsMax) })
    socket.destroy()
    return job
  }

  /** Compiles per second, over so many seconds. */
  async rate(seconds: number): Promise<number> {
    const command = `/job/ld-linux-x86-64.so.2 --library-path /job /job/${compiler} -nostdinc -c `
    const socket = await this.#shell([`while ${command}/job/source.c -o /job/source.o && echo; do :; done`])
    try {
      // The first one finds its files not yet read.
      await once(socket, 'data', { signal: AbortSignal.timeout(readyMsMax) })
      const since = performance.now()
      let [count, last] = [0, since]
      socket.on('data', (bytes: Buffer) => {
        count += bytes.length
        last = performance.now()
      })
      await after(seconds * 1000)
      if (count === 0) throw new Error('the guest has compiled nothing')
      return count / (last - since) * 1000
    } finally {
      socket.destroy()
    }
  }

  async #shell(lines: readonly string[]): Promise<Socket> {
    const socket = connect(shellPort, this.#host)
    await once(socket, 'connect')
    socket.on('error', () => undefined)
    socket.write(`${lines.join('\n')}\n`)
    return socket
  }
}
