import t from 'tap'
import { TcpPlacesBook } from '../../src/attach/tcp-places.ts'
import { TcpResumeAttach } from '../../src/attach/tcp-resume.ts'
import { connectionId } from '../../src/core/ids.ts'
import type { OpenResult } from '../../src/core/gateway/port.ts'
import type { TailgateError } from '../../src/base/errors.ts'
import { GuestPath, type SourceFailure } from '../../src/gateway/guest-path.ts'
import { dialError, dialTimeout } from '../../src/net/socket-errors.ts'
import { NetSockets } from '../../src/net/net-sockets.ts'
import type { DialEvents, Dialing } from '../../src/net/sockets.ts'
import { Recorder } from '../attach/recorder.ts'

const client = '192.0.2.7:40001'
const guest = '10.0.0.7:6379'

/** Sockets whose dials all fail with `error`, if one is given. */
class FailingSockets extends NetSockets {
  readonly #error: TailgateError | undefined

  constructor(error: TailgateError | undefined) {
    super()
    this.#error = error
  }

  override connect(...[target, options, events]: Parameters<NetSockets['connect']>): Dialing {
    const error = this.#error
    if (error === undefined) return super.connect(target, options, events)
    const later = setImmediate((told: DialEvents) => told.failed(error), events)
    return { cancel: () => clearImmediate(later) }
  }
}

/** What comes of opening a connection of source `client`, and what is told of its address. */
async function opened(
  clientAddress: string, error?: TailgateError
): Promise<{ readonly result: OpenResult, readonly failures: readonly SourceFailure[] }> {
  const failures: SourceFailure[] = []
  const settings = { connectMs: 5000, book: new TcpPlacesBook(), shielded: () => false }
  const path = new GuestPath({
    newAttach: () => new TcpResumeAttach({ ...settings, sockets: new FailingSockets(error) }),
    fixedEndpoints: [guest], sources: ['client'], sourceFailed: failure => failures.push(failure),
    floor: () => undefined, resetTaken: () => undefined
  })
  path.openAt([])
  const result = await new Promise<OpenResult>(resolve => {
    path.open(connectionId(1), 0, new Recorder(), resolve, { clientAddress })
  })
  await path.close()
  return { result, failures }
}

void t.test('an address that this machine refuses ends the connection at once', async t => {
  for (const code of ['EADDRINUSE', 'EADDRNOTAVAIL', 'EPERM', 'EINVAL']) {
    const { result, failures } = await opened(client, dialError(guest, code))
    t.match(result, { ok: false, refused: true }, code)
    const reason = `${guest} cannot be connected to from ${client}`
    t.match(failures, [{ connection: 1, service: 0, client, reason }])
  }
})

void t.test('no answer is told of, and may be the death of the host', async t => {
  const { result, failures } = await opened(client, dialTimeout(guest, 5000))
  t.match(result, { ok: false, refused: false })
  t.match(failures, [{ client, reason: /the guest's way to its clients/ }])
})

void t.test('what the guest itself says has nothing to do with the address', async t => {
  const { result, failures } = await opened(client, dialError(guest, 'ECONNREFUSED'))
  t.match(result, { ok: false, refused: false, reason: /is the service running/ })
  t.same(failures, [])
})

void t.test('a client of the other family than the guest', async t => {
  const { result, failures } = await opened('[2001:db8::7]:40001')
  t.match(result, { ok: false, refused: true, reason: /one is of IPv4, the other of IPv6/ })
  t.match(failures, [{ client: '[2001:db8::7]:40001' }])
})

void t.test('a client that was gone before it was accepted', async t => {
  const { result, failures } = await opened(':0')
  t.match(result, { ok: false, refused: true, reason: 'its client has no address' })
  t.same(failures, [])
})
