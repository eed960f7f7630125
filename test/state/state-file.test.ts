import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { StateFile } from '../../src/state/state-file.ts'

interface Count {
  readonly n: number
}

function fileAt(path: string): StateFile<Count> {
  return new StateFile<Count>({
    path, remedy: 'count again', format: state => state,
    parse: value => {
      const n = (value as Partial<Count> | undefined)?.n
      return typeof n === 'number' ? { n } : undefined
    }
  })
}

void t.test('what was written is read, the last of it, and nothing else is left', async t => {
  const directory = join(t.testdir({}), 'made', 'for it')
  const file = fileAt(join(directory, 'state.json'))
  t.equal(await file.read(), undefined)
  await Promise.all([1, 2, 3].map(n => file.write({ n })))
  t.same(await fileAt(join(directory, 'state.json')).read(), { n: 3 })
  t.same(readdirSync(directory), ['state.json'])
})

void t.test('a file that is not such a state is an error that says what to do, and stays', async t => {
  for (const content of ['', '{', '{"m":1}', 'null', '[]']) {
    const path = join(t.testdir({ 'state.json': content }), 'state.json')
    await t.rejects(fileAt(path).read(), { code: 'E_STATE', message: /count again/ }, content)
    t.equal(readFileSync(path, 'utf8'), content)
  }
})

void t.test('a half-written successor is no harm', async t => {
  const directory = t.testdir({ 'state.json': '{"n":1}', 'state.json.new': '{"n"' })
  const file = fileAt(join(directory, 'state.json'))
  t.same(await file.read(), { n: 1 })
  await file.write({ n: 2 })
  t.same(await file.read(), { n: 2 })
})

void t.test('a disk that refuses is told, reading and writing', async t => {
  const path = join(t.testdir({ 'state.json': {} }), 'state.json')
  await t.rejects(fileAt(path).read(), { code: 'E_STATE' })
  mkdirSync(`${path}.new`)
  await t.rejects(fileAt(path).write({ n: 1 }), { code: 'E_STATE' })
})
