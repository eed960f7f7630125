import { mkdir } from 'node:fs/promises'
import { messageOf, TailgateError } from '../base/errors.ts'
import { ownStreamSocket } from '../config/qemu-sockets.ts'
import type { GuestCondition } from '../core/message.ts'
import type { Engine } from './engine.ts'
import { asEngineError } from './engine-error.ts'
import type { GuestNetwork } from './guest-network.ts'
import { AttachedQemu } from './qemu-attached.ts'
import { QemuDisks, type QemuDisk, type Receiver } from './qemu-disks.ts'
import { FrameKind, frameBytesMax, ImageReader, ImageWriter, type Frame } from './qemu-image.ts'
import {
  describe, endOfGuest, letRun, mustMatch, mustRun, stand, statusOf, writableMedia, type QemuMachine
} from './qemu-machine.ts'
import { OutgoingStream, readySaving, save, type SaveMode } from './qemu-migration.ts'
import { endStale, QemuProcess } from './qemu-process.ts'

export interface QemuEngineOptions {
  /** The program, with words that come before everything else. */
  readonly program: readonly string[]
  /** The machine, without its network and its control. Undefined: this host can restore nothing. */
  readonly arguments: readonly string[] | undefined
  /** A control socket (QMP) of a running guest: {@link Engine.start} attaches to it and launches none. */
  readonly attach?: string
  readonly network: GuestNetwork
  /** The address of the guest's network card. */
  readonly mac: string
  /** More properties of the card, as `addr=0x2`: where another program's machine has it. */
  readonly card?: readonly string[]
  /** How the card is joined to the network's device: options of `-netdev`, without its id. */
  readonly netdev?: (device: string) => string
  /** Where the guest's services listen, `host:port` each: its own addresses, the same on every host. */
  readonly endpoints: readonly string[]
  /** Its writable disks. */
  readonly disks?: readonly QemuDisk[]
  /** For the socket, the process id and the disks of this guest. */
  readonly directory: string
  /** How a guest is to be saved; `plain` is what remains where the host does not allow the other. */
  readonly save?: SaveMode
  /** Bytes of an image that may wait for whoever takes it; beyond, the checkpoint fails. */
  readonly queuedBytes?: number
  /** How long QEMU may take to answer, and its stream may falter, in milliseconds. */
  readonly silenceMs?: number
  /** Told what this host turned out to allow. */
  notice?(text: string): void
}

const queuedBytesDefault = 64 * 1024 * 1024
const silenceMsDefault = 10_000
/** The longest that a whole migration may take, in milliseconds. */
const migrationMsMax = 600_000

/**
 * The engine of QEMU guests, by QMP alone:
 *
 *   stop ─► standing() ─► migrate ─► the guest runs on ─► its memory comes over a unix socket
 *
 * With background-snapshot QEMU saves the devices, write-protects the memory, starts the guest again and then
 * sends the memory as it was; without it the guest stands until all of it was sent. A live pre-copy is never
 * made: of QEMU 7.2 it restores guests that are dead (measured under TCG).
 */
export class QemuEngine implements Engine {
  readonly name = 'qemu'
  readonly canRestore: boolean
  onFailure: ((reason: string) => void) | undefined
  onPaused: ((ms: number) => void) | undefined
  readonly #options: QemuEngineOptions
  readonly #disks: QemuDisks
  #condition: GuestCondition = 'absent'
  /** The guest's, from its launch on; of a failed guest until it is stopped. */
  #machine: QemuMachine | undefined
  /** One that waits for a guest to be loaded. */
  #ready: QemuProcess | undefined
  #placing = false
  /** Why the guest that is being put in place is gone already. */
  #endedEarly: string | undefined
  #checkpointing = false
  #mode: SaveMode | undefined

