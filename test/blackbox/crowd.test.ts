import { execFileSync } from 'node:child_process'
import t, { type Test } from 'tap'
import { Client, each } from './client.ts'
import { Front, modes, replicated, type Mode } from './front.ts'
import { patternHash, patternOf } from './pattern.ts'
import { Service, type Behaviour } from './service.ts'

// Thousands of idle connections at once, and an active one among them.

const wanted = 10_000
/** Descriptors that a gateway keeps for everything but connections, and some for the tests' own. */
const reserved = 128

/** The gateway has two descriptors for each connection; a service and its clients have one. */
function idleFor(mode: Mode): number {
  const most = Number(execFileSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }))
  const each = mode === 'direct' ? 1 : 2
  return Math.min(wanted, Math.floor((Number.isNaN(most) ? 1e6 : most) / each) - reserved)
}

async function answered(t: Test, client: Client): Promise<void> {
  await client.send(patternOf(0, 50_000))
  client.socket.end()
  const { hash, error } = await client.ended
  t.same([hash, error], [patternHash(50_000), undefined], 'an active connection among them is answered')
}

for (const mode of modes.filter((mode) => mode !== 'immediate')) {
  void t.test(`a crowd of idle connections, ${mode}`, async (t) => {
    const possible = idleFor(mode)
    // A checkpoint of so many is shown by half of them, in half the time.
    const count = mode === 'checkpoint' ? Math.ceil(possible / 2) : possible
    if (possible < wanted) {
      t.pass(`${wanted} idle connections`, {
        skip: `the hard limit of open files allows ${possible} here: raise it (ulimit -Hn 25000)`
      })
    }
    const service = await Service.start(t)
    const front = await Front.start(t, mode, service.behind)
    const client = (behaviour: Behaviour): Client =>
      new Client(t, front.ports[service.behaviours.indexOf(behaviour)] ?? 0)
    const crowd: Client[] = []
    await each(count, async () => {
      const one = client('echo')
      crowd.push(one)
      await one.send('!')
      await one.received(1)
    })
    t.equal(crowd.length, count)
    await answered(t, client('echo'))
    if (mode !== 'direct') t.equal((await front.guest()).connections.open, count, 'all of them are open')
    for (const one of crowd) one.socket.end('?')
    const ends = await Promise.all(crowd.map(async ({ ended }) => ended))
    t.equal(ends.filter(({ bytes, error }) => bytes === 2 && error === undefined).length, count,
      'each is answered once more and ends in order')
    if (mode === 'direct') return
    await front.settled(t, count + 1)
    t.same([...new Set(front.ends.map(({ end }) => end))], ['C-'])
    if (replicated.has(mode)) t.ok((await front.guest()).positions.committedLsn > 4 * count)
  })
}
