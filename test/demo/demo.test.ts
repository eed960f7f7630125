import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { Child } from '../../src/demo/child.ts'
import { Newcomer } from './newcomer.ts'

const demo = fileURLToPath(new URL('../../dist/demo/main.js', import.meta.url))

interface Run {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

function run(args: readonly string[], env = process.env): Promise<Run> {
  return new Promise(resolve => {
    execFile(process.execPath, [demo, ...args], { timeout: 120_000, env }, (error, stdout, stderr) => {
      resolve({ status: error === null ? 0 : Number(error.code ?? -1), stdout, stderr })
    })
  })
}

void t.test('a kill under load: nothing wrong, lost, repeated or reset', async t => {
  const { status, stdout, stderr } = await run(['--json'])
  t.equal(status, 0, stderr)
  const summary = JSON.parse(stdout) as Record<string, number>
  t.match(summary, { answeredWrongly: 0, lost: 0, repeated: 0, connectionsReset: 0 })
  t.equal(summary.requestsSent, summary.requestsAnswered)
  t.ok((summary.tailReplayedRecords ?? 0) > 0, 'there was a tail to replay')
})

void t.test('an option it does not know is an error with the usage', async t => {
  const { status, stderr } = await run(['--fast'])
  t.equal(status, 2)
  t.match(stderr, /--json[\s\S]*--keep/)
})

void t.test('a gateway that cannot protect the guest ends the demo, with its sentence', async t => {
  const machine = new Newcomer(t)
  // The network and the image of the guest seem to be there, QEMU and the packet filter are not.
  machine.program('ip', '')
  machine.program('nft', 'echo "Error: no packet filter" >&2; exit 1')
  machine.program('setpriv', 'exit 1')
  machine.write('cache/tailgate-demo-guest/vmlinuz', '')
  const { status, stderr } = await run(['--json', '--qemu'], {
    ...process.env, TAILGATE_DEMO_NETWORK: 'private', XDG_CACHE_HOME: join(machine.directory, 'cache')
  })
  t.equal(status, 1)
  t.match(stderr, /^the demo failed: TCP connections of a restored guest cannot .*no packet filter/)
})

void t.test('an agent that cannot start ends the demo, with what it says of it', async t => {
  // Without it an agent does not take its directory.
  new Newcomer(t).program('flock', 'exit 9')
  const { status, stderr } = await run(['--json'])
  t.equal(status, 1)
  t.match(stderr, /^the demo failed: host-[ab] ended with status 1 by itself:[^]* cannot be locked: /)
})

void t.test('a process that ends by itself is told of, and not one that was told to', async t => {
  const ends: string[] = []
  const child = (name: string): Promise<Child> => new Promise(resolve => {
    // There is no such command, so it ends at once.
    const started: Child = new Child(name, ['no-such-command'], {
      line: () => undefined,
      ended: ({ message }) => {
        ends.push(message)
        resolve(started)
      }
    })
    if (name === 'host-b') void started.stop().then(() => resolve(started))
  })
  await child('host-b')
  await child('host-a')
  t.match(ends, [/^host-a ended with status \d+ by itself:\n/])
  t.equal(ends.length, 1)
})
