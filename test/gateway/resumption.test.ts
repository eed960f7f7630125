import { fileURLToPath } from 'node:url'
import t from 'tap'
import { outputOffset } from '../../src/core/ids.ts'
import { GuestPath } from '../../src/gateway/guest-path.ts'
import { Resumption } from '../../src/gateway/resumption.ts'
import { chooseSockets } from '../../src/net/choose-sockets.ts'
import { shieldTable } from '../../src/net/rst-shield.ts'
import { nextConnection } from '../attach/compliance.ts'
import { Recorder } from '../attach/recorder.ts'
import { RewoundGuest } from '../attach/rewound-guest.ts'
import { inNamespace, run } from '../namespace.ts'

if (inNamespace(t, fileURLToPath(import.meta.url))) {
  const { sockets } = await chooseSockets()
  const guest = await RewoundGuest.start()
  t.teardown(() => guest.stop())
  const endpoint = await guest.listen()
  const table = shieldTable('vm-1')
  const armed = (): boolean => run('nft', 'list', 'tables').includes(table)

  let logged: Uint8Array = new Uint8Array(0)

  await t.test('the cut shields the guest, the new generation joins it, the end unshields', async (t) => {
    const troubles: string[] = []
    const resumption = new Resumption({
      guest: 'vm-1', sockets, connectMs: 5000, trouble: (reason) => troubles.push(reason)
    })
    const path = new GuestPath({
      newAttach: () => resumption.newAttach(), resumption, fixedEndpoints: [endpoint],
      sources: ['gateway'], sourceFailed: ({ reason }) => troubles.push(reason),
      floor: () => undefined, resetTaken: () => undefined
    })
    path.openAt([])
    const connection = nextConnection()
    logged = await new Promise<Uint8Array>((resolve, reject) => {
      path.open(connection, 0, new Recorder(), (result) => {
        if (result.ok) resolve(result.path.path)
        else reject(new Error(result.reason))
      }, { clientAddress: '10.9.9.9:1' })
    })
    const at = await guest.nextAccepted()
    const image = await guest.dump(at)
    t.notOk(armed())
    await new Promise<void>((resolve) => path.drain(new Map(), resolve))
    t.ok(armed())
    await guest.vanish(at)
    path.openAt([])
    const again = await guest.restore(image)
    const answer = await new Promise((resolve) => {
      path.attach(connection, 0, logged, outputOffset(0), new Recorder(), resolve)
    })
    t.match(answer, { ok: true, answer: { known: true, input: 0, output: 0 } })
    await resumption.settled()
    t.notOk(armed())
    await guest.resume(again)
    await path.close()
    t.same(troubles, [])
  })

  await t.test('a failover that is given up while it is being shielded leaves no shield', async (t) => {
    const troubles: string[] = []
    const resumption = new Resumption({
      guest: 'vm-1', sockets, connectMs: 300, trouble: (reason) => troubles.push(reason)
    })
    for (const isBegun of [false, true]) {
      const cut = resumption.cut([endpoint])
      // By then nft is being run, which takes more than a turn.
      if (isBegun) await new Promise((resolve) => setImmediate(resolve))
      await Promise.all([resumption.settled(), cut])
      t.notOk(armed())
      const attach = resumption.newAttach()
      const asked = [endpoint, nextConnection(), logged, outputOffset(0), new Recorder()] as const
      await t.rejects(attach.attach(...asked), { code: 'E_ATTACH', message: /would reset it/ })
      attach.close()
    }
    t.same(troubles, [])
  })

  await t.test('a failover without a shield joins nothing, whatever the one before had', async (t) => {
    const troubles: string[] = []
    const resumption = new Resumption({
      guest: 'vm-1', sockets, connectMs: 300, trouble: (reason) => troubles.push(reason)
    })
    await resumption.cut([endpoint])
    await resumption.cut(['no such name.invalid:1'])
    t.equal(troubles.length, 1)
    const attach = resumption.newAttach()
    const asked = [endpoint, nextConnection(), logged, outputOffset(0), new Recorder()] as const
    await t.rejects(attach.attach(...asked), { code: 'E_ATTACH', message: /would reset it/ })
    attach.close()
    await resumption.settled()
    t.notOk(armed())
  })

  await t.test('where the shield cannot be put up, nothing is joined and the reason is told', async (t) => {
    const troubles: string[] = []
    const resumption = new Resumption({
      guest: 'vm-2', sockets, connectMs: 300, trouble: (reason) => troubles.push(reason)
    })
    await resumption.cut(['no such name.invalid:1'])
    t.equal(troubles.length, 1)
    const attach = resumption.newAttach()
    t.teardown(() => attach.close())
    const asked = [endpoint, nextConnection(), logged, outputOffset(0), new Recorder()] as const
    await t.rejects(attach.attach(...asked), { code: 'E_ATTACH' })
    await resumption.settled()
  })
}
