import t from 'tap'
import { runInNamespace } from '../lab/in-namespace.ts'
import { qemuHost } from './guest.ts'

/** For all cases together: each of them has the runner's own limit, which is for one file. Milliseconds. */
const togetherMs = 30 * 60_000
t.setTimeout(togetherMs)
// So the runner is told, which would otherwise end this file at its limit.
t.comment(`timeout=${togetherMs}`)

for (const part of ['redis', 'release-checkpoint', 'idle', 'restart', 'lossy', 'ipv6']) {
  void t.test(`virtual machines: ${part}`, async (t) => {
    const host = await qemuHost(t)
    if (host === undefined) return
    process.env.TAILGATE_TEST_IMAGE = host.image
    await runInNamespace(t, new URL(`cases/${part}.ts`, import.meta.url))
  })
}
