import { execFile } from 'node:child_process'
import { mkdir, open, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { messageOf, TailgateError } from '../base/errors.ts'
import { isObject, type QmpClient } from './qmp.ts'

const run = promisify(execFile)

/** Overlays of one disk at most; more would mean that merging them fails again and again. */
const layersMax = 8
/** A merge copies at most what the guest has written since the checkpoint before. */
const mergeMsMax = 600_000
/** In front of the bytes of a disk in an image's frame: the disk, and which of its two files. */
const frameHeadBytes = 2
/** Is there while the disks' files are not, or not yet, those of a guest. */
const incompleteFile = 'disks-incomplete'
const readBytes = 512 * 1024

/** A disk of the guest: its base is never written to, and is the same file on every host. */
export interface QemuDisk {
  readonly base: string
  readonly format: 'qcow2' | 'raw'
}

/** Files of one disk that change no more: what was merged, and what came since the checkpoint before. */
type FrozenDisk = readonly [merged: string, recent: string]

/**
 * The writable disks of one guest. What it writes goes into files over the base, a chain for each disk:
 *
 *   base ◄─ merged ◄─ 4                    between checkpoints the guest writes to 4
 *   base ◄─ merged ◄─ 4 ◄─ 5               it stands: 4 and merged are frozen, and shipped while it runs on
 *   base ◄─ merged+4 ◄─ 5                  4 has been merged (block-commit), and its file removed
 *
 * A host that restores writes `merged` and 1 from the image, and its guest goes on in an empty 2.
 */
export class QemuDisks {
  readonly #disks: readonly QemuDisk[]
  readonly #directory: string
  #sizes: readonly number[] = []
  /** The numbers of each disk's files, in order; the guest writes to the last. */
  #layers: number[][] = []
  /** The merge under way; never rejects. */
  #merging: Promise<void> = Promise.resolve()
  #mergeFailure = ''

  constructor(disks: readonly QemuDisk[], directory: string) {
    this.#disks = disks
    this.#directory = directory
  }

  /** The devices' ids, which QEMU tells of whoever writes to a medium. */
  get devices(): readonly string[] { return this.#disks.map((_, disk) => deviceOf(disk)) }
  /** In bytes, as the guest sees them; known once files are there. */
  get sizes(): readonly number[] { return this.#sizes }

  /** For a guest that is started: as it left its disks here, or as the bases are. Rejects with E_ENGINE. */
  async forStart(): Promise<void> {
    await this.#measure()
    const found = this.#disks.length === 0 ? [] : await readdir(this.#directory)
    const names = found.includes(incompleteFile) ? [] : found
    this.#layers = this.#disks.map((_, disk) => layersIn(names, disk))
    for (const [disk, layers] of this.#layers.entries()) {
      if (layers.length === 0) await this.#begin(disk, [1])
    }
    await this.complete()
  }

  /** For a guest that is restored: empty files, which {@link Receiver} fills. Rejects with E_ENGINE. */
  async forRestore(): Promise<void> {
    await this.#measure()
    if (this.#disks.length > 0) await writeFile(join(this.#directory, incompleteFile), '')
    for (const disk of this.#disks.keys()) await this.#begin(disk, [1, 2])
  }

  /** A guest may be started with the files as they are now. */
  async complete(): Promise<void> {
    await rm(join(this.#directory, incompleteFile), { force: true })
  }

  /** QEMU's options for the disks as they are now. */
  get words(): readonly string[] {
    return this.#disks.flatMap((config, disk) => {
      const top = this.#layers[disk]?.at(-1) ?? 0
      return ['-blockdev', JSON.stringify(this.#chain(config, disk)),
        '-device', `virtio-blk-pci,drive=${nodeOf(disk, top)},id=${deviceOf(disk)}`]
    })
  }

  /** Waits until nothing of an earlier checkpoint is being merged. Rejects with E_ENGINE if that failed. */
  async settled(): Promise<void> {
    await this.#merging
    if (this.#layers.some(layers => layers.length >= layersMax)) {
      throw new TailgateError('E_ENGINE', `the files of a disk cannot be merged: ${this.#mergeFailure}`)
    }
  }

  /** While the guest stands: from now on it writes to new files. Rejects with E_ENGINE. */
  async freeze(qmp: QmpClient): Promise<readonly FrozenDisk[]> {
    if (this.#disks.length === 0) return []
    const next = this.#layers.map(layers => (layers.at(-1) ?? 0) + 1)
    await qmp.execute('transaction', {
      actions: next.map((layer, disk) => ({
        type: 'blockdev-snapshot-sync',
        data: {
          'node-name': nodeOf(disk, layer - 1), 'snapshot-node-name': nodeOf(disk, layer), format: 'qcow2',
          'snapshot-file': this.#file(disk, layer)
        }
      }))
    })
    for (const [disk, layer] of next.entries()) this.#layers[disk]?.push(layer)
    return next.map((layer, disk) => [this.#file(disk, 'merged'), this.#file(disk, layer - 1)])
  }

  /** The bytes of what was frozen, as frames of an image. */
  async *read(frozen: readonly FrozenDisk[]): AsyncGenerator<readonly Buffer[], void> {
    for (const [disk, files] of frozen.entries()) {
      for (const [which, path] of files.entries()) {
        const head = Buffer.from([disk, which])
        for await (const bytes of piecesOf(path)) yield [head, bytes]
      }
    }
  }

  /** Merges, behind the guest's back, whatever it does not write to any more. */
  merge(qmp: QmpClient): void {
    this.#merging = this.#merging.then(() => this.#merge(qmp)).catch((error: unknown) => {
      this.#mergeFailure = messageOf(error)
    })
  }

  /** Where the bytes of a restored guest's disks go, while its QEMU has not looked at the files yet. */
  receiver(): Receiver {
    return new Receiver(this.#disks.map((_, disk) => [this.#file(disk, 'merged'), this.#file(disk, 1)]))
  }

  async #merge(qmp: QmpClient): Promise<void> {
    for (const [disk, layers] of this.#layers.entries()) {
      const [top, recent] = [layers.at(-1), layers.at(-2)]
      if (top === undefined || recent === undefined) continue
      const job = deviceOf(disk)
      const over = qmp.event(({ name, data }) => name === 'BLOCK_JOB_COMPLETED' && data.device === job,
        mergeMsMax, 'QEMU did not merge the files of a disk')
      over.catch(() => undefined)
      await qmp.execute('block-commit', {
        'job-id': job, device: nodeOf(disk, top),
        'top-node': nodeOf(disk, recent), 'base-node': nodeOf(disk, 'merged')
      })
      const { data } = await over
      if (typeof data.error === 'string') throw new TailgateError('E_ENGINE', data.error)
      for (const layer of layers.splice(0, layers.length - 1)) {
        await rm(this.#file(disk, layer), { force: true })
      }
    }
  }

  async #measure(): Promise<void> {
    if (this.#disks.length > 0) await mkdir(this.#directory, { recursive: true })
    this.#sizes = await Promise.all(this.#disks.map(sizeOf))
  }

  /** Removes what there is of a disk and makes empty files. */
  async #begin(disk: number, layers: readonly number[]): Promise<void> {
    for (const name of await readdir(this.#directory)) {
      if (name.startsWith(`disk${disk}-`)) await rm(join(this.#directory, name), { force: true })
    }
    for (const layer of ['merged', ...layers] as const) {
      await qemuImg('create', '-q', '-f', 'qcow2', this.#file(disk, layer), String(this.#sizes[disk] ?? 0))
    }
    this.#layers[disk] = [...layers]
  }

  #chain({ base, format }: QemuDisk, disk: number): unknown {
    const file = { driver: 'file', filename: base }
    const bottom: unknown = { driver: format, 'read-only': true, file }
    const layers = this.#layers[disk] ?? []
    return ['merged' as const, ...layers].reduce((backing, layer) => ({
      driver: 'qcow2', 'node-name': nodeOf(disk, layer), discard: 'unmap',
      'read-only': layer !== layers.at(-1),
      file: { driver: 'file', filename: this.#file(disk, layer) }, backing
    }), bottom)
  }

  #file(disk: number, layer: number | 'merged'): string {
    return join(this.#directory, `disk${disk}-${layer}.qcow2`)
  }
}

/** Takes the frames of a guest's disks and writes their files. */
export class Receiver {
  readonly #files: readonly FrozenDisk[]
  readonly #begun = new Set<string>()

  constructor(files: readonly FrozenDisk[]) {
    this.#files = files
  }

  /** Rejects with E_IMAGE for a disk that the guest does not have, and with the system's error. */
  async take(frame: Buffer): Promise<void> {
    const [disk = 0, which = 0] = frame
    const path = this.#files[disk]?.[which]
    if (path === undefined) {
      throw new TailgateError('E_IMAGE', `the checkpoint has a disk ${disk} that is not here`)
    }
    // The file stays the one that QEMU has open.
    const file = await open(path, this.#begun.has(path) ? 'a' : 'w')
    this.#begun.add(path)
    try {
      await file.writeFile(frame.subarray(frameHeadBytes))
    } finally {
      await file.close()
    }
  }
}

async function* piecesOf(path: string): AsyncGenerator<Buffer, void> {
  const file = await open(path, 'r')
  try {
    for (;;) {
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(readBytes), 0, readBytes, null)
      if (bytesRead === 0) return
      yield buffer.subarray(0, bytesRead)
    }
  } finally {
    await file.close()
  }
}

/** The numbered files of a disk among these names, in order. */
function layersIn(names: readonly string[], disk: number): number[] {
  const numbers = names.map(name => new RegExp(`^disk${disk}-(\\d+)\\.qcow2$`).exec(name)?.[1])
  return numbers.flatMap(digits => digits === undefined ? [] : [Number(digits)]).toSorted((a, b) => a - b)
}

async function sizeOf({ base, format }: QemuDisk): Promise<number> {
  const info: unknown = JSON.parse(await qemuImg('info', '-U', '--output=json', '-f', format, base))
  const size = isObject(info) ? info['virtual-size'] : undefined
  if (typeof size === 'number') return size
  throw new TailgateError('E_ENGINE', `qemu-img does not say how large ${base} is`)
}

async function qemuImg(...words: readonly string[]): Promise<string> {
  try {
    return (await run('qemu-img', words)).stdout
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT'
    const why = missing ? 'it is missing: install qemu-utils' : messageOf(cause)
    throw new TailgateError('E_ENGINE', `qemu-img could not prepare a disk of the guest: ${why}`, { cause })
  }
}

function nodeOf(disk: number, layer: number | 'merged'): string {
  return `tailgate${disk}-${layer}`
}

function deviceOf(disk: number): string {
  return `tailgate-disk${disk}`
}
