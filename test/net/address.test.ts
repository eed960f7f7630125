import t from 'tap'
import { addressText, anyHost, parseAddress, resolveHost } from '../../src/net/address.ts'

void t.test('addresses as text, and back', (t) => {
  t.equal(addressText('10.0.0.1', 80), '10.0.0.1:80')
  t.equal(addressText('::1', 80), '[::1]:80')
  t.equal(addressText('::ffff:10.0.0.1', 80), '10.0.0.1:80')
  t.same(parseAddress('10.0.0.1:80'), { host: '10.0.0.1', port: 80 })
  t.same(parseAddress('[fe80::1%eth0]:65535'), { host: 'fe80::1%eth0', port: 65535 })
  t.same(parseAddress('guest.example:1'), { host: 'guest.example', port: 1 })
  for (const wrong of ['', '10.0.0.1', '::1:80', '[::1]', 'a:b', 'a:65536', 'a:80 ', ':80', '[]:80']) {
    t.equal(parseAddress(wrong), undefined, wrong)
  }
  t.end()
})

void t.test('every interface', (t) => {
  t.equal(anyHost('10.0.0.1'), '10.0.0.1')
  t.match(anyHost(''), /^(::|0\.0\.0\.0)$/)
  t.end()
})

void t.test('names', async (t) => {
  t.same(await resolveHost('10.0.0.1'), { address: '10.0.0.1', family: 4 })
  t.same(await resolveHost('::1'), { address: '::1', family: 6 })
  t.match((await resolveHost('localhost')).address, /^(127\.0\.0\.1|::1)$/)
})
