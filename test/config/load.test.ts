import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { parseDocument } from 'yaml'
import { TailgateError } from '../../src/base/errors.ts'
import {
  keysOf, loadAgentConfig, loadConfig, loadGatewayConfig, parseConfig, readConfig, type ConfigKind
} from '../../src/config/load.ts'

// The admin socket is named, because the directory of a test may be too long for a unix socket's path.
const gateway = 'name: gw1\nstate_dir: s\nadmin: /run/gw1.sock\n'
  + 'guests: [{ name: a, services: [{ name: w, listen: *:80, to: a:81 }] }]\n'
const agent = 'name: h\nlink: 127.0.0.1:1\ndata_dir: d\ngateways: [g]\n'
  + 'guests: [{ name: a, engine: none, endpoints: ["a:81"] }]\n'

void t.test('which kind a file is follows from its keys', (t) => {
  const directory = t.testdir({ 'g.yaml': gateway, 'a.yaml': agent, 'empty.yaml': '' })
  t.equal(loadConfig(join(directory, 'g.yaml')).kind, 'gateway')
  t.equal(loadConfig(join(directory, 'a.yaml')).kind, 'agent')
  t.equal(loadGatewayConfig(join(directory, 'g.yaml')).stateDir, join(directory, 's'))
  t.equal(loadAgentConfig(join(directory, 'a.yaml')).dataDir, join(directory, 'd'))
  t.end()
})

void t.test('a file of the other kind is refused as such', (t) => {
  t.match(parseConfig(agent, '/', { kind: 'gateway' }), {
    ok: false, problems: [{ line: 1, column: 1, message: 'these are the keys of an agent file, and a '
      + 'gateway file is wanted' }]
  })
  t.match(parseConfig(gateway, '/', { kind: 'agent' }),
    { ok: false, problems: [{ message: /a gateway file, and an agent/ }] })
  t.end()
})

void t.test('an error has every problem in its context', (t) => {
  const file = join(t.testdir({ 'bad.yaml': gateway.replace('name: gw1', 'nam: gw1') }), 'bad.yaml')
  t.throws(() => loadConfig(file), {
    code: 'E_CONFIG',
    message: `${file} has 2 errors`,
    context: { problems: [
      `${file}:1:1: unknown key 'nam'; did you mean 'name'?`, `${file}:1:1: the key 'name' is missing`
    ] }
  })
  t.end()
})

void t.test('a file that cannot be read', (t) => {
  t.throws(() => readConfig(join(t.testdir(), 'nowhere.yaml')),
    { code: 'E_CONFIG', message: /cannot be read \(ENOENT/ })
  t.end()
})

void t.test('variables of the environment reach every value', (t) => {
  const text = gateway.replace('gw1', '${NAME}').replace('*:80', '"${PORT:-*:8080}"')
  const loaded = parseConfig(text, '/', { environment: { NAME: 'gw7' } })
  t.match(loaded,
    { ok: true, config: { name: 'gw7', guests: [{ services: [{ listen: { host: '', port: 8080 } }] }] } })
  t.match(parseConfig(text, '/', { environment: {} }), {
    ok: false, problems: [{ line: 1, column: 7, message: /the environment has no NAME/ }]
  })
  t.end()
})

void t.test('what is in effect is a file that means the same', (t) => {
  for (const text of [gateway, agent]) {
    const first = parseConfig(text, '/')
    if (!first.ok) throw new Error('the first file is wrong')
    const second = parseConfig(first.effective, '/')
    if (!second.ok) throw new Error(`the second file is wrong: ${JSON.stringify(second.problems)}`)
    t.same(second.config, first.config)
    t.equal(second.effective, first.effective)
  }
  t.end()
})

void t.test('what is in effect names every key that has a default', (t) => {
  const hosted = gateway.replace('services:', 'hosts: [{ name: h, link: "[::1]:1" }], services:')
  const texts: Record<ConfigKind, string> = { gateway: hosted, agent }
  for (const kind of ['gateway', 'agent'] as const) {
    const loaded = parseConfig(texts[kind], '/')
    if (!loaded.ok) throw new Error('the file is wrong')
    const plain = parseDocument(loaded.effective)
    for (const { path, fallback } of keysOf(kind)) {
      if (fallback === '-' || fallback === 'none') continue
      const steps = path.split('.').flatMap((step) => step.endsWith('[]') ? [step.slice(0, -2), 0] : [step])
      // A key of a table that may be left out is there only with its table.
      const inside = /^(tls|guests\[\]\.(network|disks\[\]))\./.test(path)
      t.equal(plain.hasIn(steps), !inside, path)
    }
  }
  t.end()
})

void t.test('no text brings the reader down', (t) => {
  const words = fc.constantFrom('name', ':', ' ', '\n', '- ', '[', ']', '{', '}', '*', '&a', '*a', 'guests',
    'tls', '"',
    '${', '5s', 'hosts', '!!x', '---', '|', '#', 'services', 'a', ',', 'limits', '<<', '? ', 'null', '~')
  fc.assert(fc.property(fc.array(words, { maxLength: 40 }), (pieces) => {
    const loaded = parseConfig(pieces.join(''), '/', { environment: {} })
    return !loaded.ok && loaded.problems.length > 0 && loaded.problems.every(({ line, column }) =>
      line > 0 && column > 0)
  }), { numRuns: 500 })
  t.end()
})

void t.test('no damage to a good file brings the reader down', (t) => {
  const file = join(t.testdir(), 'damaged.yaml')
  fc.assert(fc.property(fc.nat(gateway.length - 1), fc.string({ maxLength: 3 }), fc.nat(5),
    (at, put, cut) => {
    writeFileSync(file, gateway.slice(0, at) + put + gateway.slice(at + cut))
    try {
      return loadConfig(file, { environment: {} }).kind === 'gateway'
    } catch (error) {
      return error instanceof TailgateError && error.code === 'E_CONFIG'
    }
  }), { numRuns: 500 })
  t.end()
})
