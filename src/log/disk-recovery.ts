import { join } from 'node:path'
import { TailgateError, messageOf } from '../base/errors.ts'
import { lsn, noLsn, type Lsn } from '../core/ids.ts'
import {
  FileKind, blockHeaderBytes, blockRecordsBytesMax, blockSeed, decodeFileHeader, fileHeaderBytes, isTorn,
  type Block, type FileHeader
} from '../core/log/block-format.ts'
import { LogBooks } from '../core/log/log-books.ts'
import { PieceCutter, type Piece } from '../core/log/pieces.ts'
import {
  corruptFile, diskHash, isEndBlock, isRoot, parseName, readBlocks, type Damage, type DiskFile
} from './disk-files.ts'
import { diskError, type FileSystem, type LogFile } from './file-system.ts'

/** A write that a crash had interrupted: what is cut off a file when the log is opened. */
export interface TornReport {
  readonly file: string
  readonly offset: number
  readonly bytes: number
  readonly reason: string
  /** The last lsn that is whole. */
  readonly lastLsn: Lsn
}

/** What the files of a directory hold; nothing was changed to find it out. */
export interface Recovery {
  readonly books: LogBooks
  readonly base: DiskFile | undefined
  /** The log's other files, oldest first; the last one is appended to. */
  readonly chain: DiskFile[]
  readonly torn: TornReport | undefined
  /** Paths that a crash left behind: half made, or no longer needed. */
  readonly leftovers: string[]
  readonly nextSequence: number
}

/** Takes the log's records, piece by piece. */
export type Visit = (piece: Piece) => Promise<void>

interface Found {
  readonly sequence: number
  /** As the name says. */
  readonly kind: string
  readonly path: string
  readonly length: number
  readonly headerBytes: Uint8Array
  readonly header: FileHeader | TailgateError
}

interface Whole extends Found {
  readonly header: FileHeader
}

interface Choice {
  readonly base: Whole | undefined
  readonly chain: readonly Whole[]
  /** The newest file, if its making was interrupted. */
  readonly tornFile: Found | undefined
  readonly leftovers: string[]
}

/**
 * Reads a log's directory. Rejects with E_LOG_CORRUPT for damage that no interrupted write explains,
 * E_VERSION, and E_DISK. Only the end of the newest file can be torn, because each block is durable before
 * the next is written.
 *
 * @param visit is given every record of the log, in order, as a replay would see it, and is waited for
 */
export async function recover(
  files: FileSystem, directory: string, visit?: Visit
): Promise<Recovery> {
  const { found, halfMade, nextSequence } = await list(files, directory)
  const choice = choose(found, directory)
  const books = new LogBooks()
  const leftovers = [...halfMade, ...choice.leftovers]
  const reader = new LogReader(files, books, visit)
  const base = choice.base ? await reader.base(choice.base) : undefined
  const chain: DiskFile[] = []
  for (const file of choice.chain) {
    chain.push(await reader.file(file, file === choice.chain.at(-1) && !choice.tornFile))
  }
  reader.finish(directory)
  const torn = choice.tornFile
    ? {
        file: choice.tornFile.path, offset: 0, bytes: choice.tornFile.length,
        reason: 'a file header cut short', lastLsn: books.lastLsn
      }
    : reader.torn
  return { books, base, chain, torn, leftovers, nextSequence }
}

async function list(files: FileSystem, directory: string): Promise<{
  found: Found[], halfMade: string[], nextSequence: number
}> {
  const found: Found[] = []
  const halfMade: string[] = []
  let nextSequence = 1
  try {
    for (const name of await files.list(directory)) {
      const parsed = parseName(name)
      if (!parsed) continue
      nextSequence = Math.max(nextSequence, parsed.sequence + 1)
      if (parsed.kind === 'new') halfMade.push(join(directory, name))
      else found.push(await look(files, join(directory, name), parsed))
    }
  } catch (error) {
    throw diskError('reading', directory, error)
  }
  found.sort((a, b) => a.sequence - b.sequence)
  return { found, halfMade, nextSequence }
}

