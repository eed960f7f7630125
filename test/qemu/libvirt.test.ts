import t from 'tap'
import { requires } from '../requires.ts'
import { runInNamespace } from '../lab/in-namespace.ts'
import { qemuHost } from './guest.ts'

void t.test('a virtual machine that libvirt has started', async (t) => {
  for (const program of ['libvirtd', 'virsh']) {
    if (requires(t, program) === undefined) return
  }
  const host = await qemuHost(t)
  if (host === undefined) return
  process.env.TAILGATE_TEST_IMAGE = host.image
  await runInNamespace(t, new URL('cases/libvirt.ts', import.meta.url))
})
