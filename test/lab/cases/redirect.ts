import { spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { withSystemPrograms } from '../../../src/engine/system-programs.ts'
import { Process } from '../../failover/process.ts'
import { requires } from '../../requires.ts'
import { addressOf, type NetworkLab } from '../network-lab.ts'
import {
  families, guest, guestPort, interfaces, redirect, redirectedLab as lab, script, up
} from '../redirected-lab.ts'
import { LineClient, startEcho } from '../stations.ts'

// deploy/redirect.sh on the gateway, for clients that talk to the address of a guest: that of host-a here.

const cli = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url))

/** Everything that the script may have touched. */
function rules(on: NetworkLab, backend: string): string {
  const gateway = on.machine('gateway')
  const saved = backend === 'nft' ? '' : ['iptables', 'ip6tables'].map((program) =>
    ['raw', 'nat', 'mangle'].map((table) => gateway.run([program, '-t', table, '-S'])).join('')).join('')
  const listed = backend === 'nft' ? gateway.run(['nft', 'list', 'ruleset']) : ''
  return saved + listed + gateway.run(['ip', 'rule']) + gateway.run(['ip', '-6', 'rule'])
    + gateway.run(['sh', '-c', 'ip route show table 7467 2>/dev/null || true'])
}

/** From where and to where the tracked connections of the gateway go. */
function tracked(on: NetworkLab): readonly (readonly string[])[] {
  const lines = on.machine('gateway').run(['conntrack', '-L', '-p', 'tcp']).split('\n')
  return lines.filter((line) => line !== '').map((line) => line.match(/(src|dst)=\S+/g)?.slice(0, 2) ?? [])
}

for (const backend of ['nft', 'iptables'] as const) {
  void t.test(`${backend}: REDIRECT leads clients of a guest's address to the listener`, async (t) => {
    if (requires(t, backend) === undefined) return
    const made = await lab(t)
    const before = rules(made, backend)
    redirect(made, ...up, '--backend', backend)
    for (const family of families) {
      await startEcho(made.machine('gateway'), addressOf('gateway', 'service', family), 7000 + family)
      const client = await LineClient.open(t, guest(family), guestPort)
      t.equal(await client.line(), addressOf('clients', 'service', family), 'the listener knows its client')
      client.say('hello')
      t.equal(await client.line(), 'hello')
    }
    const once = rules(made, backend)
    redirect(made, ...up, '--backend', backend)
    t.equal(rules(made, backend), once, 'a second up changes nothing')
    t.match(redirect(made, 'status'), /tailgate-redirect/i)
    redirect(made, 'down')
    t.equal(rules(made, backend), before, 'nothing is left')
    redirect(made, 'down')
    const asked = made.machine('gateway').run(['sh', '-c', `bash ${script} status || echo "status $?"`])
    t.equal(asked, 'nothing is redirected\nstatus 3\n')
  })

  void t.test(`${backend}: the kernel tells where a client that was redirected wanted to go`, async (t) => {
    if (requires(t, backend) === undefined) return
    const made = await lab(t)
    redirect(made, ...up, '--service', `${guest(4)}:6380=7014`, '--backend', backend)
    const gateway = made.machine('gateway')
    const ask = async (host: string, port: number): Promise<string> =>
      await (await LineClient.open(t, host, port)).line()
    for (const family of families) {
      const own = addressOf('gateway', 'service', family)
      await startEcho(gateway, own, 7000 + family, 'redirected-echo.ts')
      const client = addressOf('clients', 'service', family)
      t.equal(await ask(guest(family), guestPort), `${client} ${guest(family)} ${guestPort}`)
      t.equal(await ask(own, 7000 + family), `${client} ${own} ${7000 + family}`, 'the listener itself')
    }
    await startEcho(gateway, '::', 7014, 'redirected-echo.ts')
    const mapped = `::ffff:${addressOf('clients', 'service')}`
    t.equal(await ask(guest(4), 6380), `${mapped} ${guest(4)} 6380`, 'a listener of both families')
  })

  void t.test(`${backend}: TPROXY gives the listener the guest's own address`, async (t) => {
    if (requires(t, backend) === undefined) return
    const made = await lab(t)
    const before = rules(made, backend)
    redirect(made, ...up, '--mode', 'tproxy', '--backend', backend)
    for (const family of families) {
      const any = family === 4 ? '0.0.0.0' : '::'
      await startEcho(made.machine('gateway'), any, 7000 + family, 'transparent-echo.ts')
      const client = await LineClient.open(t, guest(family), guestPort)
      const seen = `${addressOf('clients', 'service', family)} ${guest(family)} ${guestPort}`
      t.equal(await client.line(), seen)
      client.say('hello')
      t.equal(await client.line(), 'hello')
    }
    const once = rules(made, backend)
    redirect(made, ...up, '--mode', 'tproxy', '--backend', backend)
    t.equal(rules(made, backend), once, 'a second up changes nothing')
    redirect(made, 'down')
    t.equal(rules(made, backend), before, 'nothing is left')
  })
}

