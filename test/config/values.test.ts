import fc from 'fast-check'
import t from 'tap'
import {
  collide, formatAddress, formatDuration, formatSize, isLoopback, parseAddress, parseCount, parseDuration,
  parseSize
} from '../../src/config/values.ts'

void t.test('durations have a unit and come to whole milliseconds', (t) => {
  t.equal(parseDuration('200ms'), 200)
  t.equal(parseDuration('5s'), 5000)
  t.equal(parseDuration('1.5m'), 90_000)
  t.equal(parseDuration('2 h'), 7_200_000)
  for (const bad of ['5', 's', '', '-1s', '1.5ms', '5 seconds', '1e3ms', '5S', '0x10s']) {
    t.throws(() => parseDuration(bad), RangeError, bad)
  }
  t.end()
})

void t.test('sizes have a unit, a binary one', (t) => {
  t.equal(parseSize('512B'), 512)
  t.equal(parseSize('64KiB'), 65_536)
  t.equal(parseSize('0.5MiB'), 524_288)
  t.equal(parseSize('4GiB'), 4_294_967_296)
  for (const bad of ['64', '64KB', '64k', '0.3B', '99999999TiB']) t.throws(() => parseSize(bad), RangeError,
    bad)
  t.end()
})

void t.test('what is printed is read as the same', (t) => {
  fc.assert(fc.property(fc.nat(2 ** 50), (n) => parseDuration(formatDuration(n)) === n))
  fc.assert(fc.property(fc.nat(2 ** 50), (n) => parseSize(formatSize(n)) === n))
  t.equal(formatDuration(60_000), '1m')
  t.equal(formatDuration(1500), '1500ms')
  t.equal(formatSize(1_048_576), '1MiB')
  t.equal(formatSize(0), '0B')
  t.end()
})

void t.test('counts are whole decimal numbers', (t) => {
  t.equal(parseCount('50000'), 50_000)
  for (const bad of ['', '-1', '1.0', '1e3', '0x10', ' 1']) t.throws(() => parseCount(bad), RangeError, bad)
  t.end()
})

void t.test('addresses', (t) => {
  t.same(parseAddress('10.0.0.1:6379'), { host: '10.0.0.1', port: 6379 })
  t.same(parseAddress('[::1]:6379'), { host: '::1', port: 6379 })
  t.same(parseAddress('*:6379'), { host: '', port: 6379 })
  t.same(parseAddress('db-1.example.org:0'), { host: 'db-1.example.org', port: 0 })
  const wrong = [
    '', '6379', ':6379', 'host', 'host:', '::1:6379', '[host]:1', '[10.0.0.1]:1', '10.0.0.256:1', '10.0.1:1',
    'a:65536', 'a b:1', '.a:1', 'a..b:1', '[::1]', 'a:1:2', '[*]:1'
  ]
  for (const bad of wrong) t.throws(() => parseAddress(bad), RangeError, bad)
  for (const good of ['10.0.0.1:6379', '[::1]:6379', '*:6379', 'localhost:1']) {
    t.equal(formatAddress(parseAddress(good)), good)
  }
  t.end()
})

void t.test('only what stays on this machine is loopback', (t) => {
  for (const host of ['127.0.0.1', '127.9.9.9', '::1', 'localhost',
    '::ffff:127.0.0.1']) t.ok(isLoopback(host), host)
  for (const host of ['', '0.0.0.0', '::', '10.0.0.1', '127.example.org',
    'host-a']) t.notOk(isLoopback(host), host)
  t.end()
})

void t.test('addresses collide when one listener would be in the way of the other', (t) => {
  const on = (a: string, b: string): boolean => collide(parseAddress(a), parseAddress(b))
  t.ok(on('10.0.0.1:80', '10.0.0.1:80'))
  t.ok(on('*:80', '10.0.0.1:80'))
  t.ok(on('10.0.0.1:80', '0.0.0.0:80'))
  t.notOk(on('10.0.0.1:80', '10.0.0.2:80'))
  t.notOk(on('*:80', '*:81'))
  t.notOk(on('127.0.0.1:0', '127.0.0.1:0'), 'the kernel chooses two ports')
  t.end()
})
