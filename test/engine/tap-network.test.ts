import { fileURLToPath } from 'node:url'
import t from 'tap'
import { requiresNamespaces } from '../requires-namespaces.ts'

// The cases run in a network namespace of their own, in which whoever runs this may make what they need.

for (const part of ['gate', 'lease', 'announcement', 'refusals']) {
  void t.test(`a guest's network on a host: ${part}`, async (t) => {
    if (!requiresNamespaces(t)) return
    const cases = fileURLToPath(new URL(`tap-network/${part}.ts`, import.meta.url))
    const args = ['-rn', process.execPath, ...process.execArgv, cases]
    await t.spawn('unshare', args, { name: part })
  })
}
