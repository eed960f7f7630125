import t from 'tap'
import { chosenContenders } from '../../bench/contenders.ts'
import type { Contender } from '../../bench/contender.ts'
import { inputBytesMax, roomIn } from '../../bench/log-room.ts'
import { streamModuleOf } from '../../bench/nginx.ts'
import { parseOptions } from '../../bench/options.ts'

const gibibyte = 2 ** 30

void t.test('options', (t) => {
  const nothing = { only: [], load: [], json: false, goals: false }
  t.same(parseOptions([]), { ...nothing, quick: false, rounds: 5, seconds: 1.2 })
  t.same(parseOptions(['--quick']), { ...nothing, quick: true, rounds: 3, seconds: 0.4 })
  const flags = ['--quick', '--json', '--goals']
  const all = [...flags, '--rounds', '9', '--seconds', '0.1', '--only', 'a', '--only', 'b']
  t.same(parseOptions(all),
    { quick: true, goals: true, json: true, rounds: 9, seconds: 0.1, only: ['a', 'b'], load: [] })
  const wrong = [
    ['--rounds', '0'], ['--rounds', '1.5'], ['--seconds', '0'], ['--seconds', 'x'], ['--seconds', 'Infinity'],
    ['--unknown'], ['word']
  ]
  for (const args of wrong) t.equal(parseOptions(args), undefined, args.join(' '))
  t.end()
})

void t.test('which contenders run', (t) => {
  const contender = (name: string, missing?: string): Contender =>
    ({ name, missing, start: () => Promise.reject(new Error('not here')) })
  const names = ['direct', 'haproxy', 'haproxy 64K', 'haproxy 256K', 'nginx stream', 'tailgate plain',
    'tailgate epoch', 'tailgate epoch disk', 'tailgate immediate']
  const all = names.map((name) => contender(name))
  const chosen = (from: readonly Contender[], quick: boolean, only: readonly string[] = []): string[] =>
    chosenContenders(from, { quick, goals: false, only }).map(({ name }) => name)
  t.same(chosen(all, false), names)
  const few = ['haproxy', 'haproxy 64K', 'tailgate plain', 'tailgate epoch', 'tailgate epoch disk']
  t.same(chosen(all, true), few)
  const forGoals = chosenContenders(all, { quick: false, goals: true, only: [] })
  t.same(forGoals.map(({ name }) => name), few.toSpliced(2, 0, 'haproxy 256K'), 'at full length')
  const noHaproxy = all.map(({ name }) => contender(name, name.startsWith('haproxy') ? 'missing' : undefined))
  t.same(chosen(noHaproxy, true), ['direct', ...few], 'something to compare with')
  for (const quick of [true, false]) {
    t.same(chosen(all, quick, ['nginx', 'imm']),
      ['direct', 'haproxy', 'haproxy 64K', ...quick ? [] : ['haproxy 256K'], 'nginx stream',
        'tailgate immediate'])
  }
  t.end()
})

void t.test('the room for logs', (t) => {
  const room = roomIn(20 * gibibyte, 60 * gibibyte)
  t.same(room, { memoryBytes: 7 * gibibyte, diskBytes: 30 * gibibyte })
  t.ok(inputBytesMax(room, 5) * 7 < 7 * gibibyte, 'five rounds, the first run and a repeated one')
  t.ok(inputBytesMax(roomIn(20 * gibibyte, gibibyte), 5) * 7 < gibibyte, 'the disk may be the smaller one')
  t.same(roomIn(0, 0), { memoryBytes: gibibyte / 4, diskBytes: gibibyte / 4 })
  t.same(roomIn(2 ** 60, 2 ** 60), { memoryBytes: 256 * gibibyte, diskBytes: 256 * gibibyte })
  t.end()
})

void t.test('where nginx has its stream module', (t) => {
  const debian = 'configure arguments: --modules-path=/lib/ng --with-stream_ssl_module --with-stream=dynamic'
  const file = '/lib/ng/ngx_stream_module.so'
  t.same(streamModuleOf(debian, (asked) => asked === file), { kind: 'loaded', file })
  t.same(streamModuleOf(debian, () => false), { kind: 'missing' })
  t.same(streamModuleOf('configure arguments: --with-stream --with-x', () => false), { kind: 'built in' })
  t.same(streamModuleOf('', (asked) => asked.startsWith('/usr/lib/nginx/modules/')),
    { kind: 'loaded', file: '/usr/lib/nginx/modules/ngx_stream_module.so' })
  t.end()
})
