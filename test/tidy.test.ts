import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { errorCodes } from '../src/base/errors.ts'
import { circleIn, filesUnder, importsOf, root, textOf } from './source-tree.ts'

// The rules of style and structure that a linter does not hold.

const columnsMax = 110
const linesMax = 500

const source = filesUnder('src', '.ts')
const tests = filesUnder('test', '.ts')
const code = [...source, ...tests, ...filesUnder('bench', '.ts')]
const examples = filesUnder('deploy', '.yaml')

/**
 * The directories of src/ from the ground up. One imports only what is in a lower row, so nothing imports the
 * command line. docs/ARCHITECTURE.md says what each is for.
 */
const layers: readonly (readonly string[])[] = [
  ['base'],
  ['core'],
  ['net'],
  ['config', 'guest', 'state'],
  ['log', 'link', 'engine', 'attach', 'observe'],
  ['gateway', 'agent'],
  ['cli', 'demo']
]

// Put together here, so that this file does not break the rules that it holds.
const coverageIgnored = new RegExp(`\\b(${['c8', 'v8', 'istanbul'].join('|')}) ignore\\b`)
const unfinished = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX'].join('|')})\\b`)
const commentedImport = /^\s*(\/\/|\*)\s*(import\b.*\bfrom\b|import ['"]|(const|let)\b.*\brequire\()/
const timers = ['setTime' + 'out\\((\\w+ => )?(resolve|done|r)\\b', 'timers/' + 'promises']
const sleep = new RegExp(timers.join('|'))

/** Fails for every line of `files` that `wrong` says is wrong. */
function everyLine(t: Test, files: readonly string[], wrong: (line: string) => boolean): void {
  const found = files.flatMap((file) => textOf(file).split('\n').flatMap((line, i) =>
    wrong(line) ? [`${file}:${i + 1}: ${line.trim().slice(0, 80)}`] : []))
  t.same(found, [])
}

function directoryOf(file: string): string {
  return file.split('/')[1] ?? ''
}

function rankOf(directory: string): number {
  return layers.findIndex((layer) => layer.includes(directory))
}

void t.test('the rules look at all files', (t) => {
  for (const file of ['src/cli/main.ts', 'src/core/ids.ts']) t.ok(source.includes(file), file)
  t.ok(tests.includes('test/tidy.test.ts'))
  t.ok(examples.includes('deploy/tailgate.yaml'))
  t.end()
})

void t.test(`no line is longer than ${columnsMax} columns`, (t) => {
  everyLine(t, [...code, ...examples], (line) => Array.from(line).length > columnsMax)
  t.end()
})

void t.test(`no file is longer than ${linesMax} lines`, (t) => {
  t.same(code.filter((file) => textOf(file).trimEnd().split('\n').length > linesMax), [])
  t.end()
})

void t.test('no code is hidden from coverage, left for later, or commented out', (t) => {
  everyLine(t, code, (line) => coverageIgnored.test(line))
  everyLine(t, code, (line) => unfinished.test(line))
  everyLine(t, code, (line) => commentedImport.test(line))
  t.end()
})

void t.test('tests wait for events and do not sleep', (t) => {
  everyLine(t, tests, (line) => sleep.test(line))
  t.end()
})

void t.test('the core imports nothing but the core and base', (t) => {
  const strangers = source.filter((file) => directoryOf(file) === 'core').flatMap((file) =>
    importsOf(file, textOf(file)).filter((target) => !/^src\/(core|base)\//.test(target))
      .map((target) => `${file} imports ${target}`))
  t.same(strangers, [])
  t.end()
})

void t.test('imports go down the layers', (t) => {
  t.same(source.filter((file) => rankOf(directoryOf(file)) === -1), [], 'every directory has its layer')
  const upwards = source.flatMap((file) => importsOf(file, textOf(file))
    .filter((target) => target.startsWith('src/') && directoryOf(target) !== directoryOf(file))
    .filter((target) => rankOf(directoryOf(target)) >= rankOf(directoryOf(file)))
    .map((target) => `${file} imports ${target}`))
  t.same(upwards, [])
  t.end()
})

void t.test('imports make no circle', (t) => {
  const graph = new Map(source.map((file) => [file, importsOf(file, textOf(file))]))
  t.same(circleIn(graph), undefined)
  t.end()
})

void t.test('imports are found, and circles are', (t) => {
  const text = "import './a.ts'\nimport { b } from '../b.ts'\nimport type {\n  C,\n  D\n} from './c.ts'\n"
    + "export * from 'yaml'\nconst later = async () => import('./d.ts')\n// import of 'nothing'\n"
  t.same(importsOf('src/x/y.ts', text), ['src/x/a.ts', 'src/b.ts', 'src/x/c.ts', 'yaml', 'src/x/d.ts'])
  t.same(circleIn(new Map([['a', ['b', 'c']], ['b', ['c']], ['c', []]])), undefined)
  t.same(circleIn(new Map([['a', ['b']], ['b', ['c']], ['c', ['b']]])), ['b', 'c', 'b'])
  t.same(circleIn(new Map([['a', ['a']]])), ['a', 'a'])
  t.end()
})

void t.test('every error code is thrown somewhere, and documented', (t) => {
  const thrown = source.filter((file) => file !== 'src/base/errors.ts').map(textOf).join('\n')
  const documented = textOf('docs/ERRORS.md')
  for (const [errorCode, meaning] of Object.entries(errorCodes)) {
    t.ok(thrown.includes(`'${errorCode}'`), `${errorCode} is thrown`)
    t.ok(documented.includes(`\n## ${errorCode}\n`), `${errorCode} has its part in docs/ERRORS.md`)
    t.ok(documented.toLowerCase().includes(meaning), `docs/ERRORS.md gives its meaning: ${meaning}`)
  }
  const codes = [...documented.matchAll(/^## (E_\w+)$/gm)].map(([, errorCode]) => errorCode)
  t.same(codes, Object.keys(errorCodes), 'docs/ERRORS.md has no other codes, and this order')
  t.end()
})

void t.test('docs/ARCHITECTURE.md has every directory in its table, from the ground up', (t) => {
  const rows = [...textOf('docs/ARCHITECTURE.md').matchAll(/^\| (`src\/[^|]*) \|/gm)]
  const named = rows.flatMap(([, cell = '']) =>
    [...cell.matchAll(/`src\/(\w+)`/g)].map(([, name = '']) => name))
  t.same(named.toSorted(), layers.flat().toSorted())
  const ranks = named.map(rankOf)
  t.same(ranks, ranks.toSorted((a, b) => a - b))
  t.end()
})

void t.test('what a document links to is there', (t) => {
  for (const file of ['README.md', 'bench/README.md', ...filesUnder('docs', '.md')]) {
    const links = [...textOf(file).matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)].map(([, target = '']) => target)
    for (const target of links) t.ok(existsSync(join(root, dirname(file), target)), `${file}: ${target}`)
  }
  t.ok(textOf('README.md').includes('(docs/ARCHITECTURE.md)'))
  t.end()
})
