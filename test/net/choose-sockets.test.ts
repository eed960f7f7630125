import t from 'tap'
import { chooseSockets } from '../../src/net/choose-sockets.ts'
import { loadTcpBinding } from '../../src/net/tcp-binding.ts'
import { dialError, listenError } from '../../src/net/socket-errors.ts'

void t.test('what was asked for', async (t) => {
  const { sockets, reason } = await chooseSockets('net')
  t.equal(sockets.name, 'net')
  t.match(reason, /TAILGATE_SOCKETS/)
  await t.rejects(chooseSockets('pigeons'), { code: 'E_CONFIG', message: /it may be handles or net/ })
})

void t.test('handles where they work', async (t) => {
  const { sockets, reason } = await chooseSockets('')
  t.equal(sockets.name, loadTcpBinding() === undefined ? 'net' : 'handles')
  t.match(reason, sockets.name === 'net' ? /do not work on Node/ : /a trial exchange over loopback worked/)
  t.ok(sockets.open <= 2, 'the trial is over')
})

void t.test('net.Socket where they do not', async (t) => {
  const whole = process as unknown as { binding: unknown }
  const { binding } = whole
  t.teardown(() => { whole.binding = binding })
  for (const broken of [undefined, () => ({}), () => { throw new Error('no such module') }]) {
    whole.binding = broken
    t.equal(loadTcpBinding(), undefined)
    const { sockets, reason } = await chooseSockets('')
    t.equal(sockets.name, 'net')
    t.match(reason, /this Node does not have them/)
    await t.rejects(chooseSockets('handles'), { code: 'E_CONFIG' })
  }
})

void t.test('errors say what to do', (t) => {
  t.match(listenError('0.0.0.0:80', 'EACCES').message, /below 1024 need CAP_NET_BIND_SERVICE/)
  t.match(listenError('0.0.0.0:80', 'EADDRINUSE').message, /ss -ltnp/)
  t.match(dialError('10.0.0.1:80', 'ECONNREFUSED').message, /is the service running/)
  t.equal(dialError('10.0.0.1:80', 'EWHATEVER').message, 'cannot connect to 10.0.0.1:80: EWHATEVER')
  t.end()
})
