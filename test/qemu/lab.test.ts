import t from 'tap'
import { runInNamespace } from '../lab/in-namespace.ts'
import { qemuHost } from './guest.ts'

void t.test('virtual machines: redis', async (t) => {
  const host = await qemuHost(t)
  if (host === undefined) return
  process.env.TAILGATE_TEST_IMAGE = host.image
  await runInNamespace(t, new URL('cases/redis.ts', import.meta.url))
})
