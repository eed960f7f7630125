import { TailgateError } from '../base/errors.ts'
import type { MachineDescription } from './qemu-image.ts'
import { isObject, type QmpClient, type QmpEvent, type QmpObject } from './qmp.ts'

/** A unix socket for a QEMU of another user's. */
export interface StreamPlace {
  readonly path: string
  /** The user id that may connect. */
  readonly owner: number
}

/** A QEMU with one guest, and what of it an engine holds. */
export interface QemuMachine {
  readonly qmp: QmpClient
  /** Resolves when the process is gone, with a sentence that says what is known of the reason. */
  readonly gone: Promise<string>
  /** Where it can be told to send a checkpoint; left out: anywhere. */
  readonly stream?: StreamPlace
  /** Ends it; resolves when it is gone. */
  kill(): Promise<void>
}

/** States out of which a guest is let run on: it stands because somebody wanted a copy of it. */
const standingStates: readonly unknown[] = ['paused', 'postmigrate', 'prelaunch', 'finish-migrate', 'save-vm']

/** Rejects with E_ENGINE unless the guest runs. */
export async function mustRun(qmp: QmpClient): Promise<void> {
  const status = await statusOf(qmp)
  if (status === 'running') return
  throw new TailgateError('E_ENGINE', `the guest does not run: QEMU says '${status}'`)
}

/** Brings a guest to a stand. Rejects with E_ENGINE if it does not stand then. */
export async function stand(qmp: QmpClient): Promise<void> {
  // The answer comes when no processor runs any more and what the disks had under way is done.
  await qmp.execute('stop')
  const status = await statusOf(qmp)
  if (status === 'paused') return
  throw new TailgateError('E_ENGINE', `the guest was stopped, and QEMU says that it is '${status}'`)
}

/** QEMU finishes a migration a moment after it has called it completed. Milliseconds. */
const finishMsMax = 5000
const lookEveryMs = 5

/** Lets a guest run that stands for a copy's sake. Rejects with E_ENGINE. */
export async function letRun(qmp: QmpClient): Promise<void> {
  const deadline = performance.now() + finishMsMax
  let status = await statusOf(qmp)
  // Until then it refuses to go on, and goes on by itself after a background snapshot.
  while (status === 'finish-migrate' && performance.now() < deadline) {
    await new Promise<void>(resolve => { setTimeout(() => { resolve() }, lookEveryMs) })
    status = await statusOf(qmp)
  }
  if (status === 'running') return
  if (!standingStates.includes(status)) {
    throw new TailgateError('E_ENGINE', `the guest cannot run on: QEMU says '${status}'`)
  }
  await qmp.execute('cont')
}

export async function statusOf(qmp: QmpClient): Promise<string> {
  const answer = await qmp.execute('query-status')
  return isObject(answer) && typeof answer.status === 'string' ? answer.status : 'unknown'
}

/** Why a guest whose QEMU said this is not there any more; undefined for other events. */
export function endOfGuest({ name, data }: QmpEvent): string | undefined {
  if (name === 'GUEST_PANICKED') return 'the guest has panicked'
  const reason = typeof data.reason === 'string' ? data.reason : 'no reason is known'
  if (name === 'SHUTDOWN') return `the guest was shut down (${reason})`
  if (name === 'BLOCK_IO_ERROR' && data.action === 'stop') return `a disk of the guest failed: ${reason}`
  return undefined
}

/** What a QEMU must be like to load this one's guest. */
export async function describe(qmp: QmpClient, disks: readonly number[]): Promise<MachineDescription> {
  const machine = await qmp.execute('qom-get', { path: '/machine', property: 'type' })
  const memory = await qmp.execute('query-memory-size-summary')
  const cpus = await qmp.execute('query-cpus-fast')
  return {
    qemu: qmp.version, machine: String(machine),
    memoryBytes: isObject(memory) ? numberIn(memory, 'base-memory') + numberIn(memory, 'plugged-memory') : 0,
    cpus: Array.isArray(cpus) ? cpus.length : 0, disks
  }
}

/** Throws E_ENGINE unless a machine like `here` can load the guest of one like `there`. */
export function mustMatch(here: MachineDescription, there: MachineDescription): void {
  const same = here.machine === there.machine && here.memoryBytes === there.memoryBytes
    && here.cpus === there.cpus && here.disks.join() === there.disks.join()
  if (same) return
  throw new TailgateError('E_ENGINE', `the checkpoint is of ${textOf(there)}, and this host's QEMU makes `
    + `${textOf(here)}: the guest needs the same arguments on every host`)
}

/** The guest's media that it can write to, but for those that the engine saves. Names for people. */
export async function writableMedia(qmp: QmpClient, saved: readonly string[]): Promise<readonly string[]> {
  const answer = await qmp.execute('query-block')
  if (!Array.isArray(answer)) throw new TailgateError('E_ENGINE', 'QEMU names no disks, not even none')
  return answer.filter(isObject).filter(({ qdev, inserted }) =>
    isObject(inserted) && inserted.ro !== true && !saved.some(id => String(qdev).split('/').includes(id))
  ).map(mediumName)
}

function mediumName({ device, qdev, inserted }: QmpObject): string {
  const names = [device, qdev, isObject(inserted) ? inserted.file : undefined]
  return names.filter(name => typeof name === 'string' && name !== '').join(' ')
}

function textOf({ machine, memoryBytes, cpus, disks, qemu }: MachineDescription): string {
  const sizes = disks.length === 0 ? 'no disk' : `disks of ${disks.join(' and ')} bytes`
  return `a ${machine} (QEMU ${qemu}) with ${memoryBytes / 2 ** 20} MiB, ${cpus} processors and ${sizes}`
}

function numberIn(object: QmpObject, key: string): number {
  const value = object[key]
  return typeof value === 'number' ? value : 0
}
