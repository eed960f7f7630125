import { messageOf } from '../../src/base/errors.ts'
import { endProgramsAtExit } from '../program.ts'
import { say } from '../shortfalls.ts'
import { checkpointInterval, measureCheckpoints } from './checkpoints.ts'
import { LabSite } from './lab-site.ts'
import { measureFailovers } from './measure.ts'
import { roundsOf } from './points.ts'
import { pointText } from './tables.ts'
import type { LabAnswer, LabOrder } from './virtual-machine.ts'

/*
 * What is measured with virtual machines, in namespaces of this process's own (virtual-machine.ts). Its one
 * argument is a LabOrder as JSON; it says a LabAnswer per line.
 */

/** Enough for a thousand clients with values of 10 KiB on their way, and for what the checkpoints rewrite. */
const memoryMiB = 256

function answer(one: LabAnswer): void {
  process.stdout.write(`${JSON.stringify(one)}\n`)
}

async function attempt(what: string, measure: () => Promise<void>): Promise<void> {
  say(what)
  await measure().catch((error: unknown) => answer({ failed: what, reason: messageOf(error) }))
}

async function failovers({ image, points, rounds }: LabOrder): Promise<void> {
  for (const point of points) {
    await attempt(`qemu, ${pointText(point)}`, async () => {
      const site = await LabSite.start({ image, memoryMiB, ...point })
      try {
        const found = await measureFailovers(site, point, roundsOf(point, rounds))
        answer({ failover: { guest: 'qemu', ...point, rounds: found } })
      } finally {
        await site.stop()
      }
    })
  }
}

async function checkpoints({ image, rounds }: LabOrder): Promise<void> {
  await attempt('qemu, checkpoints', async () => {
    const site = await LabSite.start({
      image, memoryMiB, tailBytes: 1e9, order: 'output', checkpointInterval
    })
    try {
      answer({ checkpoints: await measureCheckpoints(site, memoryMiB, rounds) })
    } finally {
      await site.stop()
    }
  })
}

endProgramsAtExit()
const order = JSON.parse(process.argv[2] ?? '') as LabOrder
await failovers(order)
if (order.checkpoints) await checkpoints(order)
// Whatever a failure has left behind ends with the namespaces.
process.exit(0)
