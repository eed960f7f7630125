import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { Process } from '../../failover/process.ts'
import { requires } from '../../requires.ts'
import { addressOf, type NetworkLab } from '../network-lab.ts'
import { families, guest, guestPort, redirect, redirectedLab, up } from '../redirected-lab.ts'
import { LineClient, startEcho } from '../stations.ts'

// Services with source `client`: the guest, which is host-a, sees the addresses of its clients. The gateway
// is the real one, the rules are those of deploy/redirect.sh.

const cli = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url))
const otherPort = 6380

const file = `name: gateway
state_dir: state
guests:
  - name: guest
    services:
      - { name: four, listen: "0.0.0.0:7004", to: "${guest(4)}:${guestPort}", source: client }
      - { name: six, listen: "[::]:7006", to: "[${guest(6)}]:${guestPort}", source: client }
      - { name: other, listen: "*:7014", to: "${guest(4)}:${otherPort}", source: client }
`

/** The real gateway on its machine, with `words` before its command. */
async function startGateway(t: Test, on: NetworkLab, ...words: readonly string[]): Promise<Process> {
  const directory = await mkdtemp(join(tmpdir(), 'tg-source-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  await writeFile(join(directory, 'gateway.yaml'), file)
  const through = [...on.machine('gateway').enter, ...words]
  return new Process('gateway', [cli, 'gateway', '-c', join(directory, 'gateway.yaml')], directory, through)
}

async function startGuest(on: NetworkLab): Promise<void> {
  for (const family of families) {
    await startEcho(on.machine('host-a'), guest(family), guestPort, 'peer-echo.ts')
  }
  await startEcho(on.machine('host-a'), guest(4), otherPort, 'peer-echo.ts')
}

async function answers(t: Test, client: LineClient): Promise<void> {
  t.equal(await client.line(), client.name, 'the guest sees its client')
  client.say('hello')
  t.equal(await client.line(), 'hello')
}

/** What becomes of a client that is not served. */
function failureOf(host: string, port: number, localPort: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, localPort })
    socket.once('data', () => resolve('it was served'))
    socket.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code))
  })
}

const ways = [
  { sockets: 'handles', backend: 'nft', rules: ['--mode', 'tproxy'] },
  { sockets: 'net', backend: 'nft', rules: ['--mode', 'tproxy'] },
  { sockets: 'handles', backend: 'nft', rules: ['--mode', 'redirect', '--source', 'client'] },
  { sockets: 'handles', backend: 'iptables', rules: ['--mode', 'tproxy'] },
  { sockets: 'net', backend: 'iptables', rules: ['--mode', 'redirect', '--source', 'client'] }
] as const

for (const { sockets, backend, rules } of ways) {
  void t.test(`the guest sees its clients: ${rules.join(' ')}, ${backend}, sockets ${sockets}`, async (t) => {
    if (requires(t, backend) === undefined) return
    const made = await redirectedLab(t)
    await startGuest(made)
    const gateway = await startGateway(t, made, 'env', `TAILGATE_SOCKETS=${sockets}`)
    await gateway.log.until('service.listening', { matches: ({ service }) => service === 'other' })
    redirect(made, ...up, '--service', `${guest(4)}:${otherPort}=7014`, ...rules, '--backend', backend)
    for (const family of families) {
      await answers(t, await LineClient.open(t, guest(family), guestPort))
      const own = addressOf('gateway', 'service', family)
      await answers(t, await LineClient.open(t, own, 7000 + family))
    }
    const first = await LineClient.open(t, guest(4), guestPort, 40_001)
    const second = await LineClient.open(t, guest(4), otherPort, 40_001)
    for (const client of [first, second]) await answers(t, client)
    t.equal(first.name, second.name, 'one port of a client for two services')
    t.same(gateway.log.all('source.failed'), [])
  })
}

void t.test('a client whose port is taken on the gateway is reset, and the log says why', async (t) => {
  const made = await redirectedLab(t)
  await startGuest(made)
  const gateway = await startGateway(t, made)
  await gateway.log.until('service.listening', { matches: ({ service }) => service === 'other' })
  redirect(made, ...up, '--mode', 'tproxy')
  await startEcho(made.machine('gateway'), '0.0.0.0', 40_002)
  t.equal(await failureOf(guest(4), guestPort, 40_002), 'ECONNRESET')
  const name = `${addressOf('clients', 'service')}:40002`
  t.match(await gateway.log.until('source.failed'), {
    guest: 'guest', service: 'four', client: name,
    reason: /from 10\.77\.1\.100:40002: a socket of this machine has/
  })
  t.match(await gateway.log.until('connection.end'), { client: name, end: 'SC' })
  await answers(t, await LineClient.open(t, guest(4), guestPort))
})

void t.test('without the right to, the gateway does not start, and says what is missing', async (t) => {
  const made = await redirectedLab(t)
  const gateway = await startGateway(t, made, 'setpriv', '--bounding-set', '-all')
  await gateway.exited
  t.match(gateway.log.words,
    /E_LISTEN: cannot listen on 0\.0\.0\.0:7004 .*source 'client'.*IP_TRANSPARENT .*EPERM .*cap_net_admin/)
  t.not(gateway.exitCode, 0)
})
