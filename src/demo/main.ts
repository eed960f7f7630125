#!/usr/bin/env node
import { parseArgs } from 'node:util'
import { messageOf } from '../base/errors.ts'
import { askStatus } from '../observe/admin-client.ts'
import { bytesText, durationText } from '../observe/quantity.ts'
import { Watch } from '../observe/watch.ts'
import { join } from 'node:path'
import { Cluster } from './cluster.ts'
import type { LogLine } from './log-line.ts'
import { Events } from './events.ts'
import { Load } from './load.ts'
import { againInPrivateNetwork, inPrivateNetwork } from './private-network.ts'
import { prepareVirtualMachine, qemuStage } from './qemu-stage.ts'
import { embeddedStage, type HostLetter } from './stage.ts'
import { faults, summarize, summaryTable, type DemoSummary } from './summary.ts'

const usage = `npm start [-- OPTIONS]: kills the primary under load; no client notices more than a pause

  --json   print the closing table as one line of JSON, and nothing else
  --keep   stay up, for redis-cli and for killing the primary by hand
  --qemu   the guest is a virtual machine under QEMU; installs Debian packages and builds npm packages
           that are missing
`

/** Times of the demo, in milliseconds. */
const beforeKillMs = 2500
const afterFailoverMs = 2000
const rateEveryMs = 500
/** For a machine to start, in milliseconds. */
const startMsMax = 120_000

interface Options {
  readonly json: boolean
  readonly keep: boolean
  readonly qemu: boolean
}

class Demo {
  readonly #options: Options
  readonly #watch: Watch
  readonly #events = new Events()
  #cluster: Cluster | undefined
  #rate: NodeJS.Timeout | undefined
  #failover: LogLine | undefined
  /** Ends the wait of --keep. */
  #interrupted: (() => void) | undefined

  constructor(options: Options) {
    this.#options = options
    const output = options.json ? { write: () => true } : process.stdout
    this.#watch = new Watch({ output, now: () => performance.now(), environment: process.env })
  }

  async run(): Promise<number> {
    try {
      const cluster = await this.#start()
      if (this.#options.keep) return await this.#keep(cluster)
      return this.#tell(await this.#drama(cluster))
    } finally {
      clearInterval(this.#rate)
      const cluster = this.#cluster
      this.#cluster = undefined
      await cluster?.close()
    }
  }

  /** A signal came. True if the demo then ends by itself: with --keep, that is how it ends. */
  interrupt(): boolean {
    this.#interrupted?.()
    return this.#interrupted !== undefined
  }

  /** Ends everything at once, and leaves nothing behind. */
  killAll(): void {
    this.#cluster?.killAll()
  }

  async #start(): Promise<Cluster> {
    const stage = this.#options.qemu ? await qemuStage() : embeddedStage
    const cluster = await Cluster.create(stage, {
      line: (from, line) => this.#line(from, line),
      ended: error => this.#events.fail(error)
    })
    this.#cluster = cluster
    const isProtected = this.#events.next('gateway', 'guest.protected', 'the guest is protected')
    cluster.startAgent('a')
    cluster.startAgent('b')
    cluster.startGateway()
    this.#watch.line('info', stage.about)
    await isProtected
    cluster.check(['gateway', 'host-a', 'host-b'])
    return cluster
  }

  async #drama(cluster: Cluster): Promise<DemoSummary> {
    const load = new Load({ port: cluster.ports.service, long: 40, pipelined: 8, short: 8 })
    load.start()
    this.#watch.line('info', `${load.workers} clients: long, pipelined and short connections to port `
      + String(cluster.ports.service))
    await this.#events.inTime('the guest has answered every client', load.allHeard(), startMsMax)
    load.forgetPauses()
    this.#rate = setInterval(() => this.#showRate(load), rateEveryMs)
    await pause(beforeKillMs)
    const over = this.#events.next('gateway', 'failover.done', 'the failover is done')
    cluster.killHost('a')
    this.#watch.line('strike', 'SIGKILL to the agent and the guest on host-a')
    this.#failover = await over
    await pause(afterFailoverMs)
    clearInterval(this.#rate)
    cluster.check(['gateway', 'host-b'])
    await load.finish()
    const status = await askStatus(join(cluster.directory, 'gateway', 'admin.sock'))
    const phasesMs = status.guests[0]?.lastFailover?.phasesMs ?? {}
    return summarize(load.figures, { ...this.#failover, phasesMs })
  }

  #showRate(load: Load): void {
    const heard = load.takeHeard()
    const pauseMs = load.takePause()
    this.#watch.line('info', `${load.figures.answered} answered, ${load.figures.reset} reset; `
      + `${heard} of ${load.workers} clients heard in ${durationText(rateEveryMs)}, `
      + `slowest answer ${durationText(pauseMs)}`)
  }

