import { fileURLToPath } from 'node:url'
import t from 'tap'
import { requiresNamespaces } from '../requires-namespaces.ts'

// The suite of all engines, with domains that a script plays in the place of xl. What is tried is the
// engine's own part; what a real xl does is tried on a real Xen (test/xen).

const cases = fileURLToPath(new URL('xen-compliance/cases.ts', import.meta.url))
for (const checkpoints of ['remus', 'save']) {
  void t.test(`the engine of Xen, ${checkpoints}`, async (t) => {
    if (!requiresNamespaces(t)) return
    // It mounts something in the place of the lock of xl.
    const args = ['-rm', process.execPath, ...process.execArgv, cases, checkpoints]
    await t.spawn('unshare', args, { name: checkpoints })
  })
}
