import { once } from 'node:events'
import { createServer, connect, type AddressInfo, type Socket } from 'node:net'
import { X509Certificate } from 'node:crypto'
import t from 'tap'
import { TailgateError } from '../../src/base/errors.ts'
import { hostName } from '../../src/core/ids.ts'
import { connectLink, type DialOptions } from '../../src/link/dial.ts'
import { agreeVersion } from '../../src/link/greeting.ts'
import { LinkListener, type ListenOptions } from '../../src/link/listener.ts'
import { isLoopback } from '../../src/link/loopback.ts'
import type { TlsMaterial } from '../../src/link/tls-material.ts'
import { madeCertificates } from './certificates.ts'
import { frameOf, linkEnvelope } from './frames.ts'
import { End } from './peers.ts'

interface Refusal {
  readonly error: TailgateError
  readonly remote: string
}

interface Listening {
  readonly listener: LinkListener
  /** The first refusal. */
  readonly refusal: Promise<Refusal>
  /** Every link that was up. */
  readonly ups: readonly End[]
}

/** A listener `a1` that expects to refuse. */
async function listening(
  t: Tap, tls: TlsMaterial | undefined, options: Partial<ListenOptions> = {}
): Promise<Listening> {
  const ups: End[] = []
  let refuse: (refusal: Refusal) => void = () => undefined
  const refusal = new Promise<Refusal>(resolve => { refuse = resolve })
  const listener = await LinkListener.listen({
    self: { name: hostName('a1'), role: 'agent', tls },
    host: '127.0.0.1',
    port: 0,
    up(link) {
      const end = new End()
      end.link = link
      ups.push(end)
      return end
    },
    refused: (error, remote) => refuse({ error, remote }),
    ...options
  })
  t.teardown(() => listener.close())
  return { listener, refusal, ups }
}

type Tap = Pick<typeof t, 'teardown'>

function dialing(
  port: number, tls: TlsMaterial | undefined, options: Partial<DialOptions> = {}
): Promise<unknown> {
  return connectLink({
    self: { name: hostName('gw'), role: 'gateway', tls },
    expected: hostName('a1'),
    host: '127.0.0.1',
    port,
    ...options
  }, () => new End())
}

const dayMs = 24 * 60 * 60 * 1000

void t.test('loopback addresses', t => {
  for (const address of ['127.0.0.1', '127.8.9.10', '::1', '::ffff:127.0.0.1', '::FFFF:127.0.0.1']) {
    t.equal(isLoopback(address), true, address)
  }
  const others = ['', '0.0.0.0', '::', '10.0.0.1', '128.0.0.1', 'fe80::1', '::ffff:10.0.0.1', 'localhost']
  for (const address of others) {
    t.equal(isLoopback(address), false, address)
  }
  t.end()
})

void t.test('a plain link stays on the machine', async t => {
  const refused = { code: 'E_CONFIG', message: /tailgate certs/ }
  for (const host of ['0.0.0.0', '', '192.0.2.1', '::']) {
    await t.rejects(listening(t, undefined, { host }), refused, `on ${host}`)
  }
  for (const host of ['192.0.2.1', '2001:db8::1', '0.0.0.0']) {
    await t.rejects(dialing(1, undefined, { host }), refused, `to ${host}`)
  }
  const { listener, ups } = await listening(t, undefined, { host: 'localhost' })
  await dialing(listener.port, undefined, { host: 'localhost' })
  t.equal(ups[0]?.up.peer.name, 'gw')
})

void t.test('a plain listener is told who dials', async t => {
  const { listener, refusal } = await listening(t, undefined, {
    admit: peer => peer.name === 'gw' ? 'it is not among the gateways of the configuration' : undefined
  })
  const message = /gateway gw is not admitted: it is not among the gateways/
  await t.rejects(dialing(listener.port, undefined), { code: 'E_AUTH', message })
  const { error, remote } = await refusal
  t.match(error, { code: 'E_AUTH', message })
  t.match(remote, /^127\.0\.0\.1:\d+$/)
})

void t.test('another name than expected', async t => {
  const { listener, ups } = await listening(t, undefined)
  await t.rejects(dialing(listener.port, undefined, { expected: hostName('a2') }), {
    code: 'E_AUTH', message: /the other side is a1, and a2 should be there/
  })
  t.match(await ups[0]?.ended, { code: 'E_AUTH', message: /refused the link: the other side is a1/ })
})

