import t from 'tap'
import { runInNamespace } from '../lab/in-namespace.ts'
import { xenImage } from './host.ts'

void t.test('Xen hosts', async (t) => {
  const image = await xenImage(t)
  if (image === undefined) return
  process.env.TAILGATE_TEST_XEN = image.directory
  await runInNamespace(t, new URL('cases/host.ts', import.meta.url))
})
