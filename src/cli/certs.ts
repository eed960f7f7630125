import './reflect-metadata.ts'
import {
  AuthorityKeyIdentifierExtension, BasicConstraintsExtension, ExtendedKeyUsage, ExtendedKeyUsageExtension,
  KeyUsageFlags, KeyUsagesExtension, PemConverter, SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension, X509Certificate, X509CertificateGenerator
} from '@peculiar/x509'
import { createPrivateKey, randomBytes, webcrypto, X509Certificate as NodeCertificate } from 'node:crypto'
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { TailgateError, messageOf } from '../base/errors.ts'

export interface CertsOptions {
  /** The directory for every file; made if it is not there. */
  readonly out: string
  /** One certificate each: the names of gateways and agents, as in their configurations. */
  readonly names: readonly string[]
  /** How long certificates are valid, the CA's too if it is made now; in days. */
  readonly days?: number
  readonly now?: Date
  /** Takes one line for the user. */
  print(line: string): void
}

/** A certificate that runs out is an outage nobody thought of: long by default, in days. */
const daysDefault = 3650
const dayMs = 24 * 60 * 60 * 1000
/** A machine whose clock is behind must be able to use a new certificate, in milliseconds. */
const clockSkewMs = 60 * 60 * 1000

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
const caName = 'CN=tailgate CA'
/** A name is a file name and a DNS name in the certificate. */
const nameForm = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/

interface Authority {
  readonly certificate: X509Certificate
  readonly key: webcrypto.CryptoKey
}

interface Validity {
  readonly notBefore: Date
  readonly notAfter: Date
}

/**
 * The verb `tailgate certs --out DIR NAME...`: makes a CA in DIR, unless it is there, and a certificate and
 * key for each name, in place of those that are there. E_USAGE for names that cannot be, E_CONFIG for a CA
 * that cannot be used, E_DISK for files that cannot be written.
 */
export async function certs(options: CertsOptions): Promise<void> {
  const { names, now = new Date(), days = daysDefault } = options
  checkNames(names)
  if (!(days > 0)) throw new TailgateError('E_USAGE', `certificates cannot be valid for ${days} days`)
  const out = resolve(options.out)
  const notBefore = new Date(now.getTime() - clockSkewMs)
  const validity = { notBefore, notAfter: new Date(now.getTime() + days * dayMs) }
  await mkdir(out, { recursive: true, mode: 0o700 }).catch((cause: unknown) => {
    throw unwritable(out, cause)
  })
  const authority = await readAuthority(out, now) ?? await makeAuthority(out, validity)
  const { certificate } = authority
  options.print(`CA: ${join(out, 'ca.crt')}, valid until ${day(certificate.notAfter)}; `
    + 'keep ca.key where no gateway or agent runs: whoever has it can be any of them')
  for (const name of names) {
    const notAfter = validity.notAfter < certificate.notAfter ? validity.notAfter : certificate.notAfter
    await issue(out, name, authority, { notBefore, notAfter })
    for (const line of advice(out, name, notAfter)) options.print(line)
  }
}

/** What the user does with a new certificate. */
function advice(out: string, name: string, notAfter: Date): string[] {
  return [
    '',
    `${name}: valid until ${day(notAfter)}. Copy ca.crt, ${name}.crt and ${name}.key to its machine, `
    + `readable for`,
    'tailgate only, and write in its configuration, with the directory they are in there:',
    `  name: ${name}`,
    '  tls:',
    `    ca: ${join(out, 'ca.crt')}`,
    `    cert: ${join(out, `${name}.crt`)}`,
    `    key: ${join(out, `${name}.key`)}`
  ]
}

function checkNames(names: readonly string[]): void {
  if (names.length === 0) {
    throw new TailgateError('E_USAGE', 'name the gateways and agents that need certificates: '
      + 'tailgate certs --out DIR NAME...')
  }
  for (const name of names) {
    if (nameForm.test(name) && name.toLowerCase() !== 'ca') continue
    throw new TailgateError('E_USAGE', `${JSON.stringify(name)} cannot be the name of a gateway or agent: `
      + 'letters, digits, dots, dashes and underscores, at most 63, the first a letter or digit, and not '
      + '"ca"')
  }
}

