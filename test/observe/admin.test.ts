import { mkdtempSync, existsSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { spawnSync } from 'node:child_process'
import t from 'tap'
import { TailgateError } from '../../src/base/errors.ts'
import type { AdminHandlers, FailoverRequest } from '../../src/observe/admin.ts'
import { adminBodyBytesMax, startAdminServer } from '../../src/observe/admin.ts'
import { askFailover, askPlan, askStatus } from '../../src/observe/admin-client.ts'
import type { GatewayStatus } from '../../src/observe/status.ts'
import { failover, gatewayStatus, plan } from './sample-status.ts'

const directory = mkdtempSync(join(tmpdir(), 'tailgate-admin-'))
t.teardown(() => rmSync(directory, { recursive: true }))

let sockets = 0
const newPath = () => join(directory, `admin-${++sockets}.sock`)

function handlersWith(asked: FailoverRequest[] = []): AdminHandlers {
  return {
    status: () => gatewayStatus,
    plan: guest => {
      if (guest === 'shop') return plan
      throw new TailgateError('E_ADMIN', `no guest is called ${guest}`, { context: { guest } })
    },
    failover: wanted => {
      asked.push(wanted)
      return Promise.resolve({ format: 1, guest: wanted.guest, generation: 4, failover })
    }
  }
}

async function withAdmin(handlers: AdminHandlers, fn: (path: string) => Promise<void>): Promise<void> {
  const server = await startAdminServer(newPath(), handlers)
  try {
    await fn(server.path)
  } finally {
    await server.close()
  }
}

/** A request as no client of ours would make it. */
function raw(
  path: string, method: string, target: string, body = ''
): Promise<{ status: number, body: string }> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath: path, method, path: target, agent: false }, response => {
      let text = ''
      response.setEncoding('utf8').on('data', (piece: string) => { text += piece })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }))
    })
    asked.on('error', reject)
    asked.end(body)
  })
}

void t.test('status, plan and failover arrive as they were given', async t => {
  const asked: FailoverRequest[] = []
  await withAdmin(handlersWith(asked), async path => {
    t.same(await askStatus(path), gatewayStatus)
    t.same(await askPlan(path, 'shop'), plan)
    t.match(await askFailover(path, { guest: 'shop', acceptLoss: true }, 5000), { generation: 4, failover })
    t.same(asked, [{ guest: 'shop', acceptLoss: true }])
  })
})

void t.test('an error arrives with its code, sentence and context', async t => {
  await withAdmin(handlersWith(), async path => {
    await t.rejects(askPlan(path, 'no such & guest'), {
      code: 'E_ADMIN', message: 'no guest is called no such & guest', context: { guest: 'no such & guest' }
    })
    const answer = await raw(path, 'GET', '/plan?guest=x')
    t.equal(answer.status, 409)
    t.match(JSON.parse(answer.body), { error: { code: 'E_ADMIN' } })
  })
})

void t.test('the socket is for owner and group, and is gone after the end', async t => {
  const path = newPath()
  const modeOfNewFile = (): number => {
    const file = newPath()
    writeFileSync(file, '')
    return statSync(file).mode
  }
  const before = modeOfNewFile()
  const server = await startAdminServer(path, handlersWith())
  t.equal(statSync(path).mode & 0o777, 0o660)
  t.equal(modeOfNewFile(), before, 'other files are made as before')
  await server.close()
  t.notOk(existsSync(path))
})

void t.test('a socket left over by a dead process is replaced', async t => {
  const path = newPath()
  const program = `require('net').createServer()
    .listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
  const dead = spawnSync(process.execPath, ['-e', program])
  t.equal(dead.signal, 'SIGKILL')
  t.ok(existsSync(path))
  const server = await startAdminServer(path, handlersWith())
  t.same(await askStatus(path), gatewayStatus)
  await server.close()
})

void t.test('a socket on which somebody answers is left alone, and so is what is no socket', async t => {
  await withAdmin(handlersWith(), async path => {
    await t.rejects(startAdminServer(path, handlersWith()), { code: 'E_ADMIN', message: /running already/ })
    t.same(await askStatus(path), gatewayStatus, 'the first one still answers')
  })
  const file = newPath()
  writeFileSync(file, 'precious')
  await t.rejects(startAdminServer(file, handlersWith()), { code: 'E_ADMIN', message: /not a socket/ })
  t.ok(existsSync(file))
  await t.rejects(startAdminServer(join(directory, 'none', 'a.sock'), handlersWith()),
    { code: 'E_ADMIN', message: /see that its directory/ })
})

void t.test('what is not a request of ours is E_USAGE', async t => {
  const asked: FailoverRequest[] = []
  await withAdmin(handlersWith(asked), async path => {
    const wrong: [string, string, string][] = [
      ['GET', '/', ''], ['POST', '/status', ''], ['GET', '/plan', ''], ['GET', '/plan?guest=', ''],
      ['POST', '/failover', ''], ['POST', '/failover', 'null'], ['POST', '/failover', '{"guest":"shop"}'],
      ['POST', '/failover', '{"guest":"shop","acceptLoss":"yes"}'],
      ['POST', '/failover', '{"guest":"shop","acceptLoss":false,"acceptloss":true}'],
      ['POST', '/failover', `{"guest":"${'x'.repeat(adminBodyBytesMax)}","acceptLoss":false}`]
    ]
    for (const [method, target, body] of wrong) {
      const answer = await raw(path, method, target, body)
      t.equal(answer.status, 400, `${method} ${target} ${body.slice(0, 60)}`)
      t.match(JSON.parse(answer.body), { error: { code: 'E_USAGE' } })
    }
    t.same(asked, [])
  })
})

void t.test('a client is told when nobody answers, or too late, or somebody else', async t => {
  await t.rejects(askStatus(newPath()), { code: 'E_ADMIN', message: /no gateway answers/ })
  const never: AdminHandlers = { ...handlersWith(), failover: () => new Promise(() => undefined) }
  await withAdmin(never, async path => {
    await t.rejects(askFailover(path, { guest: 'shop', acceptLoss: false }, 20), { code: 'E_TIMEOUT' })
  })
  const path = newPath()
  const other = createServer(socket => {
    socket.resume().end('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello')
  })
  await new Promise<void>(resolve => other.listen(path, resolve))
  await t.rejects(askStatus(path), { code: 'E_ADMIN', message: /is not a gateway/ })
  await new Promise(resolve => other.close(resolve))
})

void t.test('an answer in another format is E_VERSION', async t => {
  const status = () => ({ ...gatewayStatus, format: 2 }) as unknown as GatewayStatus
  const later = { ...handlersWith(), status }
  await withAdmin(later, async path => {
    await t.rejects(askStatus(path), { code: 'E_VERSION' })
  })
})