  constructor(options: QemuEngineOptions) {
    this.#options = options
    this.#disks = new QemuDisks(options.disks ?? [], options.directory)
    this.canRestore = options.arguments !== undefined
    options.network.onFailure = reason => { this.#networkFailed(reason) }
  }

  get condition(): GuestCondition {
    return this.#condition
  }

  get endpoints(): readonly string[] {
    return this.#condition === 'absent' ? [] : this.#options.endpoints
  }

  /** The guest's process, for whoever wants to see it die; undefined for one that was attached to. */
  get pid(): number | undefined {
    return this.#machine instanceof QemuProcess ? this.#machine.pid : undefined
  }

  async start(): Promise<void> {
    await this.#place(async () => {
      const { attach, network } = this.#options
      await this.#standDown()
      await endStale(this.#options.directory)
      await mkdir(this.#options.directory, { recursive: true, mode: 0o700 })
      const machine = attach === undefined ? await this.#launchForStart() : await this.#attach(attach)
      this.#hold(machine)
      await this.#refuseMedia(machine)
      await network.open()
      await letRun(machine.qmp)
      this.#disks.merge(machine.qmp)
    })
  }

  async *checkpoint(standing: () => Promise<void>): AsyncGenerator<Uint8Array, void> {
    const machine = this.#running()
    if (this.#checkpointing) throw new TailgateError('E_ENGINE', 'another checkpoint is being taken')
    this.#checkpointing = true
    try {
      yield* this.#checkpoint(machine, standing)
    } finally {
      this.#checkpointing = false
    }
  }

  async restore(image: AsyncIterable<Uint8Array>): Promise<void> {
    const reader = new ImageReader(image)
    try {
      await this.#place(async () => {
        const description = await reader.description()
        const machine = await this.#takeReady()
        this.#hold(machine)
        mustMatch(await describe(machine.qmp, this.#disks.sizes), description)
        await this.#load(machine, reader.frames())
      })
    } finally {
      await reader.close().catch(() => undefined)
    }
  }

  async openNetwork(): Promise<void> {
    const machine = this.#running()
    const { network } = this.#options
    await network.open()
    await network.announce()
    await letRun(machine.qmp)
    this.#disks.merge(machine.qmp)
  }

  /** The guest's own kernel has closed no connection that it knows, and no other is one. */
  attached(): Promise<void> {
    this.#running()
    return Promise.resolve()
  }

  renewLease(remainingMs: number): void {
    this.#options.network.renewLease(remainingMs)
  }

  async stop(): Promise<void> {
    const machine = this.#machine
    this.#machine = undefined
    this.#condition = 'absent'
    await machine?.kill()
    await this.#standDown()
    await this.#options.network.close()
  }

  /** A machine that was attached to is its owner's again, off its network; one of ours cannot be left. */
  async release(): Promise<void> {
    const machine = this.#machine
    if (!(machine instanceof AttachedQemu)) return this.stop()
    this.#machine = undefined
    this.#condition = 'absent'
    machine.qmp.close()
    await this.#options.network.close()
  }

  /** Ends a QEMU that an agent before this one has left. */
  async prepare(): Promise<void> {
    await endStale(this.#options.directory)
  }

  /** Has a QEMU wait, without a guest, so that {@link restore} need only load one. */
  async standBy(): Promise<void> {
    if (!this.canRestore || this.#placing || this.#machine !== undefined || this.#ready !== undefined) return
    const ready = await this.#launchForRestore()
    this.#ready = ready
    void ready.gone.then(() => { if (this.#ready === ready) this.#ready = undefined })
  }

  get #silenceMs(): number {
    return this.#options.silenceMs ?? silenceMsDefault
  }

  async #place(work: () => Promise<void>): Promise<void> {
    if (this.#placing || this.#machine !== undefined) {
      throw new TailgateError('E_ENGINE', 'the QEMU guest is there already; stop it first')
    }
    this.#placing = true
    try {
      this.#endedEarly = undefined
      await work()
      if (this.#machine === undefined) this.#endedEarly ??= 'the QEMU guest was stopped meanwhile'
      if (this.#endedEarly !== undefined) throw new TailgateError('E_ENGINE', this.#endedEarly)
      this.#condition = 'running'
    } catch (error) {
      await this.stop()
      throw asEngineError(error, 'the QEMU guest could not be put in place')
    } finally {
      this.#placing = false
    }
  }

  /** From now on the end of this machine is the guest's. */
  #hold(machine: QemuMachine): void {
    this.#machine = machine
    machine.qmp.listen(event => {
      const end = endOfGuest(event)
      if (end !== undefined) this.#fail(machine, end)
    })
    void machine.gone.then(reason => { this.#fail(machine, reason) })
  }

  #fail(machine: QemuMachine, reason: string): void {
    if (this.#machine !== machine) return
    if (this.#placing) this.#endedEarly ??= reason
    if (this.#condition !== 'running') return
    this.#condition = 'failed'
    this.onFailure?.(reason)
  }

  #networkFailed(reason: string): void {
    const machine = this.#machine
    if (machine === undefined) return
    this.#fail(machine, reason)
    // It is ended once more by stop, which tells what cannot be done.
    machine.kill().catch(() => undefined)
  }

  #running(): QemuMachine {
    const machine = this.#machine
    if (machine === undefined || this.#condition !== 'running') {
      throw new TailgateError('E_ENGINE', `the QEMU guest is ${this.#condition}`)
    }
    return machine
  }

  async #launch(incoming: boolean): Promise<QemuProcess> {
    const { program, arguments: words, network, mac, card, directory } = this.#options
    if (words === undefined) {
      throw new TailgateError('E_ENGINE', 'this host has no `arguments` for QEMU: it can only attach')
    }
    const netdev = (this.#options.netdev ?? tapOptions)(network.device)
    return QemuProcess.launch({
      program, directory, incoming, timeoutMs: this.#silenceMs,
      arguments: [...words, ...this.#disks.words],
      // Without a boot ROM the card's memory is the same whatever ROM files a host has.
      network: ['-netdev', `${netdev},id=tailgate`,
        '-device', ['virtio-net-pci,netdev=tailgate', `mac=${mac}`, 'romfile=', ...card ?? []].join(',')]
    })
  }

  async #launchForStart(): Promise<QemuProcess> {
    await this.#options.network.prepare()
    await this.#disks.forStart()
    return this.#launch(false)
  }

  /** Until its network is opened the machine is its owner's, and what is wrong leaves it running. */
  async #attach(path: string): Promise<AttachedQemu> {
    const machine = await AttachedQemu.attach(path, this.#silenceMs)
    try {
      await this.#refuseMedia(machine)
      await this.#options.network.adopt()
      return machine
    } catch (error) {
      machine.qmp.close()
      throw error
    }
  }

  async #takeReady(): Promise<QemuProcess> {
    const ready = this.#ready
    this.#ready = undefined
    return ready ?? this.#launchForRestore()
  }

  async #launchForRestore(): Promise<QemuProcess> {
    await this.#options.network.prepare()
    await endStale(this.#options.directory)
    await this.#disks.forRestore()
    return this.#launch(true)
  }

  /**
   * QEMU looks at the disks' files again when it lets the guest run (late-block-activate), so they may be
   * written after the memory, in which order they come.
   */
  async #load(machine: QemuProcess, frames: AsyncIterable<Frame>): Promise<void> {
    const receiver = this.#disks.receiver()
    await machine.load(machineBytes(frames, receiver), migrationMsMax)
    await this.#disks.complete()
  }

  async #standDown(): Promise<void> {
    const ready = this.#ready
    this.#ready = undefined
    await ready?.kill()
  }

  async #refuseMedia({ qmp }: QemuMachine): Promise<void> {
    const media = await writableMedia(qmp, this.#disks.devices)
    if (media.length === 0) return
    throw new TailgateError('E_ENGINE', `the guest can write to ${media.join(', ')}, which no checkpoint `
      + 'would hold: make it read-only, or one of `disks`')
  }

  async *#checkpoint(
    machine: QemuMachine, standing: () => Promise<void>
  ): AsyncGenerator<Uint8Array, void> {
    const { qmp } = machine
    const { path, owner } = machine.stream
      ?? { path: ownStreamSocket(this.#options.directory), owner: undefined }
    await mustRun(qmp)
    await this.#refuseMedia(machine)
    const mode = await this.#readySaving(machine)
    const description = await describe(qmp, this.#disks.sizes)
    await this.#disks.settled()
    const queuedBytes = this.#options.queuedBytes ?? queuedBytesDefault
    const stream = await OutgoingStream.listen({ path, owner, queuedBytes, silenceMs: this.#silenceMs })
    let saving: Promise<string | undefined> | undefined
    const untimed = this.#timePause(machine)
    try {
      await stand(qmp)
      const frozen = await this.#disks.freeze(qmp)
      await standing()
      saving = this.#save(machine, path, mode)
      saving.catch(() => undefined)
      const writer = new ImageWriter()
      yield writer.description(description)
      for (;;) {
        const parts = await stream.next(frameBytesMax)
        if (parts === undefined) break
        yield writer.frame(FrameKind.machine, parts)
      }
      const failure = await saving
      if (failure !== undefined) throw new TailgateError('E_ENGINE', failure)
      for await (const parts of this.#disks.read(frozen)) yield writer.frame(FrameKind.disk, parts)
      yield writer.end()
    } finally {
      stream.drop()
      await this.#runOn(machine, saving)
      untimed()
      stream.close()
      this.#disks.merge(qmp)
    }
  }

  /** Says how long the guest stands from now on, unless what is returned is called before. */
  #timePause({ qmp }: QemuMachine): () => void {
    const since = performance.now()
    const forget = qmp.listen(({ name }) => {
      if (name !== 'RESUME') return
      forget()
      this.onPaused?.(performance.now() - since)
    })
    return forget
  }

  /** How guests are saved on this host; found out by trying, once for each QEMU at its first checkpoint. */
  async #readySaving(machine: QemuMachine): Promise<SaveMode> {
    // A guest that is not ours must survive this process, and a background snapshot that breaks does not.
    const wanted = machine instanceof QemuProcess ? this.#options.save ?? 'background-snapshot' : 'plain'
    const mode = await readySaving(machine.qmp, wanted)
    if (mode !== this.#mode) {
      this.#options.notice?.(mode === wanted ? `checkpoints are made by ${mode}`
        : 'this host does not allow background-snapshot (it needs root or vm.unprivileged_userfaultfd=1): '
          + 'the guest stands still while its whole memory is copied')
    }
    this.#mode = mode
    return mode
  }

  /** Saves a guest that stands; it runs on as soon as the mode allows, whoever takes the image. */
  async #save(machine: QemuMachine, path: string, mode: SaveMode): Promise<string | undefined> {
    const { qmp } = machine
    const failure = await save(qmp, path, migrationMsMax)
    if (failure !== undefined && mode === 'background-snapshot' && await statusOf(qmp) === 'running') {
      this.#fail(machine, `the guest stands for good: ${failure}, and a background snapshot cannot be undone`)
      await machine.kill()
    } else {
      await letRun(qmp)
    }
    return failure
  }

  /** However a checkpoint ended, the guest does not stand for it any more. */
  async #runOn(machine: QemuMachine, saving: Promise<string | undefined> | undefined): Promise<void> {
    try {
      if (saving === undefined) await letRun(machine.qmp)
      else await saving
    } catch (error) {
      if (this.#machine !== machine || this.#condition !== 'running') return
      this.#fail(machine, `the guest cannot be brought to run on after a checkpoint: ${messageOf(error)}`)
    }
  }
}

/** QEMU's stream out of an image's frames; what is the disks' goes there. */
async function* machineBytes(
  frames: AsyncIterable<Frame>, disks: Receiver
): AsyncGenerator<Uint8Array, void> {
  for await (const { kind, bytes } of frames) {
    if (kind === FrameKind.machine) yield bytes
    else await disks.take(bytes)
  }
}

function tapOptions(device: string): string {
  return `tap,ifname=${device},script=no,downscript=no`
}
