import { copyFile, readFile, writeFile } from 'node:fs/promises'
import t from 'tap'
import { hostName } from '../../src/core/ids.ts'
import { certifies, checkOwnName, loadTlsMaterial, type TlsPaths } from '../../src/link/tls-material.ts'
import { madeCertificates, pathsOf } from './certificates.ts'

const dayMs = 24 * 60 * 60 * 1000

void t.test('what is wrong with the files is said by name', async t => {
  const dir = t.testdir({ ours: {}, theirs: {} })
  await madeCertificates(`${dir}/ours`, ['gw', 'a1'])
  await madeCertificates(`${dir}/theirs`, ['gw'])
  const good = pathsOf(`${dir}/ours`, 'gw')
  const theirs = pathsOf(`${dir}/theirs`, 'gw')
  await writeFile(`${dir}/torn.crt`, (await readFile(good.cert, 'utf8')).replace(/\n[^\n]+\n/, '\n'))
  await writeFile(`${dir}/empty`, '')

  const material = await loadTlsMaterial(good)
  t.ok(material.validTo.getTime() > Date.now() + 3600 * dayMs)

  const faults: [string, Partial<TlsPaths>, RegExp][] = [
    ['no CA', { ca: `${dir}/none` }, /none cannot be read: ENOENT/],
    ['no certificate', { cert: `${dir}/none` }, /none cannot be read: ENOENT/],
    ['no key', { key: `${dir}/none` }, /none cannot be read: ENOENT/],
    ['a directory', { key: dir }, /cannot be read: EISDIR/],
    ['an empty CA', { ca: `${dir}/empty` }, /empty holds no certificate in PEM form/],
    ['a key as certificate', { cert: good.key }, /gw\.key holds no certificate in PEM form/],
    ['a torn certificate', { cert: `${dir}/torn.crt` }, /torn\.crt holds a certificate that cannot be read/],
    ['a certificate as key', { key: good.cert }, /gw\.crt holds no private key in PEM form/],
    ['the key of another', { key: pathsOf(`${dir}/ours`, 'a1').key }, /a1\.key is not the key of .*gw\.crt/],
    ['another CA', { ca: theirs.ca }, /ours\/gw\.crt was not issued by the CA in .*theirs\/ca\.crt/]
  ]
  for (const [what, paths, message] of faults) {
    await t.rejects(loadTlsMaterial({ ...good, ...paths }), { code: 'E_CONFIG', message }, what)
  }
})

void t.test('certificates out of their time are named with the date', async t => {
  const dir = t.testdir({})
  const now = new Date('2031-05-01T12:00:00Z')
  await madeCertificates(dir, ['gw'], { now, days: 100 })
  const paths = pathsOf(dir, 'gw')
  const at = (days: number) => loadTlsMaterial(paths, new Date(now.getTime() + days * dayMs))
  await at(99)
  await t.rejects(at(-1), {
    code: 'E_CONFIG', message: /ca\.crt is not valid before 2031-05-01T11:00:00.000Z .* it is 2031-04-30T12/
  })
  await t.rejects(at(101), { code: 'E_CONFIG', message: /ca\.crt ran out at 2031-08-09T12:00:00.000Z/ })
})

void t.test('a file may hold more than one CA, for a change from one to the other', async t => {
  const dir = t.testdir({ ours: {}, theirs: {} })
  await madeCertificates(`${dir}/ours`, ['gw'])
  const { a1 } = await madeCertificates(`${dir}/theirs`, ['a1'])
  const paths = pathsOf(`${dir}/ours`, 'gw')
  await copyFile(`${dir}/ours/ca.crt`, `${dir}/both.crt`)
  await writeFile(`${dir}/both.crt`, a1.ca, { flag: 'a' })
  const material = await loadTlsMaterial({ ...paths, ca: `${dir}/both.crt` })
  t.equal(material.ca.match(/BEGIN/g)?.length, 2)
})

void t.test('a certificate is for its name only', async t => {
  const { 'gw.example': gw } = await madeCertificates(t.testdir({}), ['gw.example'])
  t.equal(certifies(gw.certificate, 'gw.example'), true)
  for (const name of ['gw', 'example', 'x.gw.example', '*.example', 'gw.example.', '', 'tailgate CA']) {
    t.equal(certifies(gw.certificate, name), false, name)
  }
  t.throws(() => checkOwnName(gw, hostName('a1')), {
    code: 'E_CONFIG', message: /gw\.example\.crt is for CN=gw\.example .* this side is called a1/
  })
  t.end()
})
