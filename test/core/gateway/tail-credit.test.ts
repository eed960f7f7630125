import t from 'tap'
import { TailCredit } from '../../../src/core/gateway/tail-credit.ts'
import { millis } from '../../../src/core/ids.ts'

// How much of the tail may be on its way to a gateway. A host is taken for dead after 400 ms of silence.

const silenceMs = 400
const [least, most] = [16 << 10, 4 << 20]

/** Asks, and has all of it come so much later, so often. The last window. */
function windows(credit: TailCredit, times: number, ms: number): number {
  let now = 1000
  let window = 0
  for (let n = 0; n < times; n++) {
    window = credit.ask(millis(now))
    now += ms
    credit.came(millis(now), window)
  }
  return window
}

void t.test('a window grows while it comes quickly, and shrinks when it is slow', t => {
  const credit = new TailCredit(silenceMs)
  t.equal(windows(credit, 1, 1), least, 'it begins small')
  t.equal(windows(credit, 3, 1), 8 * least)
  t.equal(windows(credit, 20, 1), most, 'and has an end')
  t.equal(windows(credit, 5, 150), most, 'neither quick nor slow')
  t.equal(windows(credit, 3, 250), most / 4)
  t.equal(windows(credit, 20, 250), least)
  t.end()
})

void t.test('a window is topped up as it comes', t => {
  const credit = new TailCredit(silenceMs)
  t.equal(credit.ask(millis(0)), least)
  t.equal(credit.ask(millis(0)), 0)
  credit.came(millis(1), 1000)
  t.equal(credit.ask(millis(1)), 1000)
  credit.came(millis(2), 100_000)
  t.ok(credit.ask(millis(2)) > 100_000 - least, 'a record that is longer than the window comes whole')
  t.end()
})

void t.test('how long something is awaited', t => {
  const credit = new TailCredit(silenceMs)
  t.equal(credit.waited(millis(5000)), 0, 'nothing was asked for')
  credit.ask(millis(5000))
  t.equal(credit.waited(millis(5300)), 300)
  credit.came(millis(5400), 10)
  t.equal(credit.waited(millis(5500)), 100, 'since the last of it')
  credit.excuse(millis(9000))
  t.equal(credit.waited(millis(9100)), 100)
  credit.came(millis(9200), least - 10)
  t.equal(credit.waited(millis(9900)), 0, 'all has come')
  t.end()
})
