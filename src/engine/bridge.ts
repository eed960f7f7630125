import { TailgateError } from '../base/errors.ts'
import { injectFrames, readyToInject } from './frame-injection.ts'
import { deviceNamed } from './network-device.ts'
import { runSystemProgram } from './system-programs.ts'

/** An announcement is a frame that may be lost: it is repeated after so long, in milliseconds. */
const repeatsMs = [100, 400, 1500]

/** The bridge of Linux that joins a guest's device with the gateway and the other hosts, made by others. */
export class Bridge {
  readonly name: string
  readonly #device: string
  readonly #announcements: readonly Buffer[]
  #repeat: NodeJS.Timeout | undefined

  /** `announcements`: the frames that say that the guest is behind `device`. */
  constructor(name: string, device: string, announcements: readonly Buffer[]) {
    this.name = name
    this.#device = device
    this.#announcements = announcements
  }

  /** Rejects with E_ENGINE unless it is there and can serve a guest that moves. */
  async check(): Promise<void> {
    const { name } = this
    const info = await deviceNamed(name)
    if (info?.linkinfo?.info_kind !== 'bridge') {
      throw new TailgateError('E_ENGINE', info === undefined
        ? `there is no bridge ${name} on this host: make it, with the network of the guests as a port`
        : `${name} is not a bridge: name the one that has the network of the guests as a port`)
    }
    if ((info.linkinfo.info_data?.stp_state ?? 0) !== 0) {
      throw new TailgateError('E_ENGINE', `the bridge ${name} speaks the spanning tree protocol, which `
        + `keeps a guest that moves silent for many seconds: ip link set ${name} type bridge stp_state 0`)
    }
  }

  /** Loads what {@link announce} needs, so that a failover does not wait for it. Rejects with E_ENGINE. */
  readyToAnnounce(): Promise<void> {
    return readyToInject()
  }

  /**
   * Says to everybody that the guest is here, and again a few times for as long as `isOpen` says that it can
   * be reached. Resolves when it was said once. Rejects with E_ENGINE.
   */
  async announce(isOpen: () => boolean): Promise<void> {
    if (!isOpen()) {
      throw new TailgateError('E_ENGINE', `${this.#device} is shut: it is announced when it has been opened`)
    }
    this.silence()
    await this.#forgetPlaces()
    await injectFrames(this.name, this.#announcements)
    this.#repeatLater(0, isOpen)
  }

  /** Nothing more is said. */
  silence(): void {
    clearTimeout(this.#repeat)
  }

  /**
   * The bridge here learns from frames that come in by its ports, and what this host sends does not: it would
   * keep the guest's frames from its device until the guest speaks, because they are to go back where it was.
   * So it forgets all that it has learnt, and sends a frame to every port until it knows better.
   */
  async #forgetPlaces(): Promise<void> {
    await runSystemProgram(`${this.name} could not be made to forget where ${this.#device} was`, 'ip',
      ['link', 'set', 'dev', this.name, 'type', 'bridge', 'fdb_flush'])
  }

  #repeatLater(n: number, isOpen: () => boolean): void {
    const ms = repeatsMs[n]
    if (ms === undefined || !isOpen()) return
    this.#repeat = setTimeout(() => {
      // The first announcement was sent: that one more cannot be is no reason to end anything.
      injectFrames(this.name, this.#announcements).catch(() => undefined)
        .then(() => this.#repeatLater(n + 1, isOpen), () => undefined)
    }, ms)
    this.#repeat.unref()
  }
}