  #tell(summary: DemoSummary): number {
    const bad = faults(summary)
    if (this.#options.json) process.stdout.write(`${JSON.stringify(summary)}\n`)
    else {
      const verdict = bad.length === 0
        ? 'Every request was answered once and rightly, on the connections the clients had opened.'
        : `This should not be: ${bad.join(', ')}.`
      process.stdout.write(`\n${summaryTable(summary).join('\n')}\n\n${verdict}\n`)
    }
    return bad.length === 0 ? 0 : 1
  }

  // ---- --keep

  async #keep(cluster: Cluster): Promise<number> {
    const config = cluster.configOf('gateway')
    const bin = `node ${join(import.meta.dirname, '../cli/main.js')}`
    process.stdout.write(`
Try it from another terminal:
  redis-cli -p ${cluster.ports.service}
  kill -9 -- -${cluster.child('host-a')?.pid ?? 0}      # the agent and the guest on host-a
  ${bin} status -c ${config}
  ${bin} failover demo -c ${config}
An agent that was killed comes back after two seconds and becomes the backup. Ctrl-C ends everything.

`)
    for (const letter of ['a', 'b'] as const) void this.#revive(cluster, letter)
    await new Promise<void>(resolve => { this.#interrupted = resolve })
    return 0
  }

  async #revive(cluster: Cluster, letter: HostLetter): Promise<void> {
    for (;;) {
      await cluster.child(`host-${letter}`)?.exited
      this.#watch.line('strike', `host-${letter} is gone`)
      await pause(2000)
      if (this.#cluster === undefined) return
      cluster.startAgent(letter)
      const pid = cluster.child(`host-${letter}`)?.pid ?? 0
      this.#watch.line('info', `host-${letter} is back: kill -9 -- -${pid}`)
    }
  }

  // ---- what the processes say

  #line(from: string, line: LogLine): void {
    this.#events.take(from, line)
    const text = (key: string): string => String(line[key])
    switch (line.event) {
      case 'guest.started': return this.#watch.line('info', `${from}: the guest runs at ${text('endpoints')}`)
      case 'guest.syncing': return this.#watch.line('info', `syncing: ${text('reason')}`)
      case 'guest.protected': return this.#watch.line('good', `protected: ${text('reason')}`)
      case 'guest.unprotected': return this.#watch.line('warn', `unprotected: ${text('reason')}`)
      case 'guest.lost': return this.#watch.line('bad', `lost: ${text('reason')}`)
      case 'failover.began':
        return this.#watch.line('warn',
          `failover to ${text('to')}, generation ${text('generation')}: ${text('reason')}`)
      case 'failover.phase': return this.#watch.took('info', `  ${text('phase')}`, Number(line.ms))
      case 'guest.restored':
        return this.#watch.took('info',
          `${from}: checkpoint ${text('checkpoint')} is restored`, Number(line.ms))
      case 'connection.diverged':
        return this.#watch.line('bad', `connection ${text('connection')}: ${text('reason')}`)
      case 'failover.done':
        return this.#watch.took('good',
          `clients are served by ${text('to')}: ${text('kept')} connections kept, ${text('reset')} reset, `
          + ` ${bytesText(Number(line.replayedBytes))} replayed`, Number(line.totalMs))
      case 'process.failed': return this.#watch.line('bad', `${from} failed: ${text('error')}`)
      default:
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}

async function main(): Promise<number> {
  let values
  try {
    ({ values } = parseArgs({
      options: {
        json: { type: 'boolean' }, keep: { type: 'boolean' }, qemu: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' }
      }
    }))
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n\n${usage}`)
    return 2
  }
  if (values.help === true) {
    process.stdout.write(usage)
    return 0
  }
  const options = { json: values.json === true, keep: values.keep === true, qemu: values.qemu === true }
  return perform(options)
}

/** A virtual machine's bridge and devices are made in a network of the demo's own, by this program again. */
async function perform(options: Options): Promise<number> {
  try {
    if (!options.qemu || inPrivateNetwork()) return await endWithSignals(new Demo(options))
    await prepareVirtualMachine(line => { if (!options.json) process.stdout.write(`${line}\n`) })
    return await againInPrivateNetwork()
  } catch (error) {
    process.stderr.write(`the demo failed: ${messageOf(error)}\n`)
    return 1
  }
}

function endWithSignals(demo: Demo): Promise<number> {
  const signals = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const
  for (const [signal, status] of Object.entries(signals)) {
    process.once(signal, () => { if (!demo.interrupt()) process.exit(status) })
  }
  process.once('exit', () => demo.killAll())
  return demo.run()
}

process.exitCode = await main()
