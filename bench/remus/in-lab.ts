import { messageOf } from '../../src/base/errors.ts'
import { endProgramsAtExit } from '../program.ts'
import { say } from '../shortfalls.ts'
import { measureTrial } from './measure.ts'
import type { LabAnswer, LabOrder } from './order.ts'
import { trialText } from './report.ts'
import { XenSite } from './xen-site.ts'

/*
 * What is measured with Xen hosts, in namespaces of this process's own. Its one argument is a LabOrder as
 * JSON; it says a LabAnswer per line.
 */

function answer(one: LabAnswer): void {
  process.stdout.write(`${JSON.stringify(one)}\n`)
}

endProgramsAtExit()
const { image, trial } = JSON.parse(process.argv[2] ?? '') as LabOrder
const what = trialText(trial)
say(what)
try {
  const site = await XenSite.start(image, trial)
  try {
    answer({ trial: await measureTrial(site, trial) })
  } finally {
    await site.stop()
  }
} catch (error) {
  answer({ failed: what, reason: messageOf(error) })
}
// Whatever a failure has left behind ends with the namespaces.
process.exit(0)
