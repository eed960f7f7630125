import t from 'tap'
import { Watch, coloursWanted } from '../../src/observe/watch.ts'

function watchTo(lines: string[], isTTY: boolean, environment: Record<string, string> = {}) {
  let now = 1000
  const output = { isTTY, write: (text: string) => lines.push(text) }
  return { watch: new Watch({ output, now: () => now, environment }), tick: (ms: number) => { now += ms } }
}

void t.test('each line has the time since the start, a symbol and its text', t => {
  const lines: string[] = []
  const { watch, tick } = watchTo(lines, false)
  watch.line('info', 'begins')
  tick(2143)
  watch.took('good', 'restored', 80.2)
  tick(100_000)
  watch.line('bad', 'gone')
  t.same(lines, ['  0.000 s  · begins\n', '  2.143 s  ✓ restored (80 ms)\n', '102.143 s  ✗ gone\n'])
  t.end()
})

void t.test('what would break the line or move the cursor is taken out', t => {
  const lines: string[] = []
  watchTo(lines, false).watch.line('warn', 'a\nb\u001b[2Jc\u009b')
  t.same(lines, ['  0.000 s  ! a b [2Jc \n'])
  t.end()
})

void t.test('colours are for terminals whose owner has not refused them', t => {
  const lines: string[] = []
  watchTo(lines, true).watch.line('good', 'up')
  t.match(lines[0], /\u001b\[32m✓ up\u001b\[0m\n$/)
  const write = () => true
  t.equal(coloursWanted({ isTTY: true, write }, {}), true)
  t.equal(coloursWanted({ isTTY: true, write }, { NO_COLOR: '' }), true, 'an empty NO_COLOR is none')
  t.equal(coloursWanted({ isTTY: true, write }, { NO_COLOR: '1' }), false)
  t.equal(coloursWanted({ isTTY: true, write }, { TERM: 'dumb' }), false)
  t.equal(coloursWanted({ isTTY: false, write }, {}), false)
  t.equal(coloursWanted({ write }, {}), false)
  t.end()
})