void t.test('certificates decide over TLS', async t => {
  const dir = t.testdir({ ours: {}, theirs: {} })
  const ours = await madeCertificates(`${dir}/ours`, ['gw', 'a1', 'a2'])
  const theirs = await madeCertificates(`${dir}/theirs`, ['gw', 'a1'])

  await t.test('the other side has the name', async t => {
    const { listener, ups } = await listening(t, ours.a1)
    await dialing(listener.port, ours.gw)
    t.strictSame(ups[0]?.up.peer, { name: 'gw', role: 'gateway' })
  })
  await t.test('the dialed one has another name', async t => {
    const self = { name: hostName('a2'), role: 'agent', tls: ours.a2 } as const
    const { listener } = await listening(t, ours.a2, { self })
    await t.rejects(dialing(listener.port, ours.gw), {
      code: 'E_AUTH', message: /is for CN=a2 .*a1 should be there/
    })
  })
  await t.test('the one who dials has a certificate of another CA', async t => {
    const { listener, refusal, ups } = await listening(t, ours.a1)
    const mixed: TlsMaterial = { ...theirs.gw, ca: ours.gw.ca }
    await t.rejects(dialing(listener.port, mixed), TailgateError)
    const { error, remote } = await refusal
    t.match(error, { code: 'E_AUTH', message: /its certificate was not accepted: / })
    t.match(remote, /^127\.0\.0\.1:\d+$/)
    t.equal(ups.length, 0)
  })
  await t.test('the one who is dialed has a certificate of another CA', async t => {
    const { listener, refusal } = await listening(t, { ...theirs.a1, ca: ours.a1.ca })
    await t.rejects(dialing(listener.port, ours.gw), {
      code: 'E_AUTH', message: /TLS with the other side failed/
    })
    t.match((await refusal).error, { code: 'E_AUTH' })
  })
  await t.test('the one who dials lies about its name', async t => {
    const { listener, refusal, ups } = await listening(t, ours.a1)
    const gwInDisguise: TlsMaterial = { ...ours.a2, certificate: ours.gw.certificate }
    const message = /says it is gw, and its certificate is for CN=a2/
    await t.rejects(dialing(listener.port, gwInDisguise), { code: 'E_AUTH', message })
    t.match((await refusal).error, { code: 'E_AUTH', message })
    t.equal(ups.length, 0)
  })
  await t.test('our own certificate is for another name', async t => {
    await t.rejects(dialing(1, ours.a2), { code: 'E_CONFIG', message: /a2\.crt is for CN=a2 .* called gw/ })
    await t.rejects(listening(t, ours.gw), { code: 'E_CONFIG', message: /gw\.crt is for CN=gw/ })
  })
  await t.test('one side speaks TLS and the other does not', async t => {
    const plain = await listening(t, undefined)
    await t.rejects(dialing(plain.listener.port, ours.gw), { code: 'E_AUTH' })
    t.match((await plain.refusal).error, { code: 'E_FRAME', message: /looks like TLS/ })
    const secure = await listening(t, ours.a1)
    await t.rejects(dialing(secure.listener.port, undefined), TailgateError)
    t.match((await secure.refusal).error, { code: 'E_AUTH', message: /TLS with the other side failed/ })
  })
})

void t.test('a certificate that ran out is refused, whoever has it', async t => {
  const longAgo = new Date(Date.now() - 20 * dayMs)
  const dir = t.testdir({})
  await madeCertificates(dir, ['gw'], { now: longAgo, days: 3650 })
  const old = await madeCertificates(dir, ['gw', 'a1'], { now: longAgo, days: 10 })
  const dialed = await listening(t, old.a1)
  const fresh = await madeCertificates(dir, ['gw', 'a1'])
  t.ok(Date.parse(new X509Certificate(old.gw.cert).validTo) < Date.now())
  await t.rejects(dialing(dialed.listener.port, fresh.gw), { code: 'E_AUTH', message: /CERT_HAS_EXPIRED/ })
  const dials = await listening(t, fresh.a1)
  await t.rejects(dialing(dials.listener.port, old.gw), TailgateError)
  t.match((await dials.refusal).error, { code: 'E_AUTH', message: /CERT_HAS_EXPIRED/ })
})

