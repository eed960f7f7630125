import { runSystemProgram } from './system-programs.ts'

/** A part of what `ip -json -details link` says about one network device. */
export interface DeviceInfo {
  readonly ifname: string
  readonly flags: readonly string[]
  readonly ifalias?: string
  /** The bridge that it is a port of. */
  readonly master?: string
  readonly linkinfo?: {
    readonly info_kind?: string
    readonly info_data?: { readonly stp_state?: number }
  }
}

/** What `ip` says about those of these devices that are there. Rejects with E_ENGINE. */
export async function devicesNamed(names: readonly string[]): Promise<readonly DeviceInfo[]> {
  const text = await runSystemProgram('the network devices could not be listed', 'ip', ['-j', '-d', 'link'])
  return (JSON.parse(text) as readonly DeviceInfo[]).filter(({ ifname }) => names.includes(ifname))
}

/** What `ip` says about a device; undefined if there is none of that name. Rejects with E_ENGINE. */
export async function deviceNamed(name: string): Promise<DeviceInfo | undefined> {
  const [device] = await devicesNamed([name])
  return device
}

/** Runs `ip` for a device. Rejects with E_ENGINE: it could not be `done`. */
export async function changeDevice(name: string, done: string, args: readonly string[]): Promise<void> {
  await runSystemProgram(`the device ${name} could not be ${done}`, 'ip', args)
}

/** Sets what `ip link set` can, unless somebody removes the device meanwhile. Rejects with E_ENGINE. */
export async function setWhereThere(name: string, done: string, words: readonly string[]): Promise<void> {
  try {
    await changeDevice(name, done, ['link', 'set', 'dev', name, ...words])
  } catch (error) {
    if (await deviceNamed(name) !== undefined) throw error
  }
}
