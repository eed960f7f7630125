import { execFileSync } from 'node:child_process'
import type { Test } from 'tap'
import { macBytes } from '../../../src/engine/announcement.ts'
import type { GuestNetwork } from '../../../src/engine/guest-network.ts'
import { withSystemPrograms } from '../../../src/engine/system-programs.ts'
import { TapNetwork } from '../../../src/engine/tap-network.ts'
import { everybody, numbered, numberOf } from '../../lab/frames.ts'
import { TapDevice } from '../../lab/tap-device.ts'

export const guestMac = '52:54:00:00:00:01'
export const clientMac = '52:54:00:00:00:02'
const witnessMac = '52:54:00:00:00:03'

/** How long a frame that must come may take, in milliseconds. */
const patienceMs = 10_000

export function ip(...words: readonly string[]): string {
  return execFileSync('ip', words, { env: withSystemPrograms(process.env), encoding: 'utf8' })
}

/** A bridge that is up. */
export function makeBridge(t: Test, name: string): void {
  ip('link', 'add', 'name', name, 'type', 'bridge')
  t.teardown(() => { ip('link', 'delete', 'dev', name) })
  ip('link', 'set', 'dev', name, 'up')
}

/** Two bridges joined by a cable. */
export function join(t: Test, one: string, other: string): void {
  const [here, there] = [`${one}-${other}`, `${other}-${one}`]
  ip('link', 'add', 'name', here, 'type', 'veth', 'peer', 'name', there)
  t.teardown(() => { ip('link', 'delete', 'dev', here) })
  ip('link', 'set', 'dev', here, 'master', one, 'up')
  ip('link', 'set', 'dev', there, 'master', other, 'up')
}

/** A station that remembers the numbers that it has got from each other one. */
export class Station {
  readonly device: TapDevice
  /** What was sent in the name of the guest by its host. */
  readonly announcements: Buffer[] = []
  readonly #mac: string
  readonly #got = new Map<string, number[]>()
  #wake: (() => void) | undefined

  private constructor(device: TapDevice, mac: string) {
    this.device = device
    this.#mac = mac
    device.onFrame = (frame) => {
      const known = numberOf(frame)
      if (known !== undefined) this.#listOf(known.from).push(known.number)
      else if (frame.indexOf(macBytes(guestMac), 6) === 6) this.announcements.push(frame)
      this.#wake?.()
    }
  }

  /** One at a tap device that is there: a guest. */
  static at(t: Test, device: string, mac: string): Station {
    const station = new Station(TapDevice.open(device), mac)
    t.teardown(() => station.device.close())
    return station
  }

  /** One with a device of its own on a bridge. */
  static on(t: Test, bridge: string, device: string, mac: string): Station {
    const station = Station.at(t, device, mac)
    ip('link', 'set', 'dev', device, 'addrgenmode', 'none', 'master', bridge, 'up')
    return station
  }

  send(number: number, to = everybody): boolean {
    return this.device.send(numbered(this.#mac, to, number))
  }

  /** The numbers that came from one, in their order. */
  from(mac: string): readonly number[] {
    return this.#listOf(mac)
  }

  #listOf(mac: string): number[] {
    const list = this.#got.get(mac) ?? []
    this.#got.set(mac, list)
    return list
  }

  async until(what: string, met: () => boolean): Promise<void> {
    const deadline = performance.now() + patienceMs
    const timer = setInterval(() => this.#wake?.(), 20)
    try {
      while (!met()) {
        if (performance.now() > deadline) throw new Error(`${this.device.name} waited for ${what}`)
        await new Promise<void>((resolve) => { this.#wake = resolve })
      }
    } finally {
      clearInterval(timer)
    }
  }
}

/**
 * A guest's network with its guest on a bridge, a client there, and a witness: what it sends arrives
 * after whatever was sent before it and was let through.
 *
 * ```
 *  guest ── gate ── bridge ── client
 *                     └────── witness
 * ```
 */
export class Scene {
  readonly network: GuestNetwork
  readonly guest: Station
  readonly client: Station
  readonly witness: Station
  #marks = Math.floor(performance.now())

  constructor(network: GuestNetwork, guest: Station, client: Station, witness: Station) {
    this.network = network
    this.guest = guest
    this.client = client
    this.witness = witness
  }

  static async set(t: Test): Promise<Scene> {
    makeBridge(t, 'lan')
    const network = new TapNetwork({ guest: 'g', bridge: 'lan', mac: guestMac, addresses: [] })
    t.teardown(() => network.close())
    await network.prepare()
    return Scene.around(t, network, Station.at(t, network.device, guestMac))
  }

  /** With a network whose bridge is `lan`. */
  static async around(t: Test, network: GuestNetwork, guest: Station): Promise<Scene> {
    const client = Station.on(t, 'lan', 'client', clientMac)
    const scene = new Scene(network, guest, client, Station.on(t, 'lan', 'witness', witnessMac))
    await scene.plugged()
    return scene
  }

  /** Resolves when the ports of client and witness pass frames, a moment after they are made. */
  async plugged(): Promise<void> {
    await this.client.until('the witness', () => {
      this.witness.send(++this.#marks)
      return this.client.from(witnessMac).length > 0
    })
    await this.mark()
  }

  /** Resolves when client and guest would have got everything that was sent before. */
  async mark(): Promise<void> {
    const mark = ++this.#marks
    // A queue that is full loses it: it is sent until it comes.
    await this.client.until('a mark', () => {
      const arrived = this.client.from(witnessMac).at(-1) === mark
      if (!arrived) this.witness.send(mark)
      return arrived
    })
  }

  /** Whether a frame of the guest reaches the client now, and one of the client the guest. */
  async passes(number: number): Promise<readonly [boolean, boolean]> {
    this.guest.send(number)
    this.client.send(number)
    await this.mark()
    await this.mark()
    return [this.client.from(guestMac).includes(number), this.guest.from(clientMac).includes(number)]
  }

  /** Resolves when a frame of the guest arrives, or none does any more. Numbers count from `number`. */
  async untilPasses(wanted: boolean, number: number): Promise<number> {
    const deadline = performance.now() + patienceMs
    for (let n = number; performance.now() < deadline; n++) {
      const [out] = await this.passes(n)
      if (out === wanted) return n
    }
    throw new Error(wanted ? 'the gate stays shut' : 'the gate stays open')
  }
}