void t.test('versions', async t => {
  t.equal(agreeVersion({ versionMin: 1, versionMax: 3 }, { versionMin: 2, versionMax: 5 }), 3)
  t.equal(agreeVersion({ versionMin: 2, versionMax: 2 }, { versionMin: 1, versionMax: 5 }), 2)
  t.throws(() => agreeVersion({ versionMin: 1, versionMax: 2 }, { versionMin: 3, versionMax: 5 }), {
    code: 'E_VERSION', message: /versions 1 to 2 .* 3 to 5/
  })
  const { listener, refusal } = await listening(t, undefined)
  const socket = connect(listener.port, '127.0.0.1')
  socket.write(frameOf({
    envelope: linkEnvelope,
    message: { type: 'hello', versionMin: 7, versionMax: 9, role: 'gateway', name: 'gw' }
  }))
  const answer = await wholeOf(socket)
  t.match((await refusal).error, { code: 'E_VERSION', message: /versions 2 to 2 .* 7 to 9/ })
  t.match(answer.toString('latin1'), /versions 2 to 2 .* 7 to 9/, 'the other side is told, too')
})

void t.test('something else listens, or dials', async t => {
  const server = createServer(socket => { socket.end('220 mail.example ESMTP at your service\r\n') })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  await t.rejects(dialing(port, undefined), { code: 'E_FRAME', message: /no frame of ours/ })
  const { listener, refusal } = await listening(t, undefined)
  connect(listener.port, '127.0.0.1').on('error', () => undefined).end(Buffer.alloc(100))
  t.match((await refusal).error, { code: 'E_FRAME' })
})

void t.test('nobody listens, or nobody says anything', async t => {
  const sockets = new Set<Socket>()
  const server = createServer(socket => { sockets.add(socket) })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await t.rejects(dialing(port, undefined, { limits: { handshakeMs: 20 } }), {
    code: 'E_TIMEOUT', message: /a1 at 127\.0\.0\.1:\d+: the other side did not say who it is within 20 ms/
  })
  const abort = new AbortController()
  const abandoned = dialing(port, undefined, { signal: abort.signal })
  abort.abort()
  await t.rejects(abandoned, { code: 'E_LINK_LOST', message: /given up/ })
  for (const socket of sockets) socket.destroy()
  server.close()
  await once(server, 'close')
  await t.rejects(dialing(port, undefined), { code: 'E_LINK_LOST', message: /ECONNREFUSED/ })
  await t.rejects(dialing(1, undefined, { host: 'no-such-host.invalid' }), { code: 'E_LINK_LOST' })
})

void t.test('an address that is taken', async t => {
  const { listener } = await listening(t, undefined)
  const again = listening(t, undefined, { port: listener.port })
  await t.rejects(again, { code: 'E_LISTEN', message: /EADDRINUSE/ })
})

void t.test('a listener has room for so many', async t => {
  const { listener, refusal } = await listening(t, undefined, { limits: { linksMax: 1 } })
  await dialing(listener.port, undefined)
  await t.rejects(dialing(listener.port, undefined), { code: 'E_LINK_LOST' })
  t.match((await refusal).error, { message: /there are 1 links already/ })
  t.equal(listener.links, 1)
})

async function wholeOf(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  await once(socket, 'close')
  return Buffer.concat(chunks)
}

for (const kind of ['plain', 'TLS'] as const) {
  void t.test(`a listener that is shut cuts off who comes, and says nothing (${kind})`, async t => {
    const { gw, a1 } = kind === 'TLS' ? await madeCertificates(t.testdir({}), ['gw', 'a1'])
      : { gw: undefined, a1: undefined }
    const refused: TailgateError[] = []
    const { listener, ups } = await listening(t, a1, {
      shut: true, refused: error => { refused.push(error) }
    })
    await t.rejects(dialing(listener.port, gw), { code: 'E_LINK_LOST' })
    t.equal(ups.length, 0)
    listener.open()
    await dialing(listener.port, gw)
    t.equal(ups.length, 1)
    t.same(refused, [])
  })
}
