import { duplexPair } from 'node:stream'
import t, { type Test } from 'tap'
import { QmpClient } from '../../src/engine/qmp.ts'

const greeting = '{"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 22}}}}\r\n'

interface Asked { readonly execute: string, readonly id: number, readonly arguments: unknown }

/** A client and the other end of its stream, which answers as `answer` says. */
async function talk(t: Test, answer: (asked: Asked) => string | undefined) {
  const [near, far] = duplexPair()
  t.teardown(() => near.destroy())
  far.on('data', (bytes: Buffer) => {
    for (const line of bytes.toString().trim().split('\n')) {
      const asked = JSON.parse(line) as Asked
      const said = asked.execute === 'qmp_capabilities' ? '"return": {}' : answer(asked)
      if (said !== undefined) far.write(`{${said}, "id": ${asked.id}}\r\n`)
    }
  })
  far.write(greeting)
  return { client: await QmpClient.open(near, 1000), far }
}

void t.test('answers find their questions, in whatever order and pieces they come', async t => {
  const asked: Asked[] = []
  const { client, far } = await talk(t, one => { asked.push(one); return undefined })
  t.equal(client.version, '7.2.22')
  const answers = Promise.all(['a', 'b'].map(name => client.execute(name, { x: name })))
  while (asked.length < 2) await new Promise(resolve => { setImmediate(resolve) })
  t.match(asked, [{ execute: 'a', arguments: { x: 'a' } }, { execute: 'b' }])
  const answerTo = ({ id, execute }: Asked) => `{"return": "to ${execute}", "id": ${id}}\r\n`
  for (const letter of asked.toReversed().map(answerTo).join('')) far.write(letter)
  t.same(await answers, ['to a', 'to b'])
})

void t.test('a refusal is E_ENGINE with QEMU\'s class and words', async t => {
  const { client } = await talk(t, () => '"error": {"class": "CommandNotFound", "desc": "no such command"}')
  await t.rejects(client.execute('nonsense'), {
    code: 'E_ENGINE', message: "QEMU refused 'nonsense': no such command",
    context: { command: 'nonsense', class: 'CommandNotFound', desc: 'no such command' }
  })
})

void t.test('events are heard and waited for', async t => {
  const { client, far } = await talk(t, () => '"return": {}')
  const names: string[] = []
  const end = client.listen(({ name }) => { names.push(name) })
  const stopped = client.event(({ name }) => name === 'STOP', 1000, 'it did not stop')
  far.write('{"event": "RESUME", "timestamp": {}}\r\n{"event": "STOP", "data": {"a": 1}}\r\n')
  t.same(await stopped, { name: 'STOP', data: { a: 1 } })
  end()
  far.write('{"event": "RESET"}\r\n')
  await client.execute('query-status')
  t.same(names, ['RESUME', 'STOP'])
})

void t.test('what does not come in time is given up alone', async t => {
  const { client } = await talk(t, ({ execute }) => execute === 'slow' ? undefined : '"return": 1')
  await t.rejects(client.execute('slow', {}, 10), { code: 'E_ENGINE', message: /'slow' within 10 ms/ })
  await t.rejects(client.event(() => false, 10, 'it did not stop'),
    { message: 'it did not stop within 10 ms' })
  t.equal(await client.execute('other'), 1)
})

void t.test('a stream that breaks, or is no QMP, fails all that waits and all that comes', async t => {
  for (const [said, why] of [
    [undefined, /has closed/], ['hello\r\n', /is not QMP/], ['x'.repeat(5 << 20), /too long/]
  ] as const) {
    const { client, far } = await talk(t, () => undefined)
    const waits = [client.execute('a'), client.event(() => true, 1000, 'nothing')]
    if (said === undefined) far.end()
    else far.write(said)
    const failed = { status: 'rejected', reason: { code: 'E_ENGINE', message: why } }
    t.match(await Promise.allSettled(waits), [failed, failed])
    await t.rejects(client.execute('b'), { code: 'E_ENGINE', message: why })
    t.match(await client.closed, why)
  }
})

void t.test('whoever does not greet is no QEMU', async t => {
  const [near] = duplexPair()
  await t.rejects(QmpClient.open(near, 10), { code: 'E_ENGINE', message: /did not greet within 10 ms/ })
  t.ok(near.destroyed)
})

void t.test('questions without an answer are bounded', async t => {
  const { client } = await talk(t, () => undefined)
  const asked = Array.from({ length: 64 }, () => client.execute('a', {}, 1000))
  await t.rejects(client.execute('one too many'), { code: 'E_ENGINE', message: /unanswered/ })
  client.close()
  for (const one of await Promise.allSettled(asked)) t.equal(one.status, 'rejected')
})
