import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { certs } from '../../src/cli/certs.ts'
import { freePorts } from '../../src/demo/ports.ts'
import { askFailover, askStatus } from '../../src/observe/admin-client.ts'
import { Client } from './client.ts'
import { Process } from './process.ts'

const cli = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

const tls = (name: string): string => `{ ca: certs/ca.crt, cert: certs/${name}.crt, key: certs/${name}.key }`

function agentFile(letter: string, port: number): string {
  return `name: host-${letter}
link: 127.0.0.1:${port}
data_dir: host-${letter}
tls: ${tls(`host-${letter}`)}
gateways: [gateway]
peers: [host-${letter === 'a' ? 'b' : 'a'}]
guests:
  - { name: demo, engine: embedded, listen: [127.0.0.1:0] }
`
}

function gatewayFile(service: number, a: number, b: number): string {
  return `name: gateway
state_dir: gateway
tls: ${tls('gateway')}
guests:
  - name: demo
    attach: embedded
    hosts: [{ name: host-a, link: 127.0.0.1:${a} }, { name: host-b, link: 127.0.0.1:${b} }]
    services: [{ name: redis, listen: 127.0.0.1:${service} }]
`
}

void t.test('links, checkpoints and a failover go through TLS with certificates of our own', async t => {
  const directory = await mkdtemp(join(tmpdir(), 'tg-tls-'))
  const processes: Process[] = []
  t.teardown(async () => {
    await Promise.all(processes.map(process => process.kill()))
    await rm(directory, { recursive: true, force: true })
  })
  const names = ['gateway', 'host-a', 'host-b', 'stranger']
  await certs({ out: join(directory, 'certs'), names, print: () => undefined })
  const [service = 0, a = 0, b = 0] = await freePorts(3)
  const start = async (name: string, verb: string, file: string): Promise<Process> => {
    await writeFile(join(directory, `${name}.yaml`), file)
    const process = new Process(name, [cli, verb, '-c', `${name}.yaml`], directory)
    processes.push(process)
    return process
  }
  const hostA = await start('host-a', 'agent', agentFile('a', a))
  await start('host-b', 'agent', agentFile('b', b))
  const gateway = await start('gateway', 'gateway', gatewayFile(service, a, b))
  await gateway.log.until('guest.protected')

  const client = await Client.open(service)
  t.equal(await client.ask('INCR n', ':1\r\n'), ':1\r\n')
  const admin = join(directory, 'gateway', 'admin.sock')
  const isProtected = gateway.log.next('guest.protected')
  t.match(await askFailover(admin, { guest: 'demo', acceptLoss: false }, 40_000), { generation: 2 })
  t.equal(await client.ask('INCR n', ':2\r\n'), ':2\r\n')
  await isProtected
  t.match((await askStatus(admin)).guests[0], { activeHost: 'host-b', protection: { state: 'protected' } })

  const stranger = await start('stranger', 'gateway',
    gatewayFile(0, a, b).replace('name: gateway', 'name: stranger').replaceAll('gateway', 'stranger'))
  t.match(await hostA.log.until('link.refused'), { code: 'E_AUTH', reason: /stranger/ })
  t.equal(await client.ask('INCR n', ':3\r\n'), ':3\r\n')
  t.notOk(stranger.gone, 'a gateway that is refused goes on trying')
  client.destroy()
})
