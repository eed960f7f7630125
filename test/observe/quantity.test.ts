import t from 'tap'
import { bytesText, countText, durationText, groupDigits } from '../../src/observe/quantity.ts'

void t.test('bytes have a binary unit and at most one decimal', t => {
  const cases: [number, string][] = [
    [0, '0 B'], [1023, '1023 B'], [1024, '1 KiB'], [1536, '1.5 KiB'], [1024 ** 2 * 1.2, '1.2 MiB'],
    [1024 ** 3, '1 GiB'], [1024 ** 5, '1024 TiB']
  ]
  for (const [bytes, text] of cases) t.equal(bytesText(bytes), text)
  t.end()
})

void t.test('durations have the unit that suits them, across every border', t => {
  const cases: [number, string][] = [
    [0, '0 ms'], [0.44, '0.4 ms'], [9.9, '9.9 ms'], [12.4, '12 ms'], [999.4, '999 ms'], [1000, '1 s'],
    [2149, '2.1 s'], [60_000, '1 min 0 s'], [185_000, '3 min 5 s'], [3_600_000, '1 h 0 min'],
    [7_260_000, '2 h 1 min'], [90_000_000, '1 d 1 h']
  ]
  for (const [ms, text] of cases) t.equal(durationText(ms), text)
  t.end()
})

void t.test('a duration just below a border is not rounded into a unit that it has outgrown', t => {
  t.equal(durationText(9.99), '10 ms')
  t.equal(durationText(999.9), '1 s')
  t.equal(durationText(59_999), '1 min 0 s')
  t.end()
})

void t.test('counts agree with their noun, and long ones are grouped', t => {
  t.equal(countText(0, 'record'), '0 records')
  t.equal(countText(1, 'record'), '1 record')
  t.equal(countText(12_345, 'record'), '12 345 records')
  t.equal(groupDigits(1234), '1234')
  t.equal(groupDigits(1_234_567), '1 234 567')
  t.end()
})
