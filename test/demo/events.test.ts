import t from 'tap'
import { TailgateError } from '../../src/base/errors.ts'
import { Events } from '../../src/demo/events.ts'

const [event, what] = ['guest.protected', 'the guest is protected']

void t.test('the line that is waited for, of whom it is waited for', async (t) => {
  const events = new Events()
  const next = events.next('gateway', event, what)
  events.take('gateway', { event: 'guest.syncing', reason: '', todo: '' })
  events.take('host-a', { event, from: 'host-a' })
  events.take('gateway', { event, from: 'gateway' })
  t.same(await next, { event, from: 'gateway' })
})

const troubles = [
  ['gateway', { event: 'resume.impossible', missing: 'capture: the package pcap is not installed' },
    /^TCP connections .* would not be protected: capture: the package pcap is not installed$/],
  ['host-b', { event: 'process.failed', error: 'its port is taken' }, /^host-b failed: its port is taken$/],
  ['host-a', { event: 'guest.failed', reason: 'there is no QEMU' },
    /^the guest on host-a failed: there is no QEMU$/],
  ['gateway', { event: 'guest.lost', reason: 'it died' }, /^the guest is lost: it died$/]
] as const

for (const [from, line, message] of troubles) {
  void t.test(`${line.event} ends every wait at once`, async (t) => {
    const events = new Events()
    const fault = { code: 'E_ENGINE', message }
    const ended = Promise.all([
      t.rejects(events.next('gateway', event, what), fault),
      t.rejects(events.inTime('clients are answered', new Promise<void>(() => undefined), 60_000), fault)
    ])
    events.take(from, line)
    await ended
  })
}

void t.test('a process that ends by itself ends every wait', async (t) => {
  const events = new Events()
  const message = 'host-a ended with status 1 by itself'
  const ended = t.rejects(events.next('gateway', event, what), { message })
  events.fail(new TailgateError('E_ENGINE', message))
  await ended
})

void t.test('a wait has a limit, and its error what the gateway said last', async (t) => {
  const events = new Events(1)
  await t.rejects(events.next('gateway', event, what), {
    code: 'E_TIMEOUT',
    message: /^it took longer than 1 ms until the guest is protected; where this machine is busy, try again/
  })
  const said = { reason: 'no backup is linked', todo: 'Start the agent.' }
  events.take('gateway', { event: 'guest.unprotected', ...said })
  await t.rejects(events.next('gateway', event, what), {
    message: /protected; the gateway said last: no backup is linked\. Start the agent\.; where this machine/
  })
  const refused = Promise.reject(new Error('it is not'))
  await t.rejects(events.inTime('all is well', refused, 60_000), { message: 'it is not' })
})
