import { execFile } from 'node:child_process'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { runInNamespace } from '../lab/in-namespace.ts'
import { requires } from '../requires.ts'
import { qemuHost } from './guest.ts'

void t.test('virtual machines: redis', async (t) => {
  const host = await qemuHost(t)
  if (host === undefined) return
  process.env.TAILGATE_TEST_IMAGE = host.image
  await runInNamespace(t, new URL('cases/redis.ts', import.meta.url))
})

void t.test('virtual machines: a database on a disk', async (t) => {
  if (await qemuHost(t) === undefined) return
  for (const program of ['qemu-img', 'pgbench', 'psql']) if (requires(t, program) === undefined) return
  const build = fileURLToPath(new URL('database/build.sh', import.meta.url))
  const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache')
  const { stdout } = await promisify(execFile)(build, [join(cache, 'tailgate-test-database')])
  process.env.TAILGATE_TEST_IMAGE = stdout.trim()
  await runInNamespace(t, new URL('cases/database.ts', import.meta.url))
})
