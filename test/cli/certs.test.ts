import { X509Certificate } from 'node:crypto'
import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import t from 'tap'
import { certs } from '../../src/cli/certs.ts'
import { loadTlsMaterial } from '../../src/link/tls-material.ts'

const silent = () => undefined

const read = (file: string) => readFile(file, 'utf8')

void t.test('a CA, and a certificate for each name', async t => {
  const out = `${t.testdir({})}/deep/certs`
  const lines: string[] = []
  await certs({ out, names: ['gw', 'host_1.example'], print: line => lines.push(line) })
  const authority = new X509Certificate(await read(`${out}/ca.crt`))
  t.equal(authority.ca, true)
  for (const name of ['gw', 'host_1.example']) {
    const certificate = new X509Certificate(await read(`${out}/${name}.crt`))
    t.equal(certificate.verify(authority.publicKey), true)
    t.equal(certificate.ca, false)
    t.equal(certificate.subject, `CN=${name}`)
    t.equal(certificate.subjectAltName, `DNS:${name}`)
    t.match(certificate.publicKey.asymmetricKeyDetails, { namedCurve: 'prime256v1' })
    t.ok(lines.includes(`    cert: ${out}/${name}.crt`), 'what to write in the configuration is printed')
    await loadTlsMaterial({ ca: `${out}/ca.crt`, cert: `${out}/${name}.crt`, key: `${out}/${name}.key` })
  }
  for (const key of ['ca.key', 'gw.key', 'host_1.example.key']) {
    t.equal((await stat(`${out}/${key}`)).mode & 0o777, 0o600, key)
  }
})

void t.test('the CA is kept, certificates are made anew', async t => {
  const out = t.testdir({})
  await certs({ out, names: ['gw'], print: silent })
  const before = { ca: await read(`${out}/ca.crt`), gw: await read(`${out}/gw.crt`) }
  await certs({ out, names: ['gw', 'a1'], print: silent })
  t.equal(await read(`${out}/ca.crt`), before.ca)
  t.not(await read(`${out}/gw.crt`), before.gw)
  await loadTlsMaterial({ ca: `${out}/ca.crt`, cert: `${out}/a1.crt`, key: `${out}/a1.key` })
})

void t.test('no certificate outlives its CA', async t => {
  const out = t.testdir({})
  await certs({ out, names: ['gw'], days: 10, print: silent })
  await certs({ out, names: ['a1'], days: 100, print: silent })
  const ends = await Promise.all(['ca', 'gw', 'a1'].map(async name =>
    new X509Certificate(await read(`${out}/${name}.crt`)).validTo))
  t.strictSame(new Set(ends).size, 1)
})

void t.test('names that cannot be', async t => {
  const out = t.testdir({})
  const impossible = [[], [''], ['ca'], ['CA'], ['../x'], ['a/b'], ['-x'], ['a b'], ['gw', 'x'.repeat(64)]]
  for (const names of impossible) {
    await t.rejects(certs({ out, names, print: silent }), { code: 'E_USAGE' }, names.join())
  }
  await t.rejects(certs({ out, names: ['gw'], days: 0, print: silent }), { code: 'E_USAGE' })
  await t.rejects(stat(`${out}/ca.key`), { code: 'ENOENT' }, 'nothing was made')
})

void t.test('a CA that cannot be used', async t => {
  const dir = t.testdir({ one: {}, two: {}, file: 'x' })
  const [one, two] = [`${dir}/one`, `${dir}/two`]
  await certs({ out: one, names: ['gw'], days: 10, print: silent })
  await certs({ out: two, names: ['gw'], print: silent })
  const after = (days: number) => new Date(Date.now() + days * 24 * 60 * 60 * 1000)
  await t.rejects(certs({ out: one, names: ['a1'], now: after(11), print: silent }), {
    code: 'E_CONFIG', message: /ca\.crt ran out at/
  })
  await writeFile(`${one}/ca.key`, await read(`${two}/ca.key`))
  await t.rejects(certs({ out: one, names: ['a1'], print: silent }), {
    code: 'E_CONFIG', message: /one\/ca\.key is not the key of .*one\/ca\.crt/
  })
  await writeFile(`${one}/ca.key`, 'no key')
  await t.rejects(certs({ out: one, names: ['a1'], print: silent }), {
    code: 'E_CONFIG', message: /cannot be used/
  })
  await rm(`${one}/ca.key`)
  await t.rejects(certs({ out: one, names: ['a1'], print: silent }), {
    code: 'E_CONFIG', message: /there is only one of/
  })
  await t.rejects(certs({ out: `${dir}/file`, names: ['a1'], print: silent }), { code: 'E_DISK' })
  await mkdir(`${two}/a1.key`)
  await t.rejects(certs({ out: two, names: ['a1'], print: silent }), { code: 'E_DISK' })
})
