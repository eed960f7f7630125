import { TailgateError } from '../../src/base/errors.ts'
import type { CheckpointRequest } from '../../src/core/agent/port.ts'
import type { GuestCondition } from '../../src/core/message.ts'
import type { Engine } from '../../src/engine/engine.ts'

/** What an image begins with: only the one with the next index follows. */
interface Place {
  readonly stream: string
  readonly index: number
}

/**
 * An engine without a guest, whose images build on one another: a first piece comes while the guest runs, and
 * a standby absorbs them.
 */
export class BuildingEngine implements Engine {
  readonly name = 'building'
  readonly canRestore = true
  readonly endpoints = ['127.0.0.1:1']
  condition: GuestCondition = 'absent'
  onFailure: ((reason: string) => void) | undefined
  onPaused: ((ms: number) => void) | undefined
  onStandbyLost: ((reason: string) => void) | undefined
  /** What was asked of it, and the places of the images that it has taken in. */
  readonly requests: CheckpointRequest[] = []
  readonly absorbed: Place[] = []
  restored: Place | undefined
  standby: Place | undefined
  /** An image is taken in only after this: a test may hold it. */
  taking: () => Promise<void> = () => Promise.resolve()
  #next: Place | undefined

  start(): Promise<void> {
    this.condition = 'running'
    return Promise.resolve()
  }

  async* checkpoint(
    standing: () => Promise<void>, request: CheckpointRequest
  ): AsyncGenerator<Uint8Array, void> {
    this.requests.push(request)
    const stream = String(this.requests.length)
    const place = request.builds && this.#next !== undefined ? this.#next : { stream, index: 0 }
    this.#next = undefined
    yield Buffer.from(JSON.stringify(place))
    await standing()
    yield Buffer.from('\n')
    this.#next = { stream: place.stream, index: place.index + 1 }
  }

  async absorb(image: AsyncIterable<Uint8Array>): Promise<void> {
    const place = await placeOf(image)
    if (place.index === 0) this.lose('another stream takes its place')
    else if (!follows(place, this.standby)) throw new TailgateError('E_IMAGE', 'it does not follow')
    await this.taking()
    this.standby = place
    this.absorbed.push(place)
  }

  lose(reason: string): void {
    if (this.standby === undefined) return
    this.standby = undefined
    this.onStandbyLost?.(reason)
  }

  async restore(image: AsyncIterable<Uint8Array>): Promise<void> {
    const place = await placeOf(image)
    const { standby } = this
    if (standby?.stream !== place.stream || standby.index !== place.index) {
      throw new TailgateError('E_IMAGE', 'it is not the one absorbed last')
    }
    this.restored = place
    this.standby = undefined
    this.condition = 'running'
  }

  openNetwork(): Promise<void> { return Promise.resolve() }
  attached(): Promise<void> { return Promise.resolve() }
  renewLease(): void { return undefined }

  stop(): Promise<void> {
    this.condition = 'absent'
    return Promise.resolve()
  }
}

function follows(place: Place, standby: Place | undefined): boolean {
  return standby?.stream === place.stream && standby.index + 1 === place.index
}

async function placeOf(image: AsyncIterable<Uint8Array>): Promise<Place> {
  const pieces: Uint8Array[] = []
  for await (const piece of image) pieces.push(piece)
  return JSON.parse(Buffer.concat(pieces).toString()) as Place
}