void t.test('a client talks to a guest through the real gateway without knowing', async (t) => {
  if (requires(t, 'conntrack') === undefined) return
  const made = await lab(t)
  const directory = await mkdtemp(join(tmpdir(), 'tg-redirect-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  await startEcho(made.machine('host-a'), guest(4), guestPort)
  await writeFile(join(directory, 'gateway.yaml'), `name: gateway
state_dir: state
guests:
  - name: guest
    services:
      - { name: echo, listen: ${addressOf('gateway', 'service')}:7004, to: ${guest(4)}:${guestPort} }
`)
  const args = [cli, 'gateway', '-c', join(directory, 'gateway.yaml')]
  const gateway = new Process('gateway', args, directory, made.machine('gateway').enter)
  await gateway.log.until('service.listening')
  redirect(made, ...up)
  const client = await LineClient.open(t, guest(4), guestPort)
  t.equal(await client.line(), addressOf('gateway', 'guest'), 'the guest sees the gateway')
  client.say('through the gateway')
  t.equal(await client.line(), 'through the gateway')
  t.same(tracked(made), [[`src=${addressOf('clients', 'service')}`, `dst=${guest(4)}`]],
    'the connection of the client is tracked, that to the guest is not')
})

for (const backend of ['nft', 'iptables'] as const) {
  void t.test(`${backend}: a dry run prints exactly what is done, and does nothing`, async (t) => {
    if (requires(t, backend) === undefined) return
    const made = await lab(t)
    const before = rules(made, backend)
    const shell = (printed: string): void => { made.machine('gateway').run(['bash', '-e'], printed) }
    for (const way of [['--mode', 'redirect'], ['--mode', 'tproxy'], ['--source', 'client']]) {
      const order = [...up, ...way, '--backend', backend]
      const printed = redirect(made, ...order, '--dry-run')
      t.equal(rules(made, backend), before)
      redirect(made, ...order)
      const done = rules(made, backend)
      redirect(made, 'down')
      shell(printed)
      t.equal(rules(made, backend), done, `${way.join(' ')}: a shell that runs it does the same`)
      shell(redirect(made, ...order, '--dry-run'))
      t.equal(rules(made, backend), done, 'and so it does where they are there already')
      const undone = redirect(made, 'down', '--dry-run')
      t.equal(rules(made, backend), done)
      shell(undone)
      t.equal(rules(made, backend), before)
    }
  })
}

/** A PATH in which the script has what it needs of a system, and these packet filters alone. */
function pathWith(t: Test, ...filters: readonly string[]): string {
  const env = withSystemPrograms(process.env)
  const programs = ['bash', 'ip', 'grep', 'sed', 'sort', ...filters].map((program) => {
    const { stdout } = spawnSync('sh', ['-c', `command -v ${program}`], { encoding: 'utf8', env })
    return [program, t.fixture('symlink', stdout.trim())] as const
  })
  return t.testdir(Object.fromEntries(programs))
}

void t.test('iptables is taken where there is no nft', async (t) => {
  if (requires(t, 'iptables') === undefined) return
  const made = await lab(t)
  const path = pathWith(t, 'iptables', 'ip6tables')
  const withoutNft = (...args: readonly string[]): string =>
    made.machine('gateway').run(['env', `PATH=${path}`, 'bash', script, ...args])
  const before = rules(made, 'iptables')
  redirect(made, ...up, '--backend', 'iptables')
  const done = rules(made, 'iptables')
  redirect(made, 'down')
  t.match(withoutNft(...up, '--dry-run'), /^iptables -w /)
  withoutNft(...up)
  t.equal(rules(made, 'iptables'), done)
  t.match(withoutNft('status'), /^iptables -t raw /)
  withoutNft('down')
  t.equal(rules(made, 'iptables'), before)
})

void t.test('what cannot be done is said in a sentence', (t) => {
  const said = (...args: readonly string[]): readonly [number | null, string] => {
    const { status, stderr } = spawnSync('bash', [script, ...args], { encoding: 'utf8' })
    return [status, stderr]
  }
  t.match(said(), [2, /^usage: /])
  t.match(said('sideways'), [2, /'sideways' is not up, down or status/])
  t.match(said('up', '--service', '10.0.0.1=7'), [2, /'10.0.0.1=7' is not GUEST:PORT=LISTEN/])
  t.match(said('up', '--service', '10.0.0.1:0=7'), [2, /'0' in .* is not a port/])
  t.match(said('up', '--mode', 'magic'), [2, /--mode is one of: redirect tproxy; not 'magic'/])
  t.match(said('up', '--mark', '-1'), [2, /--mark is a number above 0/])
  for (const mark of ['0x7467', '29799']) {
    t.match(said('up', '--mark', mark), [2, /on what the gateway sends/])
  }
  t.match(said('up', ...interfaces), [2, /Name them with --service/])
  t.match(said('up', '--service', '10.0.0.1:1=7', '--guest-if', 'guest'), [2, /Name it with --client-if/])
  t.match(said('up', '--client-if', 'a b'), [2, /the name of a network interface, not 'a b'/])
  t.match(said('up', '--verbose'), [2, /there is no option '--verbose'/])
  const weak = spawnSync('setpriv', ['--bounding-set', '-all', 'bash', script, ...up], { encoding: 'utf8' })
  t.match([weak.status, weak.stderr], [1, /only root, or who has CAP_NET_ADMIN, can do 'up'/])
  const PATH = pathWith(t)
  for (const [backend, why] of [
    ['auto', /there is neither nft nor iptables/], ['nft', /there is no nft:/], ['iptables', /no iptables:/]
  ] as const) {
    const args = [script, ...up, '--backend', backend]
    const { status, stderr } = spawnSync('bash', args, { encoding: 'utf8', env: { PATH } })
    t.match([status, stderr], [1, why])
  }
  t.end()
})
