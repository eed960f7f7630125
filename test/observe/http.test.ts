import { request } from 'node:http'
import { connect } from 'node:net'
import t from 'tap'
import { startMetricsServer } from '../../src/observe/http.ts'
import type { Health } from '../../src/observe/http.ts'
import { MetricRegistry } from '../../src/observe/metric-registry.ts'

interface Answer {
  readonly status: number
  readonly body: string
  readonly type: string | undefined
}

function ask(
  port: number, path: string, method = 'GET', headers: Record<string, string> = {}
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, path, method, headers, agent: false }, response => {
      let body = ''
      response.setEncoding('utf8').on('data', (piece: string) => { body += piece })
      response.on('end', () => resolve({
        status: response.statusCode ?? 0, body, type: response.headers['content-type']
      }))
    })
    asked.on('error', reject)
    asked.end()
  })
}

async function withServer(
  fn: (port: number, registry: MetricRegistry, health: { ready: Health }) => Promise<void>
): Promise<void> {
  const registry = new MetricRegistry()
  const health = { ready: { ok: true, text: 'ready' } }
  const server = await startMetricsServer({ host: '127.0.0.1', port: 0 }, {
    registry, live: () => ({ ok: true, text: 'alive' }), ready: () => health.ready
  })
  try {
    await fn(server.port, registry, health)
  } finally {
    await server.close()
  }
}

void t.test('/metrics is the registry as text 0.0.4', async t => {
  await withServer(async (port, registry) => {
    registry.counter({ name: 'tailgate_x_total', help: 'X' }).with({}).value = 7
    const answer = await ask(port, '/metrics?x=1')
    t.equal(answer.status, 200)
    t.equal(answer.type, 'text/plain; version=0.0.4; charset=utf-8')
    t.equal(answer.body, registry.expose())
    t.match(await ask(port, '/metrics', 'HEAD'), { status: 200, body: '' })
  })
})

void t.test('/livez and /readyz say yes or no and why', async t => {
  await withServer(async (port, _registry, health) => {
    t.match(await ask(port, '/livez'), { status: 200, body: 'alive\n' })
    t.match(await ask(port, '/readyz'), { status: 200, body: 'ready\n' })
    health.ready = { ok: false, text: 'draining' }
    t.match(await ask(port, '/readyz'), { status: 503, body: 'draining\n' })
  })
})

void t.test('anything else is refused clearly', async t => {
  await withServer(async port => {
    t.match(await ask(port, '/'), { status: 404, body: /\/metrics/ })
    t.match(await ask(port, '/metrics', 'POST'), { status: 405 })
    t.match(await ask(port, '/metrics', 'GET', { 'x-long': 'x'.repeat(20_000) }), { status: 431 })
  })
})

void t.test('an address that is taken is E_LISTEN with what to do', async t => {
  await withServer(async (port, registry) => {
    const again = startMetricsServer({ host: '127.0.0.1', port }, {
      registry, live: () => ({ ok: true, text: '' }), ready: () => ({ ok: true, text: '' })
    })
    await t.rejects(again, { code: 'E_LISTEN', message: /choose another metrics address/ })
  })
})

void t.test('closing ends connections that are idle or half a request', async t => {
  const registry = new MetricRegistry()
  const yes = () => ({ ok: true, text: 'yes' })
  const server = await startMetricsServer({ host: '127.0.0.1', port: 0 }, { registry, live: yes, ready: yes })
  t.equal(server.address, `127.0.0.1:${server.port}`)
  const socket = connect(server.port, '127.0.0.1')
  await new Promise(resolve => socket.once('connect', resolve))
  socket.write('GET /metrics HT')
  const gone = new Promise(resolve => socket.once('close', resolve))
  socket.on('error', () => undefined)
  await ask(server.port, '/livez')
  await server.close()
  await gone
})
