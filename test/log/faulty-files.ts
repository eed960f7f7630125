import { basename, dirname } from 'node:path'
import type { FileSystem, LogFile } from '../../src/log/file-system.ts'

/** A file's content, and what of it the disk has for certain. */
interface Node {
  content: Uint8Array
  durable: Uint8Array
}

type NameChange =
  | { readonly type: 'set', readonly name: string, readonly node: Node }
  | { readonly type: 'rename', readonly from: string, readonly to: string, readonly node: Node }
  | { readonly type: 'drop', readonly name: string }

/** One operation that reached the file system, as hooks see it. */
export interface Operation {
  readonly type: 'create' | 'write' | 'sync' | 'truncate' | 'rename' | 'unlink' | 'syncDirectory' | 'read'
  readonly name: string
  /** What is written. */
  readonly bytes: number
}

/** What happens to an operation: it passes, or fails after `done` bytes of a write took effect. */
export type Fate = { readonly fail: Error, readonly done?: number } | undefined

/** Size of what a disk writes as one, in bytes. */
const sectorBytes = 512

/**
 * A file system in memory that does what real ones do at their worst: `fate` decides over every operation;
 * after {@link powerLoss} of what was not synced any sector and any change of a name may be there or not.
 * It knows one directory.
 */
export class FaultyFiles implements FileSystem {
  readonly #names = new Map<string, Node>()
  #durableNames = new Map<string, Node>()
  #changes: NameChange[] = []
  /** Asked before every operation that changes something, and every read. */
  fate: (operation: Operation) => Fate | Promise<Fate> = () => undefined
  /** Every operation let through or failed, in order. */
  readonly operations: Operation[] = []

  makeDirectory(): Promise<void> {
    return Promise.resolve()
  }

  list(): Promise<string[]> {
    return Promise.resolve([...this.#names.keys()])
  }

  async create(path: string): Promise<LogFile> {
    const name = basename(path)
    await this.ask({ type: 'create', name, bytes: 0 })
    if (this.#names.has(name)) throw new Error(`EEXIST: ${name}`)
    const node: Node = { content: new Uint8Array(0), durable: new Uint8Array(0) }
    this.#names.set(name, node)
    this.#changes.push({ type: 'set', name, node })
    return new FaultyFile(this, name, node)
  }

  open(path: string): Promise<LogFile> {
    const node = this.#names.get(basename(path))
    if (!node) return Promise.reject(new Error(`ENOENT: ${path}`))
    return Promise.resolve(new FaultyFile(this, basename(path), node))
  }

  async rename(from: string, to: string): Promise<void> {
    await this.ask({ type: 'rename', name: basename(from), bytes: 0 })
    const node = this.#names.get(basename(from))
    if (!node) throw new Error(`ENOENT: ${from}`)
    this.#names.delete(basename(from))
    this.#names.set(basename(to), node)
    this.#changes.push({ type: 'rename', from: basename(from), to: basename(to), node })
  }

  async unlink(path: string): Promise<void> {
    const name = basename(path)
    await this.ask({ type: 'unlink', name, bytes: 0 })
    if (!this.#names.delete(name)) throw new Error(`ENOENT: ${path}`)
    this.#changes.push({ type: 'drop', name })
  }

  async syncDirectory(path: string): Promise<void> {
    await this.ask({ type: 'syncDirectory', name: basename(dirname(`${path}/x`)), bytes: 0 })
    this.#durableNames = new Map(this.#names)
    this.#changes = []
  }

  async ask(operation: Operation): Promise<Fate> {
    this.operations.push(operation)
    const fate = await this.fate(operation)
    if (fate && operation.type !== 'write') throw fate.fail
    return fate
  }

  /** The content of a file, to be looked at or damaged. */
  contentOf(name: string): Uint8Array {
    const node = this.#names.get(name)
    if (!node) throw new Error(`ENOENT: ${name}`)
    return node.content
  }

  setContent(name: string, content: Uint8Array): void {
    const node = this.#names.get(name) ?? { content, durable: content }
    node.content = content
    node.durable = content.slice()
    this.#names.set(name, node)
    this.#durableNames.set(name, node)
  }

  names(): string[] {
    return [...this.#names.keys()].sort()
  }

  /** What another process finds after this one was killed: everything that was done, synced or not. */
  afterKill(): FaultyFiles {
    const next = new FaultyFiles()
    for (const [name, node] of this.#names) {
      const copy = { content: node.content.slice(), durable: node.durable.slice() }
      next.#names.set(name, copy)
      if (this.#durableNames.get(name) === node) next.#durableNames.set(name, copy)
    }
    next.#changes = [...next.#names].filter(([name]) => !next.#durableNames.has(name))
      .map(([name, node]) => ({ type: 'set', name, node }))
    return next
  }

  /**
   * What is there after the power was lost. `chance` says of each thing that was not durable whether it is
   * there.
   */
  powerLoss(chance: () => boolean): FaultyFiles {
    const names = new Map(this.#durableNames)
    for (const change of this.#changes) {
      if (!chance()) continue
      if (change.type === 'drop') names.delete(change.name)
      if (change.type === 'set') names.set(change.name, change.node)
      if (change.type === 'rename') {
        names.delete(change.from)
        names.set(change.to, change.node)
      }
    }
    const next = new FaultyFiles()
    for (const [name, node] of names) next.setContent(name, survivingContent(node, chance))
    return next
  }
}

/** Any of the sectors that were not synced may be old, new, or zero where there was nothing before. */
function survivingContent(node: Node, chance: () => boolean): Uint8Array {
  const { content, durable } = node
  let length = durable.length
  if (content.length < durable.length && chance()) length = content.length
  while (length < content.length && chance()) length = Math.min(content.length, length + sectorBytes)
  const survived = new Uint8Array(length)
  survived.set(durable.subarray(0, length))
  for (let at = 0; at < length; at += sectorBytes) {
    const sector = content.subarray(at, Math.min(at + sectorBytes, length))
    if (chance()) survived.set(sector, at)
  }
  return survived
}

class FaultyFile implements LogFile {
  readonly #files: FaultyFiles
  readonly #name: string
  readonly #node: Node

  constructor(files: FaultyFiles, name: string, node: Node) {
    this.#files = files
    this.#name = name
    this.#node = node
  }

  async write(chunks: readonly Uint8Array[]): Promise<void> {
    const bytes = Buffer.concat(chunks)
    const fate = await this.#files.ask({ type: 'write', name: this.#name, bytes: bytes.length })
    const done = fate ? Math.min(fate.done ?? 0, bytes.length) : bytes.length
    this.#node.content = Uint8Array.from(Buffer.concat([this.#node.content, bytes.subarray(0, done)]))
    if (fate) throw fate.fail
  }

  /** At its worst a write and an fdatasync, between which anything may happen. */
  async writeDurably(chunks: readonly Uint8Array[]): Promise<void> {
    await this.write(chunks)
    await this.sync()
  }

  async read(at: number, length: number): Promise<Uint8Array> {
    await this.#files.ask({ type: 'read', name: this.#name, bytes: length })
    return this.#node.content.slice(at, at + length)
  }

  async sync(): Promise<void> {
    await this.#files.ask({ type: 'sync', name: this.#name, bytes: 0 })
    this.#node.durable = this.#node.content.slice()
  }

  async truncate(length: number): Promise<void> {
    await this.#files.ask({ type: 'truncate', name: this.#name, bytes: length })
    this.#node.content = this.#node.content.slice(0, length)
  }

  length(): Promise<number> {
    return Promise.resolve(this.#node.content.length)
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}
