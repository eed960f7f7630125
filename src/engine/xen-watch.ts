import { spawn, type ChildProcess } from 'node:child_process'
import { withSystemPrograms } from './system-programs.ts'

/** Xen's own event: a domain has ended, or stands in a state that it does not leave by itself. */
const releaseEvent = '@releaseDomain'

/**
 * Tells whenever some domain of this host may have gone, by xenstore-watch(1): once at the beginning, and at
 * each event. Where that program ends, `lost` is called, once: nobody would notice a death any more.
 */
export class XenWatch {
  readonly #child: ChildProcess
  #stopped = false

  constructor(look: () => void, lost: (reason: string) => void) {
    this.#child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', 'xenstore-watch', releaseEvent], {
      stdio: ['ignore', 'pipe', 'ignore'], env: withSystemPrograms(process.env)
    })
    this.#child.stdout?.on('data', look)
    const end = (reason: string): void => {
      if (this.#stopped) return
      this.#stopped = true
      lost(`xenstore-watch ${reason}: look at xenstored`)
    }
    this.#child.once('error', ({ message }) => { end(`could not be started (${message})`) })
    this.#child.once('close', (code, signal) => { end(`has ended (${signal ?? `status ${code}`})`) })
  }

  stop(): void {
    this.#stopped = true
    this.#child.kill('SIGKILL')
  }
}
