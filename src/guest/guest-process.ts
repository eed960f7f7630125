import { readSync, writeSync } from 'node:fs'
import type { Socket } from 'node:net'
import { messageOf, TailgateError } from '../base/errors.ts'
import { unreachable } from '../base/invariant.ts'
import {
  ChannelReader, encodeMessage, GateVerdict, gateDescriptor, gateStanding, gateVerdictBytes, imagePieceBytes,
  type ChannelMessage, type Listening, type OrderToGuest, type ReportOfGuest
} from './channel.ts'
import { Guest, type Misbehaviour } from './guest.ts'
import { GuestNetwork } from './network.ts'
import { decodeImage, encodeImage } from './snapshot.ts'

/** The longest image that is taken, in bytes. */
const imageBytesMax = 2 ** 31

/** Carries out the orders of the engine that started this process. */
export class GuestProcess {
  #channel: Socket
  #guest: Guest | undefined
  #image: Uint8Array[] = []
  #imageBytes = 0
  #misbehaviour: Misbehaviour = {}
  /** Set while an image is being sent; grows when it is to stop. */
  #imageTurn = 0
  #exit: (code: number) => void

  constructor(channel: Socket, exit: (code: number) => void) {
    this.#channel = channel
    this.#exit = exit
    const reader = new ChannelReader()
    const hear = (message: ChannelMessage): void => this.#obey(message as OrderToGuest)
    channel.on('data', (bytes: Buffer) => reader.feed(bytes, hear))
    channel.on('error', () => undefined)
    channel.on('close', () => this.#orphaned())
    channel.on('end', () => channel.destroy())
  }

  #obey(message: OrderToGuest): void {
    switch (message.type) {
      case 'start': return this.#carryOut('start', this.#start(message.listen))
      case 'image': return this.#takeImage(message.bytes)
      case 'restore': return this.#carryOut('restore', this.#restore(message.listen))
      case 'open': return this.#carryOut('open', this.#open())
      case 'attached':
        this.#guest?.closeUnattached()
        return this.#report({ type: 'closed-unattached' })
      case 'lease': return this.#guest?.network.lease(remainingMs(BigInt(message.deadline)))
      case 'stand': return this.#stand()
      case 'drop-image':
        this.#imageTurn += 1
        return this.#report({ type: 'image-end', whole: false })
      case 'misbehave':
        this.#misbehaviour = { ...this.#misbehaviour, ...message.how }
        return this.#guest?.misbehave(message.how)
      default: return unreachable(message)
    }
  }

  #report(message: ReportOfGuest): void {
    this.#channel.cork()
    for (const bytes of encodeMessage(message)) this.#channel.write(bytes)
    this.#channel.uncork()
  }

  #carryOut(order: 'start' | 'restore' | 'open', work: Promise<ReportOfGuest>): void {
    work.then((report) => this.#report(report), (error: unknown) => {
      const image = error instanceof TailgateError && error.code === 'E_IMAGE'
      this.#report({ type: 'refused', order, image, reason: messageOf(error) })
    })
  }

  async #start(listen: Listening): Promise<ReportOfGuest> {
    const guest = new Guest(new GuestNetwork(listen.host, listen.ports))
    this.#guest = guest
    await guest.network.open()
    guest.run()
    guest.misbehave(this.#misbehaviour)
    return { type: 'started', ports: guest.network.ports }
  }

  #takeImage(bytes: Uint8Array): void {
    this.#imageBytes += bytes.length
    if (this.#imageBytes <= imageBytesMax) this.#image.push(bytes)
  }

  async #restore(listen: Listening): Promise<ReportOfGuest> {
    if (this.#imageBytes > imageBytesMax) throw new TailgateError('E_IMAGE', 'the image is longer than 2 GiB')
    const state = decodeImage(Buffer.concat(this.#image))
    this.#image = []
    const guest = new Guest(new GuestNetwork(listen.host, listen.ports))
    guest.restore(state)
    await guest.network.reserve()
    this.#guest = guest
    return { type: 'restored', ports: guest.network.ports }
  }

  async #open(): Promise<ReportOfGuest> {
    const guest = this.#guest
    if (guest === undefined) throw new TailgateError('E_ENGINE', 'there is no guest to open')
    await guest.network.open()
    guest.run()
    guest.misbehave(this.#misbehaviour)
    return { type: 'opened' }
  }

  /**
   * Stands still: until the engine's verdict comes, the event loop does not turn, so that nothing is read,
   * executed, sent or acknowledged, and no timer fires.
   */
  #stand(): void {
    const guest = this.#guest
    if (guest === undefined) {
      this.#report({ type: 'refused', order: 'stand', image: false, reason: 'there is no guest yet' })
      return
    }
    guest.settle()
    guest.app.clock.stand()
    const pieces = encodeImage(guest.capture(), imagePieceBytes)
    const verdict = awaitVerdict()
    guest.app.clock.run()
    if (verdict === undefined) return
    if (verdict.deadline > 0n) guest.network.lease(remainingMs(verdict.deadline))
    guest.network.shutIfExpired()
    if (verdict.keep) void this.#sendImage(pieces)
    else this.#report({ type: 'image-end', whole: false })
  }

  async #sendImage(pieces: readonly Buffer[]): Promise<void> {
    const turn = ++this.#imageTurn
    const fault = this.#misbehaviour
    for (const [index, bytes] of pieces.entries()) {
      if (turn !== this.#imageTurn) return
      if (index >= pieces.length / 2 && fault.hangInCheckpoint === true) return
      if (index >= pieces.length / 2 && fault.dieInCheckpoint === true) {
        this.#exit(1)
        return
      }
      this.#report({ type: 'image', bytes })
      if (this.#channel.writableNeedDrain) {
        await new Promise((resolve) => this.#channel.once('drain', resolve))
      }
    }
    if (turn === this.#imageTurn) this.#report({ type: 'image-end', whole: true })
  }

  /**
   * The engine is gone. A guest under a lease goes on until that runs out, because whoever renewed it counts
   * on it that far and no further; one without can be neither fenced nor managed by anybody any more.
   */
  #orphaned(): void {
    const network = this.#guest?.network
    if (network?.leaseEver !== true || network.leaseExpired) {
      this.#exit(0)
      return
    }
    network.onShut = () => this.#exit(0)
  }
}

function remainingMs(deadline: bigint): number {
  return Number(deadline - process.hrtime.bigint()) / 1e6
}

/** Says that the guest stands and waits for what to do; undefined if the engine is gone. */
function awaitVerdict(): { readonly keep: boolean, readonly deadline: bigint } | undefined {
  const verdict = Buffer.alloc(gateVerdictBytes)
  try {
    writeSync(gateDescriptor, Buffer.of(gateStanding))
    for (let at = 0; at < gateVerdictBytes;) {
      const bytes = readSync(gateDescriptor, verdict, at, gateVerdictBytes - at, null)
      if (bytes === 0) return undefined
      at += bytes
    }
  } catch {
    return undefined
  }
  return { keep: verdict[0] === GateVerdict.keep, deadline: verdict.readBigUInt64LE(1) }
}
