import { execFileSync, spawn } from 'node:child_process'
import {
  closeSync, constants, existsSync, openSync, readFileSync, readSync, writeSync
} from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { growPipe } from '../../../src/net/libc.ts'
import { libxcRecord, libxlRecord, recordAt, type StreamRecord } from '../../xen/vectors/walk.ts'
import { grownBytes, type Order } from './orders.ts'

// Stands in for `xl remus` where there is no Xen: writes a stream that a real one has written into a real
// pipe, one checkpoint for each order of the test, and says when the domain stands and runs. As
// libxl-save-helper does, it lets the domain run on when the pipe has taken libxc's CHECKPOINT, and when
// nobody reads the pipe any more. With STAND_IN_AHEAD a checkpoint has begun before anybody reads; with
// STAND_IN_PERIOD there is one in each period, as with a real one. What a file `memory` of the directory says
// is in the last page of each.
//
//   test ── FIFO orders ──► this ── FIFO data ──► COMMAND, and whoever opens its descriptor
//   test ◄── FIFO journal ── this ◄── FIFO answers ── COMMAND

const directory = process.env.STAND_IN ?? ''
const vector = gunzipSync(readFileSync(new URL('../../xen/vectors/pvh.stream.gz', import.meta.url)))
/** The least that a checkpoint can be. */
const tiny = Buffer.from('0e00000000000000' + '0400000000000000', 'hex')
/** One of which libxc's part is as little, and libxl's much: state of an emulator. */
const emulated = Buffer.concat([
  tiny.subarray(0, 8), Buffer.from('0300000000200000', 'hex'), Buffer.alloc(0x2000), tiny.subarray(8)
])

function fifo(name: string): string {
  const path = join(directory, `${name}-${process.pid}`)
  execFileSync('mkfifo', [path])
  return path
}

/** Where a checkpoint begins, its last record of pages, where libxc's part of it ends, and where it ends. */
interface Checkpoint {
  readonly from: number
  readonly pages: Pick<StreamRecord, 'at' | 'end'>
  readonly runs: number
  readonly to: number
}

function checkpoints(): readonly Checkpoint[] {
  const found: Checkpoint[] = []
  let [from, runs, pages] = [0, 0, { at: 0, end: 0 }]
  for (let one: StreamRecord | undefined; (one = recordAt(vector, one)) !== undefined;) {
    if (one.layer === 'libxc' && one.type === libxcRecord.pageData) pages = one
    if (one.layer === 'libxc' && one.type === libxcRecord.checkpoint) runs = one.end
    if (one.layer !== 'libxl' || one.type !== libxlRecord.checkpointEnd) continue
    found.push({ from, pages, runs, to: one.end })
    from = one.end
  }
  return found
}

/** The first pass, and the better part of a checkpoint. */
const aheadBytes = process.env.STAND_IN_AHEAD === undefined ? 0 : 200_000

const journal = openSync(join(directory, 'journal'), 'w')
const orders = openSync(join(directory, 'orders'), 'r')
const say = (what: string): void => { writeSync(journal, `${what}\n`) }

function nextOrder(): Order {
  if (process.env.STAND_IN_PERIOD !== undefined) {
    const periodMs = Number(process.argv[process.argv.indexOf('-i') + 1])
    execFileSync('sleep', [String(periodMs / 1000)])
    return 'm'
  }
  const letter = Buffer.alloc(1)
  return readSync(orders, letter) === 0 ? 'q' : letter.toString() as Order
}

function writeAll(pipe: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += writeSync(pipe, bytes, at)
}

/** The first of it may have been written ahead. */
function write(from: number, to: number): void {
  writeAll(pipe, vector.subarray(Math.max(from, aheadBytes), to))
}

/** What the domain has in its memory now becomes a part of this checkpoint. */
function remember({ pages }: Checkpoint): void {
  const memory = join(directory, 'memory')
  if (!existsSync(memory)) return
  const bytes = readFileSync(memory)
  bytes.copy(vector, pages.end - bytes.length)
}

/** What the domain stands for in a checkpoint, with its pages so often that it has so many bytes. */
function writeGrown({ from, pages, runs }: Checkpoint, bytes: number): void {
  const record = vector.subarray(pages.at, pages.end)
  write(from, pages.end)
  for (let left = bytes; left > 0; left -= record.length) writeAll(pipe, record)
  write(pages.end, runs)
}

const [data, answers] = [fifo('data'), fifo('answers')]
const reading = openSync(data, constants.O_RDONLY | constants.O_NONBLOCK)
const pipe = openSync(data, 'w')
const answering = openSync(answers, constants.O_RDWR)
if (aheadBytes > 0) growPipe(pipe, aheadBytes)
writeAll(pipe, vector.subarray(0, aheadBytes))
const child = spawn('sh', ['-c', process.argv.at(-1) ?? ''], { stdio: [reading, answering, 'inherit', 3] })
child.unref()
// Its own end of what it writes is not to keep a pipe alive that nobody reads.
closeSync(reading)
const banner = Buffer.alloc(1)
do readSync(answering, banner); while (banner.toString() !== '\n')

try {
  const [first, ...others] = checkpoints()
  write(0, first?.to ?? 0)
  say('wrote the first pass')
  for (let number = 1; ; number++) {
    const order = nextOrder()
    if (order === 'q') break
    say(`stands ${number}`)
    const checkpoint = others[(number - 1) % others.length]
    if (checkpoint === undefined) throw new Error('the vector has no checkpoint after the first pass')
    const { from, runs, to } = checkpoint
    remember(checkpoint)
    const isTiny = order === 't' || order === 'e'
    if (isTiny) writeAll(pipe, tiny.subarray(0, 8))
    else if (order === 'c') write(from, runs)
    else writeGrown(checkpoint, grownBytes[order])
    say(`runs ${number}`)
    if (isTiny) writeAll(pipe, (order === 't' ? tiny : emulated).subarray(8))
    else write(runs, to)
  }
  process.stderr.write('Told to end\n')
} catch {
  say('runs on, since nobody reads')
  process.stderr.write('Remus: Backup failed? resuming domain at primary.\n')
}
process.exit(1)
