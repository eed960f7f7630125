import t from 'tap'
import { runInNamespace } from '../lab/in-namespace.ts'
import { databaseHost } from './guest.ts'

void t.test('a virtual machine with a disk: PostgreSQL and nginx', async (t) => {
  const host = await databaseHost(t)
  if (host === undefined) return
  process.env.TAILGATE_TEST_IMAGE = host.image
  await runInNamespace(t, new URL('cases/database.ts', import.meta.url))
})
