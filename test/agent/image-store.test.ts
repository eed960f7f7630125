import { appendFileSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import t, { type Test } from 'tap'
import { ImageStore } from '../../src/agent/image-store.ts'
import { checkpointId, generation, historyId, lsn } from '../../src/core/ids.ts'
import type { Durability } from '../../src/core/message.ts'
import type { ImageInfo } from '../../src/core/agent/port.ts'

const pieces = [Buffer.from('the image '), Buffer.from('in two pieces')]
const whole = Buffer.concat(pieces)

const infoOf = (id: number): ImageInfo => ({
  checkpoint: checkpointId(id), mark: lsn(12), history: historyId('aaaaaaaaaaaaaaaa'),
  generation: generation(3), bytes: whole.length, crc: crc32(whole)
})

async function opened(directory: string): Promise<ImageStore> {
  return (await ImageStore.open(directory)).store
}

async function stored(t: Test, durability: Durability, directory: string, id = 7): Promise<ImageStore> {
  const store = await opened(directory)
  t.teardown(() => store.close())
  store.begin(checkpointId(id), durability)
  for (const piece of pieces) store.piece(checkpointId(id), piece)
  await store.finish(infoOf(id), durability)
  return store
}

async function bytesOf(store: ImageStore, id = 7): Promise<string> {
  const read: Uint8Array[] = []
  for await (const piece of store.read(checkpointId(id))) read.push(piece)
  return Buffer.concat(read).toString()
}

for (const durability of ['memory', 'disk'] as const) {
  void t.test(`${durability}: what was put in comes out`, async t => {
    const directory = t.testdir({})
    const store = await stored(t, durability, directory)
    t.same(store.images, [infoOf(7)])
    t.equal(await bytesOf(store), whole.toString())
    t.equal(await bytesOf(store), whole.toString(), 'as often as wanted')
    const again = await opened(directory)
    t.same(again.images, durability === 'disk' ? [infoOf(7)] : [], 'after a restart')
    await store.drop(checkpointId(7))
    t.same(store.images, [])
    t.same(readdirSync(directory), [])
    await t.rejects(bytesOf(store), { code: 'E_IMAGE' })
  })
}

void t.test('what was not finished is not there after a restart', async t => {
  const directory = t.testdir({})
  const store = await opened(directory)
  store.begin(checkpointId(7), 'disk')
  store.piece(checkpointId(7), whole)
  await store.close()
  t.same(readdirSync(directory), ['7.part'])
  const { store: again, removed } = await ImageStore.open(directory)
  t.same(again.images, [])
  t.same(removed, ['7.part'])
  t.same(readdirSync(directory), [])
})

void t.test('where no image outlives its agent, all are removed at the start', async t => {
  const directory = t.testdir({})
  await stored(t, 'disk', directory)
  const { store: again, removed } = await ImageStore.open(directory, 'remove')
  t.same(again.images, [])
  t.same(removed, ['7.image'])
  t.same(readdirSync(directory), [])
})

void t.test('a damaged image is removed at the start, however it was damaged', async t => {
  const damages: Record<string, (file: string) => void> = {
    'cut in the trailer': file => { truncateSync(file, readFileSync(file).length - 3) },
    'cut in the image': file => { truncateSync(file, 5) },
    empty: file => { truncateSync(file, 0) },
    longer: file => { appendFileSync(file, 'x') },
    'another byte': file => {
      const bytes = readFileSync(file)
      bytes[3] = 0
      writeFileSync(file, bytes)
    },
    'a piece in the middle is missing': file => {
      const bytes = readFileSync(file)
      writeFileSync(file, Buffer.concat([bytes.subarray(0, 4), bytes.subarray(6)]))
    },
    'a wild length': file => {
      const bytes = readFileSync(file)
      bytes.writeUInt32LE(0xffffffff, bytes.length - 16)
      writeFileSync(file, bytes)
    }
  }
  for (const [name, damage] of Object.entries(damages)) {
    const directory = t.testdir({})
    await stored(t, 'disk', directory)
    damage(join(directory, '7.image'))
    const { store, removed } = await ImageStore.open(directory)
    t.same(store.images, [], name)
    t.same(removed, ['7.image'], name)
  }
})

void t.test('an image that changes later is not restored as if it were whole', async t => {
  const directory = t.testdir({})
  const store = await stored(t, 'disk', directory)
  const file = join(directory, '7.image')
  const bytes = readFileSync(file)
  bytes[3] = 0
  writeFileSync(file, bytes)
  await t.rejects(bytesOf(store), { code: 'E_IMAGE' })
})

void t.test('one that is dropped while it comes in leaves nothing', async t => {
  const directory = t.testdir({})
  const store = await opened(directory)
  store.begin(checkpointId(7), 'disk')
  store.piece(checkpointId(7), whole)
  const dropped = store.drop(checkpointId(7))
  store.piece(checkpointId(7), whole)
  await dropped
  await t.rejects(store.finish(infoOf(7), 'disk'), { code: 'E_DISK' })
  t.same(readdirSync(directory), [])
})

void t.test('a disk that refuses is told at the end', async t => {
  const directory = join(t.testdir({}), 'images')
  const store = await opened(directory)
  t.teardown(() => store.close())
  rmSync(directory, { recursive: true })
  store.begin(checkpointId(7), 'disk')
  store.piece(checkpointId(7), whole)
  await t.rejects(store.finish(infoOf(7), 'disk'), { code: 'E_DISK' })
  t.same(store.images, [])
})

void t.test('an image of another durability than the one it began with is refused', async t => {
  const store = await opened(t.testdir({}))
  t.teardown(() => store.close())
  store.begin(checkpointId(7), 'memory')
  store.piece(checkpointId(7), whole)
  await t.rejects(store.finish(infoOf(7), 'disk'), { code: 'E_DISK' })
})

void t.test('a sender that is faster than the disk is held, and let go', async t => {
  const store = await opened(t.testdir({}))
  const said: boolean[] = []
  const letGo = new Promise<void>(resolve => {
    store.onBacklog = hold => {
      said.push(hold)
      if (!hold) resolve()
    }
  })
  store.begin(checkpointId(7), 'disk')
  const piece = Buffer.alloc(1 << 20)
  for (let n = 0; n < 40; n++) store.piece(checkpointId(7), piece)
  t.same(said, [true])
  await letGo
  t.same(said, [true, false])
  await store.drop(checkpointId(7))
})
