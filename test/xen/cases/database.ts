import t from 'tap'
import { killUnderLoad, prepareDatabase } from '../../qemu/database-load.ts'
import { databaseServices } from '../../qemu/lab-guest.ts'
import { figuresOf, standsStill, xenCluster } from '../xen-cluster.ts'

// PostgreSQL in a real domain that only reads its disk and has its files in memory. Its host dies under load,
// at any moment or while the domain stands still for a checkpoint.

const msMax = 120 * 60_000
t.setTimeout(msMax)
t.comment(`timeout=${msMax}`)
/** How often a host is killed: a fifth as often as in the long run, since each time takes minutes. */
const rounds = Math.ceil(Number(process.env.TAILGATE_TEST_ROUNDS ?? '1') / 5)
const load = { transactionsEach: 90, killWithinEvents: 300 } as const
/**
 * What PostgreSQL, its files and its programs take. With less, the programs' pages are read from the disk
 * again and again: PostgreSQL hardly answers then, and at last a part of it is killed.
 */
const memoryMiB = 256

/** The example of an operator, with more memory, and with the disk that is a comment there. */
function withDisk(text: string): string {
  return text.replace(/^memory = .*$/m, `memory = ${memoryMiB}`).replace(/^# (disk = .*access=ro.*)$/m, '$1')
}

void t.test(`no commit is lost when the Xen host of a database dies, ${rounds} times`, async (t) => {
  const { cluster, machines } = await xenCluster(t, {
    hosts: ['host-a', 'host-b'], services: databaseServices, guest: { checkpoint_interval: '5s' },
    guestFiles: { from: process.env.TAILGATE_TEST_IMAGE ?? '', names: ['vmlinuz', 'initrd', 'root.img.gz'] },
    domain: withDisk, dom0MiB: 1280, memoryMiB: 2048
  })
  t.match(await machines.host('host-a').run('xl list guest'), new RegExp(`guest +\\d+ +${memoryMiB} +1`))
  await prepareDatabase()
  for (let round = 0; round < rounds; round++) {
    const host = round % 2 === 0 ? 'host-a' : 'host-b'
    const moment = round % 2 === 0 ? undefined : () => standsStill(machines.host(host))
    await killUnderLoad(t, cluster, host, { ...load, moment }, round + 1)
    figuresOf(t, cluster, host)
    if (round + 1 < rounds) await cluster.bringBack(host)
  }
})
