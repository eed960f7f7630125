import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { qemuHost, RedisGuest, type GuestOptions } from './guest.ts'
import { shortDirectory } from './namespace.ts'
import { requires } from '../requires.ts'
import { inPieces, take } from '../engine/compliance.ts'

// A guest that writes to a disk.

const host = await qemuHost(t)
const qemuImg = requires(t, 'qemu-img')
if (host !== undefined && qemuImg !== undefined) {
  const makeBase = async (directory: string, format: string): Promise<string> => {
    const base = join(directory, 'base')
    await promisify(execFile)(qemuImg, ['create', '-q', '-f', format, base, '64M'])
    return base
  }
  const write = (guest: RedisGuest, word: string, block: number) =>
    guest.shell(`printf %-512s ${word} | dd of=/dev/vda bs=512 seek=${block} conv=fsync 2>/dev/null`)
  /** From the disk, not from what the guest remembers of it. */
  const read = (guest: RedisGuest, block: number) => guest.shell(
    `echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/vda bs=512 skip=${block} count=1 2>/dev/null | tr -d '\\0'`)

  void t.test('a disk goes with the checkpoint, three times in a row; its base stays as it is', async t => {
    const directory = await shortDirectory(t)
    const base = await makeBase(directory, 'qcow2')
    const before = createHash('sha256').update(await readFile(base)).digest('hex')
    const disks: GuestOptions = { disks: [{ base, format: 'qcow2' }] }
    let guest = await RedisGuest.make(t, host, disks)
    await guest.boot()
    t.equal(await guest.shell('cat /sys/block/vda/size'), String(64 * 2048))
    await write(guest, 'kept', 5)
    for (const [round, word] of ['one', 'two', 'three'].entries()) {
      await write(guest, word, 100 + round)
      await take(guest.engine)
      await write(guest, `${word}-more`, 90_000 + round)
      const image = await take(guest.engine)
      await write(guest, 'lost', 5)
      await write(guest, 'lost', 100 + round)
      await guest.engine.stop()

      const next = await RedisGuest.make(t, host, disks)
      if (round === 1) await next.engine.standBy()
      await next.engine.restore(inPieces(image, 1 << 20))
      await next.engine.openNetwork()
      t.equal(await read(next, 5), 'kept')
      t.equal(await read(next, 100 + round), word)
      t.equal(await read(next, 90_000 + round), `${word}-more`)
      t.equal(await read(next, 100), 'one', 'what came with an earlier checkpoint')
      guest = next
    }
    await guest.engine.stop()
    t.equal(createHash('sha256').update(await readFile(base)).digest('hex'), before)
  })

  void t.test('its files are merged, and a guest that is started anew has what it wrote', async t => {
    const directory = await shortDirectory(t)
    const base = await makeBase(directory, 'raw')
    const guest = await RedisGuest.make(t, host, { disks: [{ base, format: 'raw' }], directory })
    await guest.boot()
    for (const word of ['a', 'b', 'c', 'd']) {
      await write(guest, word, 7)
      await take(guest.engine)
    }
    t.ok((await readdir(directory)).filter(name => name.startsWith('disk0-')).length <= 3)
    await write(guest, 'e', 8)
    await guest.engine.stop()
    await guest.boot()
    t.equal(await read(guest, 7), 'd')
    t.equal(await read(guest, 8), 'e')
    const image = await take(guest.engine)
    await guest.engine.stop()
    await t.rejects(guest.engine.restore(inPieces(image.subarray(0, -100), 1 << 20)), { code: 'E_IMAGE' })
    await guest.boot()
    t.equal(await read(guest, 7), '', 'half of a checkpoint is no disk: it begins with its base')
    await guest.engine.stop()
  })

  void t.test('a guest with a writable disk that no checkpoint would hold is refused', async t => {
    const base = await makeBase(await shortDirectory(t), 'raw')
    const drive = (more: string) => ['-drive', `file=${base},format=raw,if=virtio${more}`]
    const refused = await RedisGuest.make(t, host, { more: drive('') })
    await t.rejects(refused.engine.start(),
      { code: 'E_ENGINE', message: /the guest can write to virtio0 .*base/ })
    t.equal(refused.engine.condition, 'absent')
    const taken = await RedisGuest.make(t, host, { more: drive(',readonly=on') })
    await taken.engine.start()
    await taken.engine.stop()
  })
}
