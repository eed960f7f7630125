import { join } from 'node:path'
import t, { type Test } from 'tap'
import { TailgateError } from '../../src/base/errors.ts'
import { startAdminServer, type AdminHandlers, type FailoverRequest } from '../../src/observe/admin.ts'
import { renderPlan, renderStatus } from '../../src/observe/status-text.ts'
import type { FailoverPlan } from '../../src/observe/status.ts'
import { failover, gatewayStatus, plan } from '../observe/sample-status.ts'
import { directoryWith, tailgate } from './tailgate.ts'

/** An admin socket that answers with the samples, and the file of its gateway. */
async function withGateway(
  t: Test, handlers: Partial<AdminHandlers>
): Promise<{ readonly socket: string, readonly file: string }> {
  const directory = directoryWith(t, { 'gw.yaml': 'name: gw1\nstate_dir: .\nadmin: ./a\n'
    + 'guests: [{ name: shop, services: [{ name: w, listen: "*:80", to: "a:81" }] }]\n' })
  const server = await startAdminServer(join(directory, 'a'), {
    status: () => gatewayStatus,
    plan: () => plan,
    failover: async ({ guest }) => Promise.resolve({ format: 1, guest, generation: 4, failover }),
    ...handlers
  })
  t.teardown(() => server.close())
  return { socket: server.path, file: join(directory, 'gw.yaml') }
}

void t.test('status finds the gateway by its file or its socket', async (t) => {
  const { socket, file } = await withGateway(t, {})
  const text = { status: 0, out: renderStatus(gatewayStatus), error: '' }
  t.same(await tailgate('status', '--admin', socket), text)
  t.same(await tailgate('status', '-c', file), text)
  const json = await tailgate('status', '-c', file, '--json')
  t.equal(json.out.indexOf('\n'), json.out.length - 1, 'one line')
  t.same(JSON.parse(json.out), gatewayStatus)
})

void t.test('a gateway that does not run', async (t) => {
  const socket = join(directoryWith(t, {}), 'nobody.sock')
  for (const args of [['status'], ['failover', 'shop'], ['failover', 'shop', '--plan']]) {
    const { status, out, error } = await tailgate(...args, '--admin', socket)
    t.equal(status, 1)
    t.equal(out, '')
    t.match(error, /^tailgate: E_ADMIN: no gateway [^\n]+\n$/)
  }
})

void t.test('failover asks for what was said, and shows what was done', async (t) => {
  const asked: FailoverRequest[] = []
  const { socket } = await withGateway(t, {
    failover: async (request) => {
      asked.push(request)
      return Promise.resolve({ format: 1, guest: request.guest, generation: 4, failover })
    }
  })
  const done = await tailgate('failover', 'shop', '--admin', socket)
  t.match(done, { status: 0, error: '', out: /^shop: generation 4, .*host-b → host-a/ })
  const json = await tailgate('failover', 'web', '--accept-loss', '--json', '--admin', socket)
  t.match(JSON.parse(json.out), { guest: 'web', generation: 4 })
  t.same(asked, [{ guest: 'shop', acceptLoss: false }, { guest: 'web', acceptLoss: true }])
})

void t.test('a plan does nothing, and its status says whether it could be done', async (t) => {
  let answer: FailoverPlan = plan
  const { socket } = await withGateway(t, {
    plan: () => answer,
    failover: async () => Promise.reject(new TailgateError('E_ADMIN', 'a plan must not come here'))
  })
  const run = async (...more: string[]) => tailgate('failover', 'shop', '--plan', '--admin', socket, ...more)
  t.same(await run(), { status: 0, out: renderPlan(plan), error: '' })
  t.same(JSON.parse((await run('--json')).out), plan)
  answer = { ...plan, blockers: [{ kind: 'wait', text: 'The lease runs.', waitMs: 500 }] }
  t.equal((await run()).status, 0, 'time alone does not stand in the way')
  answer = { ...plan, blockers: [{ kind: 'loss', text: 'No checkpoint counts.', waitMs: null }] }
  t.equal((await run()).status, 1)
})

void t.test('what the gateway refuses is told in its words', async (t) => {
  const { socket } = await withGateway(t, {
    failover: async () => Promise.reject(new TailgateError('E_ADMIN', 'no guest is called shop'))
  })
  t.same(await tailgate('failover', 'shop', '--admin', socket),
    { status: 1, out: '', error: 'tailgate: E_ADMIN: no guest is called shop\n' })
})