async function look(
  files: FileSystem, path: string, name: { readonly sequence: number, readonly kind: string }
): Promise<Found> {
  const file = await files.open(path, 'read')
  try {
    const headerBytes = await file.read(0, fileHeaderBytes)
    const length = await file.length()
    return { ...name, path, length, headerBytes, header: headerOf(headerBytes) }
  } finally {
    await file.close()
  }
}

function headerOf(bytes: Uint8Array): FileHeader | TailgateError {
  try {
    return decodeFileHeader(bytes, diskHash)
  } catch (error) {
    if (error instanceof TailgateError && error.code === 'E_LOG_CORRUPT') return error
    throw error
  }
}

function isWhole(file: Found): file is Whole {
  return !(file.header instanceof TailgateError)
}

/**
 * Which files are the log. The newest beginning or base is its root. A crash between a rename and the removal
 * of what it replaced leaves older files behind.
 */
function choose(found: readonly Found[], directory: string): Choice {
  const whole = found.filter(isWhole)
  const root = whole.findLast(file => isRoot(file.header))
  const newestLog = found.findLast(file => file.kind === 'log')
  // A file's header is durable before a block is written: an interrupted making leaves no more than that.
  const isTornFile = newestLog && !isWhole(newestLog) && newestLog.length <= fileHeaderBytes
  const tornFile = isTornFile ? newestLog : undefined
  const base = root?.header.kind === FileKind.base ? root : undefined
  const chain = root ? chainOf(whole, root) : []
  const first = chain[0]
  const used = new Set<Found>([...chain, ...(base ? [base] : []), ...(tornFile ? [tornFile] : [])])
  const leftovers = found.filter(file => !used.has(file))
  for (const file of leftovers) {
    const isReplaced = root && first && (file.sequence < first.sequence || isOlderBase(file, root))
    if (!isReplaced) throw notOfTheLog(file)
  }
  if (base && !first) {
    const missing = `the records after lsn ${base.header.firstLsn} are missing`
    throw new TailgateError('E_LOG_CORRUPT', `${directory}: ${missing}`)
  }
  return { base, chain, tornFile, leftovers: leftovers.map(file => file.path) }
}

/**
 * The root's files of records. With a base, older ones end where a newer one still begins before the mark's
 * end.
 */
function chainOf(whole: readonly Whole[], root: Whole): Whole[] {
  const logs = whole.filter(file => file.header.kind !== FileKind.base)
  if (root.header.kind === FileKind.begin) return logs.filter(file => file.sequence >= root.sequence)
  const own = logs.filter(file => file.header.history === root.header.history)
  const first = own.findLast(file => file.header.firstLsn <= root.header.firstLsn + 1)
  return first ? own.filter(file => file.sequence >= first.sequence) : []
}

function isOlderBase(file: Found, root: Whole): boolean {
  return isWhole(file) && file.header.kind === FileKind.base && file.sequence < root.sequence
}

function notOfTheLog(file: Found): TailgateError {
  if (!isWhole(file)) return corruptFile(file.path, messageOf(file.header), 0, file.header)
  return corruptFile(file.path, `records of history ${file.header.history} that nothing leads to`, 0)
}

/** Reads the chosen files in order and enters their records in the books. */
class LogReader {
  readonly #files: FileSystem
  readonly #books: LogBooks
  readonly #visit: Visit | undefined
  readonly #cutter = new PieceCutter()
  /** The lsn that must come next in the files; undefined before the first. */
  #next: number | undefined
  torn: TornReport | undefined

  constructor(files: FileSystem, books: LogBooks, visit: Visit | undefined) {
    this.#files = files
    this.#books = books
    this.#visit = visit
  }

