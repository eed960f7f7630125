import { fileURLToPath } from 'node:url'
import t from 'tap'
import { TcpPlacesBook } from '../../src/attach/tcp-places.ts'
import { guestMark, TcpResumeAttach } from '../../src/attach/tcp-resume.ts'
import { outputOffset } from '../../src/core/ids.ts'
import { chooseSockets } from '../../src/net/choose-sockets.ts'
import { RstShield } from '../../src/net/rst-shield.ts'
import { inNamespace } from '../namespace.ts'
import { nextConnection } from './compliance.ts'
import { openPath } from './open-path.ts'
import { Recorder, write } from './recorder.ts'
import { guestAddress, RewoundGuest } from './rewound-guest.ts'

if (inNamespace(t, fileURLToPath(import.meta.url))) {
  const { sockets } = await chooseSockets()
  const shield = new RstShield({ name: 'test', mark: guestMark })

  void t.test('one connection', async (t) => {
    const guest = await RewoundGuest.start()
    t.teardown(() => guest.stop())
    const endpoint = await guest.listen()
    const book = new TcpPlacesBook()
    const settings = { sockets, connectMs: 3000, book, shielded: () => shield.armed }
    const first = new TcpResumeAttach(settings)
    const connection = nextConnection()
    const events = new Recorder()
    const { side, path } = await openPath(first, endpoint, connection, events)
    await guest.accepted(1)
    await guest.resume(0)
    side.resume()
    write(side, 'before ')
    t.equal(await guest.heard(0, 7), 'before ')
    await guest.write(0, 'answer ')
    await events.untilText('answer ')
    const image = await guest.dump(0)
    write(side, 'after')
    await guest.heard(0, 12)
    await guest.write(0, 'lost')
    await events.untilText('answer lost')
    await shield.arm([guestAddress[4]])
    await guest.vanish(0)
    first.close()
    const second = new TcpResumeAttach(settings)
    const at = await guest.restore(image)
    await guest.resume(at)
    const again = new Recorder()
    const answer = await second.attach(endpoint, connection, path, outputOffset(7), again)
    t.match(answer, { known: true, input: 7, output: 7, resumesAt: 7 })
    if (!answer.known) return
    answer.side.resume()
    write(answer.side, 'after')
    t.equal(await guest.heard(at, 5), 'after')
    await guest.write(at, 'LOST')
    await again.untilText('LOST')
    t.equal(again.text, 'LOST')
    second.close()
    await shield.disarm()
  })
}
