import fc from 'fast-check'
import t from 'tap'
import {
  FrameKind, ImageReader, ImageWriter, type MachineDescription
} from '../../src/engine/qemu-image.ts'
import { inPieces } from './compliance.ts'

const machine: MachineDescription = {
  qemu: '7.2.22', machine: 'pc-i440fx-7.2-machine', memoryBytes: 1 << 27, cpus: 2, disks: [1 << 26]
}
const parts: readonly (readonly [FrameKind, string])[] = [
  [FrameKind.machine, 'memory'], [FrameKind.machine, ''], [FrameKind.disk, 'blocks']
]

function image(): Buffer {
  const writer = new ImageWriter()
  const frames = [writer.description(machine)]
  for (const [kind, text] of parts) frames.push(writer.frame(kind, [Buffer.from(text)]))
  return Buffer.concat([...frames, writer.end()])
}

async function read(bytes: Uint8Array, pieceBytes: number) {
  const reader = new ImageReader(inPieces(bytes, pieceBytes))
  const description = await reader.description()
  const frames: (readonly [FrameKind, string])[] = []
  for await (const frame of reader.frames()) frames.push([frame.kind, frame.bytes.toString()])
  return { description, frames }
}

void t.test('what is written is read, in pieces of any size', async t => {
  const whole = image()
  for (let bytes = 1; bytes <= whole.length; bytes++) {
    t.same(await read(whole, bytes), { description: machine, frames: parts })
  }
})

void t.test('cut anywhere, longer, or with any bit turned over: E_IMAGE', async t => {
  const whole = image()
  for (let length = 0; length < whole.length; length++) {
    await t.rejects(read(whole.subarray(0, length), 64), { code: 'E_IMAGE' }, `cut to ${length}`)
  }
  await t.rejects(read(Buffer.concat([whole, Buffer.alloc(1)]), 64), { code: 'E_IMAGE' })
  await fc.assert(fc.asyncProperty(fc.nat(whole.length * 8 - 1), async bit => {
    const damaged = Buffer.from(whole)
    damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ 1 << (bit & 7)
    await read(damaged, 50).then(
      () => { throw new Error(`bit ${bit} is not noticed`) },
      (error: unknown) => { if ((error as { code?: string }).code !== 'E_IMAGE') throw error })
  }))
})

void t.test('frames that change places are found, though each is whole', async t => {
  const writer = new ImageWriter()
  const first = writer.description(machine)
  const [a, b] = ['a', 'b'].map(text => writer.frame(FrameKind.machine, [Buffer.from(text)]))
  const end = writer.end()
  if (a === undefined || b === undefined) throw new Error('two frames were written')
  await t.resolves(read(Buffer.concat([first, a, b, end]), 9))
  await t.rejects(read(Buffer.concat([first, b, a, end]), 9), { code: 'E_IMAGE' })
  await t.rejects(read(Buffer.concat([first, b, end]), 9), { code: 'E_IMAGE' })
})

void t.test('the source\'s own failure is told as it is', async t => {
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield* inPieces(image().subarray(0, 20))
    throw new Error('the disk is gone')
  }
  await t.rejects(new ImageReader(broken()).description(), { message: 'the disk is gone' })
})
