import t from 'tap'
import { TcpAttach } from '../../src/attach/tcp.ts'
import { connectionId } from '../../src/core/ids.ts'
import type { StreamEvents } from '../../src/core/stream.ts'
import { chooseSockets } from '../../src/net/choose-sockets.ts'
import { NetSockets } from '../../src/net/net-sockets.ts'
import type { Dialing } from '../../src/net/sockets.ts'
import { closeAll, Door, eventually } from '../net/peer.ts'
import { openPath } from './open-path.ts'

const { sockets } = await chooseSockets()
const settings = { sockets, connectMs: 5000 }
const first = connectionId(1)

function recorder(): StreamEvents & { readonly told: string[] } {
  const told: string[] = []
  return {
    told,
    data: (bytes) => { told.push(Buffer.from(bytes).toString()) },
    end: () => { told.push('end') },
    reset: () => { told.push('reset') },
    drain: () => { told.push('drain') }
  }
}

/** Sockets whose dials nobody answers. */
class SilentSockets extends NetSockets {
  givenUp = 0

  override connect(): Dialing {
    return { cancel: () => { this.givenUp += 1 } }
  }
}

void t.test('a new connection: its path names both ends, and its events are the caller\'s', async (t) => {
  const door = await new Door().open(sockets)
  const attach = new TcpAttach(settings)
  const events = recorder()
  const { side, path } = await openPath(attach, door.listener.address, first, events)
  const guest = await door.peer(0)
  t.equal(Buffer.from(path).toString(), `${guest.side.remote} ${door.listener.address}`)
  guest.side.resume()
  side.resume()
  side.write(Buffer.from('ping'))
  await guest.until(() => guest.received === 4)
  guest.send('pong')
  guest.side.end()
  await eventually(() => events.told.length === 2, 'answer and end arrive')
  t.same(events.told, ['pong', 'end'])
  attach.acknowledge()
  attach.close()
  await guest.untilTold('reset')
  await closeAll()
})

void t.test('what cannot be joined', async (t) => {
  const door = await new Door().open(sockets)
  const { address } = door.listener
  await door.close()
  const attach = new TcpAttach(settings)
  const events = recorder()
  await t.rejects(openPath(attach, address, first, events), { code: 'E_ATTACH', message: /nothing listens/ })
  await t.rejects(openPath(attach, 'nowhere', first, events), { code: 'E_ATTACH', message: /host:port/ })
  await t.rejects(attach.attach(address, first), { code: 'E_ATTACH', message: /TCP resume/ })
})

void t.test('closing lets go of every open connection, and of one that is being made', async (t) => {
  const door = await new Door().open(sockets)
  const attach = new TcpAttach(settings)
  const events = recorder()
  const count = 150
  for (let n = 0; n < count; n++) {
    const { side } = await openPath(attach, door.listener.address, connectionId(n + 1), events)
    if (n % 3 === 0) side.reset()
  }
  const late = openPath(attach, door.listener.address, connectionId(count + 1), events)
  attach.close()
  await t.rejects(late, { code: 'E_ATTACH', message: /has been let go/ })
  const guests = await Promise.all(Array.from({ length: count }, (_, n) => door.peer(n)))
  for (const guest of guests) guest.side.resume()
  await Promise.all(guests.map((guest) => guest.untilTold('reset')))
  t.same(events.told, [], 'nobody on this side is told')
  await closeAll()
  await eventually(() => sockets.open === 0, 'every descriptor is closed')
})

void t.test('closing gives up the dials that nobody has answered, and none is begun after it', async (t) => {
  const silent = new SilentSockets()
  const attach = new TcpAttach({ ...settings, sockets: silent })
  const dials = [1, 2].map((n) => openPath(attach, '127.0.0.1:1', connectionId(n), recorder()))
  attach.close()
  t.equal(silent.givenUp, 2)
  dials.push(openPath(attach, '127.0.0.1:1', connectionId(3), recorder()))
  await Promise.all(dials.map((dial) => t.rejects(dial, { code: 'E_ATTACH', message: /has been let go/ })))
  t.equal(silent.givenUp, 2)
})
