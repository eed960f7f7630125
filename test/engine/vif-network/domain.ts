import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { withSystemPrograms } from '../../../src/engine/system-programs.ts'
import { VifNetwork } from '../../../src/engine/vif-network.ts'
import { guestMac, ip, makeBridge, Scene, Station } from '../tap-network/ethernet.ts'

export const vif = 'guest0'
/** What Xen calls a device before its script has given it a name. */
export const unnamed = 'vif7.0'

export const shut = [false, false]
export const open = [true, true]

export function networkOf(t: Test, device = vif): VifNetwork {
  const network = new VifNetwork({ guest: 'g', device, bridge: 'lan', mac: guestMac, addresses: [] })
  t.teardown(() => network.close())
  return network
}

/** What Xen's script does when a domain comes up: it names its device, joins it, and sets it up. */
export function joinBridge(device = vif, name = unnamed): void {
  ip('link', 'set', 'dev', name, 'down')
  if (name !== device) ip('link', 'set', 'dev', name, 'name', device)
  ip('link', 'set', 'dev', device, 'addrgenmode', 'none', 'master', 'lan', 'up')
}

/** A domain comes up: Xen makes its device. */
export function comesUp(t: Test, device = vif): Station {
  const guest = Station.at(t, unnamed, guestMac)
  joinBridge(device)
  return guest
}

/** A domain goes, and its device with it. */
export async function goes(guest: Station, device = vif): Promise<void> {
  guest.device.close()
  await guest.until('its device to go', () => !isThere(device))
}

export function isThere(device = vif): boolean {
  return ip('-o', 'link').includes(`: ${device}: `)
}

/** What `ip` says about the device in one line. */
export function lineOf(device = vif): string {
  return ip('-o', 'link', 'show', 'dev', device)
}

/** A bridge with a client, a witness, and the gate of a guest whose domain is not there yet. */
export async function gateAlone(t: Test): Promise<{
  readonly scene: Scene, comesUp(device?: string): Scene
}> {
  makeBridge(t, 'lan')
  const network = networkOf(t)
  await network.prepare()
  const nobody = Station.at(t, 'nobody', guestMac)
  const scene = await Scene.around(t, network, nobody)
  return {
    scene,
    comesUp: (device) => new Scene(network, comesUp(t, device), scene.client, scene.witness)
  }
}

/** A domain that never stops talking; its device is up, joined to nothing, and is to become {@link vif}. */
export async function talksOn(t: Test): Promise<void> {
  ip('tuntap', 'add', 'dev', unnamed, 'mode', 'tap')
  t.teardown(() => { ip('link', 'delete', 'dev', vif) })
  ip('link', 'set', 'dev', unnamed, 'addrgenmode', 'none', 'up')
  const program = fileURLToPath(new URL('../tap-network/flood.ts', import.meta.url))
  const flood = spawn(process.execPath, [...process.execArgv, program, unnamed, guestMac], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(async () => {
    if (flood.kill('SIGKILL')) await once(flood, 'exit')
  })
  await once(flood.stdout, 'data')
}

export function nft(...statements: readonly string[]): string {
  return execFileSync('nft', [statements.join('; ')], {
    env: withSystemPrograms(process.env), encoding: 'utf8'
  })
}

/** Counts the frames that a device brings to the bridge, before any gate. */
export class Counter {
  readonly #table: string

  constructor(device: string) {
    this.#table = `bridge count-${device}`
    nft(`add table ${this.#table}`, `add counter ${this.#table} frames`,
      `add chain ${this.#table} first { type filter hook prerouting priority -500; }`,
      `add rule ${this.#table} first iifname "${device}" counter name frames`)
  }

  get frames(): number {
    return Number(/packets (\d+)/.exec(nft(`list counter ${this.#table} frames`))?.[1])
  }
}
