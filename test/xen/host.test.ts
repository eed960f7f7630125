import t from 'tap'
import { runInNamespace } from '../lab/in-namespace.ts'
import { xenImage } from './host.ts'

/** For the image, two boots of which one is within the other, and what is done there. Milliseconds. */
const limitMs = 10 * 60_000
t.setTimeout(limitMs)
// So the runner is told, which would otherwise end this file at its own limit.
t.comment(`timeout=${limitMs}`)

void t.test('Xen hosts', async (t) => {
  const image = await xenImage(t)
  if (image === undefined) return
  process.env.TAILGATE_TEST_XEN = image.directory
  await runInNamespace(t, new URL('cases/host.ts', import.meta.url))
})
