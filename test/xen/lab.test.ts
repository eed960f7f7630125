import t from 'tap'
import { runInNamespace } from '../lab/in-namespace.ts'
import { databaseHost } from '../qemu/guest.ts'
import { hvmGuest, xenImage } from './host.ts'

/** For the image, and for all cases together. Milliseconds. */
const togetherMs = 240 * 60_000
t.setTimeout(togetherMs)
// So the runner is told, which would otherwise end this file at its own limit.
t.comment(`timeout=${togetherMs}`)
/** Each boots hosts of its own: only the first is for every run of all tests. */
const parts = process.env.TAILGATE_TEST_ROUNDS === undefined
  ? ['failover'] : ['failover', 'found', 'standby', 'sender', 'disks', 'save', 'hvm', 'database', 'long']

for (const part of parts) {
  void t.test(`Xen hosts: ${part}`, async (t) => {
    const image = await xenImage(t)
    if (image === undefined) return
    process.env.TAILGATE_TEST_XEN = image.directory
    if (part === 'database' || part === 'hvm') {
      const guest = part === 'hvm' ? await hvmGuest(t) : (await databaseHost(t))?.image
      if (guest === undefined) return
      process.env.TAILGATE_TEST_IMAGE = guest
    }
    await runInNamespace(t, new URL(`cases/${part}.ts`, import.meta.url))
  })
}