/** The CA in `out`; undefined if there is none. */
async function readAuthority(out: string, now: Date): Promise<Authority | undefined> {
  const [certFile, keyFile] = [join(out, 'ca.crt'), join(out, 'ca.key')]
  const [cert, key] = await Promise.all([readIfThere(certFile), readIfThere(keyFile)])
  if (cert === undefined && key === undefined) return undefined
  if (cert === undefined || key === undefined) {
    throw new TailgateError('E_CONFIG', `there is only one of ${certFile} and ${keyFile}: `
      + 'put the other there, or use another directory for a new CA')
  }
  try {
    const certificate = new X509Certificate(cert)
    const privateKey = createPrivateKey(key)
    if (!new NodeCertificate(cert).checkPrivateKey(privateKey)) {
      throw new TailgateError('E_CONFIG', `${keyFile} is not the key of ${certFile}`)
    }
    if (now > certificate.notAfter) {
      throw new TailgateError('E_CONFIG', `the CA in ${certFile} ran out at `
        + `${certificate.notAfter.toISOString()}: use another directory for a new one`)
    }
    const der = privateKey.export({ format: 'der', type: 'pkcs8' })
    return { certificate, key: await webcrypto.subtle.importKey('pkcs8', der, algorithm, false, ['sign']) }
  } catch (cause) {
    if (cause instanceof TailgateError) throw cause
    throw new TailgateError('E_CONFIG', `the CA in ${out} cannot be used: ${messageOf(cause)}`, { cause })
  }
}

async function makeAuthority(out: string, validity: Validity): Promise<Authority> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const certificate = await X509CertificateGenerator.createSelfSigned({
    ...validity,
    serialNumber: serial(),
    name: caName,
    keys,
    signingAlgorithm: algorithm,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey)
    ]
  })
  await write(join(out, 'ca.key'), await privatePem(keys.privateKey), 0o600)
  await write(join(out, 'ca.crt'), `${certificate.toString('pem')}\n`, 0o644)
  return { certificate, key: keys.privateKey }
}

async function issue(out: string, name: string, authority: Authority, validity: Validity): Promise<void> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const certificate = await X509CertificateGenerator.create({
    ...validity,
    serialNumber: serial(),
    subject: `CN=${name}`,
    issuer: authority.certificate.subject,
    publicKey: keys.publicKey,
    signingKey: authority.key,
    signingAlgorithm: algorithm,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      // A gateway dials and an agent does both, so every certificate serves either way.
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
      new SubjectAlternativeNameExtension([{ type: 'dns', value: name }]),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
      await AuthorityKeyIdentifierExtension.create(authority.certificate)
    ]
  })
  await write(join(out, `${name}.key`), await privatePem(keys.privateKey), 0o600)
  await write(join(out, `${name}.crt`), `${certificate.toString('pem')}\n`, 0o644)
}

async function privatePem(key: webcrypto.CryptoKey): Promise<string> {
  return `${PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY')}\n`
}

/** RFC 5280, 4.1.2.2: positive, at most 20 bytes. */
function serial(): string {
  const bytes = randomBytes(16)
  bytes[0] = (bytes[0] ?? 0) & 0x3f | 0x40
  return bytes.toString('hex')
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new TailgateError('E_CONFIG', `${file} cannot be read: ${messageOf(cause)}`, { cause })
  }
}

/** Writes the file whole or not at all; nobody else can read a key, not for a moment. */
async function write(file: string, text: string, mode: number): Promise<void> {
  const draft = `${file}.${process.pid}.new`
  try {
    const handle = await open(draft, 'wx', mode)
    try {
      await handle.writeFile(text)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(draft, file)
  } catch (cause) {
    await rm(draft, { force: true })
    throw unwritable(file, cause)
  }
}

function unwritable(file: string, cause: unknown): TailgateError {
  return new TailgateError('E_DISK', `${file} cannot be written: ${messageOf(cause)}`, { cause })
}

function day(date: Date): string {
  return date.toISOString().slice(0, 10)
}
