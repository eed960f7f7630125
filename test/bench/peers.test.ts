import { once } from 'node:events'
import { connect, createServer, type AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import type { Contender } from '../../bench/contender.ts'
import { contenders } from '../../bench/contenders.ts'
import { httpBody } from '../../bench/nginx.ts'
import { startServices } from '../../bench/services.ts'
import { requires } from '../requires.ts'

/** A service that hears its client out, and then says its name and what it heard. */
async function sayer(t: Test, name: string): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    let text = ''
    socket.setEncoding('utf8').on('error', () => undefined)
    socket.on('data', (piece: string) => { text += piece }).on('end', () => socket.end(`${name} ${text}`))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}

/** What comes back after a half-close, as at the end of a bulk transfer. */
async function heard(port: number): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  let text = ''
  socket.setEncoding('utf8').on('data', (piece: string) => { text += piece })
  socket.end('hello')
  await once(socket, 'end')
  return text
}

function missingSkips(t: Test, contender: Contender): boolean {
  if (contender.missing === undefined) return false
  if (process.env.CI === 'true') t.fail(contender.missing)
  else t.pass(contender.name, { skip: contender.missing })
  return true
}

for (const name of ['haproxy', 'haproxy 64K', 'nginx stream', 'sockets handles']) {
  void t.test(`${name} brings clients to the services in their order`, async (t) => {
    const contender = contenders().find((one) => one.name === name)
    if (contender === undefined) {
      t.fail('there is no such contender')
      return
    }
    if (missingSkips(t, contender)) return
    const running = await contender.start([await sayer(t, 'first'), await sayer(t, 'second')])
    try {
      t.equal(running.ports.length, 2)
      t.same(await Promise.all(running.ports.map(heard)), ['first hello', 'second hello'])
      t.ok(running.pid !== undefined && running.pid > 0)
    } finally {
      await running.stop()
    }
  })
}

void t.test('the HTTP service answers again and again on one connection', async (t) => {
  for (const program of ['redis-server', 'nginx']) if (requires(t, program) === undefined) return
  const services = await startServices()
  try {
    t.same(services.missing, [])
    const { http = 0 } = services.ports
    const socket = connect(http, '127.0.0.1')
    let text = ''
    socket.setEncoding('utf8').on('data', (piece: string) => { text += piece })
    const request = 'GET / HTTP/1.1\r\nHost: a\r\n'
    socket.write(`${request}\r\n${request}\r\n${request}Connection: close\r\n\r\n`)
    await once(socket, 'close')
    t.equal(text.split('HTTP/1.1 200 OK').length, 4)
    t.equal(text.split(httpBody).length, 4)
  } finally {
    await services.stop()
  }
})
