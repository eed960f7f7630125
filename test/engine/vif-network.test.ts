import { fileURLToPath } from 'node:url'
import t from 'tap'
import { requiresNamespaces } from '../requires-namespaces.ts'

// As in tap-network.test.ts; a tap device plays the one that Xen makes.

for (const part of ['coming', 'lease', 'orders']) {
  void t.test(`the network of a guest of Xen: ${part}`, async (t) => {
    if (!requiresNamespaces(t)) return
    const cases = fileURLToPath(new URL(`vif-network/${part}.ts`, import.meta.url))
    const args = ['-rn', process.execPath, ...process.execArgv, cases]
    await t.spawn('unshare', args, { name: part })
  })
}