  async base(found: Whole): Promise<DiskFile> {
    const { history, generation, checkpoint, firstLsn } = found.header
    this.#books.beginAt(history, generation, { checkpoint, lsn: firstLsn })
    let isEnded = false
    const damage = await this.#blocks(found, block => {
      if (isEnded) throw corruptFile(found.path, 'records after the end of a base', block.start)
      isEnded = isEndBlock(block)
      return isEnded ? undefined : this.#baseBlock(found, block)
    })
    if (damage) throw corruptFile(found.path, damage.reason, damage.at)
    if (!isEnded) throw corruptFile(found.path, 'a base without its end', found.length)
    return diskFile(found, found.length, firstLsn)
  }

  /** Reads a file of records. Only the newest may end in a torn tail. */
  async file(found: Whole, isNewest: boolean): Promise<DiskFile> {
    const { history, generation, firstLsn } = found.header
    if (this.#next === undefined && !this.#books.base) this.#books.begin(history, generation, firstLsn)
    if (history !== this.#books.history || firstLsn !== (this.#next ?? firstLsn)) {
      throw corruptFile(found.path, `lsn ${firstLsn} of ${history} where ${this.#next ?? 0} must follow`, 0)
    }
    this.#next = firstLsn
    let length = fileHeaderBytes
    const damage = await this.#blocks(found, block => {
      length = block.end
      return this.#block(found, block)
    })
    if (damage) await this.#damaged(found, damage, isNewest)
    return diskFile(found, length, lsn(this.#next - 1))
  }

  /** Checks what can be known only at the end. */
  finish(directory: string): void {
    const mark = this.#books.base
    if (!mark || (this.#next ?? 0) > mark.lsn) return
    throw new TailgateError('E_LOG_CORRUPT', `${directory}: the log ends before its mark at lsn ${mark.lsn}`)
  }

  async #blocks(found: Whole, each: (block: Block) => Piece | undefined): Promise<Damage | undefined> {
    return this.#reading(found, async file => {
      const blocks = readBlocks(file, found.length, blockSeed(found.headerBytes))
      for (;;) {
        const next = await blocks.next()
        if (next.done) return next.value
        const piece = each(next.value)
        if (piece) await this.#visit?.(piece)
      }
    })
  }

  async #reading<T>(found: Found, read: (file: LogFile) => Promise<T>): Promise<T> {
    try {
      const file = await this.#files.open(found.path, 'read')
      try {
        return await read(file)
      } finally {
        await file.close()
      }
    } catch (error) {
      throw diskError('reading', found.path, error)
    }
  }

  #baseBlock(found: Whole, block: Block): Piece {
    if (block.firstLsn !== 0) throw corruptFile(found.path, 'numbered records in a base', block.start)
    this.#enter(found, block, () => this.#books.followBase(block.records))
    return { firstLsn: noLsn, records: block.records }
  }

  /** Enters a block's records and returns those that the base does not stand for. */
  #block(found: Whole, block: Block): Piece | undefined {
    if (block.firstLsn !== this.#next || block.lastLsn < block.firstLsn) {
      throw corruptFile(found.path, `lsn ${block.firstLsn} where ${this.#next ?? 0} must follow`, block.start)
    }
    this.#next = block.lastLsn + 1
    const start = (this.#books.base?.lsn ?? 0) + 1
    if (block.lastLsn < start) return undefined
    return this.#enter(found, block, () => {
      this.#cutter.load(block)
      this.#cutter.skipTo(lsn(start))
      const piece = this.#cutter.next(Infinity)
      const first = lsn(Math.max(start, block.firstLsn))
      this.#books.expect(first, block.lastLsn)
      this.#books.follow(first, block.lastLsn, piece?.records ?? new Uint8Array(0))
      return piece
    })
  }

  /** Records in a block that is whole can still be damage: then the writer was at fault. */
  #enter<T>(found: Whole, block: Block, enter: () => T): T {
    try {
      return enter()
    } catch (error) {
      throw corruptFile(found.path, messageOf(error), block.start, error)
    }
  }

  async #damaged(found: Whole, damage: Damage, isNewest: boolean): Promise<void> {
    const bytes = found.length - damage.at
    const couldBeTorn = isNewest && bytes <= blockHeaderBytes + blockRecordsBytesMax
    const rest = couldBeTorn ? await this.#reading(found, file => file.read(damage.at, bytes)) : undefined
    if (!rest || !isTorn(rest, blockSeed(found.headerBytes), diskHash)) {
      throw corruptFile(found.path, damage.reason, damage.at)
    }
    this.torn = {
      file: found.path, offset: damage.at, bytes, reason: damage.reason, lastLsn: this.#books.lastLsn
    }
  }
}

function diskFile(found: Whole, length: number, lastLsn: Lsn): DiskFile {
  const { sequence, path, header, headerBytes } = found
  return { sequence, path, header, seed: blockSeed(headerBytes), length, lastLsn }
}
