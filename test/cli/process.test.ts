import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import t, { type Test } from 'tap'
import { directoryWith } from './tailgate.ts'

const main = new URL('../../src/cli/main.ts', import.meta.url).pathname

/** A command in a process of its own; ended with the test. */
function tailgateProcess(t: Test, args: readonly string[], imports: readonly string[] = []): ChildProcess {
  const flags = ['tsx', ...imports].map((module) => `--import=${module}`)
  const child = spawn(process.execPath, [...flags, main, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(() => child.kill('SIGKILL'))
  return child
}

/** The fields of a log line that these tests look at. */
interface LogLine {
  readonly event: string
  readonly address?: string
}

/** The log of a process, as it comes. */
async function* logOf({ stderr }: ChildProcess): AsyncGenerator<LogLine> {
  if (stderr === null) return
  for await (const line of createInterface({ input: stderr })) yield JSON.parse(line) as LogLine
}

/** Reads on until `event` has come. */
async function logged(log: AsyncGenerator<LogLine>, event: string): Promise<LogLine> {
  for (let next = await log.next(); next.done !== true; next = await log.next()) {
    if (next.value.event === event) return next.value
  }
  throw new Error(`the log ended before ${event}`)
}

/** What a process says on its standard error until it has ended. */
async function lastWords(child: ChildProcess): Promise<string> {
  let text = ''
  child.stderr?.on('data', (piece: Buffer) => { text += piece.toString() })
  await once(child, 'close')
  return text
}

/** A gateway before a server that only listens, with one client whose connection stays open. */
async function gatewayWithClient(t: Test): Promise<{
  readonly child: ChildProcess, readonly log: AsyncGenerator<LogLine>
  readonly client: Socket, readonly socket: string
}> {
  const server = createServer((accepted) => accepted.on('error', () => accepted.destroy())).listen(0,
    '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const directory = directoryWith(t, { 'gw.yaml': `name: gw1
state_dir: .
timeouts: { drain: 5m }
guests:
  - name: web
    services: [{ name: http, listen: "127.0.0.1:0",
      to: "127.0.0.1:${(server.address() as AddressInfo).port}" }]
` })
  const child = tailgateProcess(t, ['gateway', '-c', join(directory, 'gw.yaml')])
  const log = logOf(child)
  const { address } = await logged(log, 'service.listening')
  await logged(log, 'admin.listening')
  const accepted = once(server, 'connection')
  const client = connect(Number(address?.split(':').at(-1)), '127.0.0.1')
  client.on('error', () => client.destroy())
  t.teardown(() => client.destroy())
  await accepted
  return { child, log, client, socket: join(directory, 'admin.sock') }
}

void t.test('a gateway runs until SIGTERM, lets connections finish, and leaves nothing', async (t) => {
  const { child, log, client, socket } = await gatewayWithClient(t)
  t.ok(existsSync(socket))
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  await logged(log, 'process.stopping')
  t.equal(child.exitCode, null, 'the client is still there')
  client.destroy()
  await logged(log, 'process.stopped')
  t.same(await exited, [0, null])
  t.notOk(existsSync(socket), 'the admin socket is gone')
})

void t.test('a second signal does not wait for connections', async (t) => {
  const { child, log } = await gatewayWithClient(t)
  const exited = once(child, 'exit')
  child.kill('SIGINT')
  await logged(log, 'process.stopping')
  child.kill('SIGTERM')
  t.same(await exited, [143, null])
})

void t.test('worker processes run from what their supervisor runs from', async (t) => {
  const directory = directoryWith(t, { 'gw.yaml': `name: gw1
state_dir: .
workers: 2
guests:
  - { name: web, services: [{ name: http, listen: "127.0.0.1:0", to: "127.0.0.1:9" }] }
  - { name: mail, services: [{ name: smtp, listen: "127.0.0.1:0", to: "127.0.0.1:9" }] }
` })
  const child = tailgateProcess(t, ['gateway', '-c', join(directory, 'gw.yaml')])
  const log = logOf(child)
  await logged(log, 'service.listening')
  await logged(log, 'service.listening')
  await logged(log, 'admin.listening')
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  await logged(log, 'process.stopped')
  t.same(await exited, [0, null])
})

void t.test('exit statuses reach the shell', async (t) => {
  for (const [args, status, error] of [
    [['version'], 0, /^$/], [['verison'], 2, /did you mean 'version'/],
    [['status', '--admin', '/nowhere'], 1, /^tailgate: E_ADMIN/]
  ] as const) {
    const child = tailgateProcess(t, args)
    const said = await lastWords(child)
    t.equal(child.exitCode, status)
    t.match(said, error)
  }
})

void t.test('a fault of the program ends it with status 70', async (t) => {
  const invariant = new URL('../../src/base/invariant.ts', import.meta.url).href
  const plant = `import { invariant } from '${invariant}'
    process.once('newListener', () => setImmediate(() => invariant(false, 'planted by a test')))`
  const child = tailgateProcess(t, ['help'], [`data:text/javascript,${encodeURIComponent(plant)}`])
  const said = await lastWords(child)
  t.equal(child.exitCode, 70)
  t.match(said, /tailgate: ended by a broken invariant, a fault of the program: .*planted by a test/)
})

void t.test('an agent runs until SIGTERM', async (t) => {
  const directory = directoryWith(t, { 'agent.yaml': `name: host-a
link: 127.0.0.1:0
data_dir: .
gateways: [gw1]
guests: [{ name: web, engine: none, endpoints: ["127.0.0.1:9"] }]
` })
  const child = tailgateProcess(t, ['agent', '-c', join(directory, 'agent.yaml')])
  const log = logOf(child)
  await logged(log, 'link.listening')
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  await logged(log, 'process.stopped')
  t.same(await exited, [0, null])
})

void t.test('a reader that has had enough ends a command quietly', async (t) => {
  const child = tailgateProcess(t, ['check', '--keys', 'gateway'])
  child.stdout?.destroy()
  t.equal(await lastWords(child), '')
  t.equal(child.exitCode, 1)
})
