import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { TailgateError, messageOf } from '../base/errors.ts'

/** Where the three files are. */
export interface TlsPaths {
  readonly ca: string
  readonly cert: string
  readonly key: string
}

/** What one side needs to prove its name and to check the other's. Read and checked once. */
export interface TlsMaterial {
  readonly ca: string
  readonly cert: string
  readonly key: string
  /** The first certificate in the file `cert`. */
  readonly certificate: X509Certificate
  readonly paths: TlsPaths
  /** When the first of our certificates runs out. */
  readonly validTo: Date
}

/**
 * Reads certificate, key and CA. E_CONFIG names the file and what is wrong with it: not there, not readable,
 * no PEM, not yet or no longer valid, a key of another certificate, a certificate of another CA.
 */
export async function loadTlsMaterial(paths: TlsPaths, now: Date = new Date()): Promise<TlsMaterial> {
  const [ca, cert, key] = await Promise.all([readPem(paths.ca), readPem(paths.cert), readPem(paths.key)])
  const authorities = certificatesIn(ca, paths.ca)
  const chain = certificatesIn(cert, paths.cert)
  const certificate = chain[0]
  const privateKey = privateKeyIn(key, paths.key)
  for (const authority of authorities) checkValidity(authority, paths.ca, now)
  checkValidity(certificate, paths.cert, now)
  if (!certificate.checkPrivateKey(privateKey)) {
    throw faulty(paths.key, `is not the key of the certificate in ${paths.cert}`)
  }
  if (chain.length === 1 && !authorities.some(authority => issued(authority, certificate))) {
    throw faulty(paths.cert, `was not issued by the CA in ${paths.ca}`)
  }
  const ends = [certificate, ...authorities].map(each => Date.parse(each.validTo))
  return { ca, cert, key, certificate, paths, validTo: new Date(Math.min(...ends)) }
}

/** Whether `certificate` is for `name`, by its subject or one of its alternative names; no wildcards. */
export function certifies(certificate: X509Certificate, name: string): boolean {
  return certificate.checkHost(name, { subject: 'always', wildcards: false }) !== undefined
}

/** Throws E_CONFIG unless our own certificate is for the name that we go by. */
export function checkOwnName(material: TlsMaterial, name: string): void {
  if (certifies(material.certificate, name)) return
  const { certificate, paths } = material
  throw faulty(paths.cert, `is for ${namesIn(certificate)}, and this side is called ${name}`)
}

/** The names a certificate is for, for messages. */
export function namesIn(certificate: X509Certificate): string {
  const subject = certificate.subject.replaceAll('\n', ', ')
  return certificate.subjectAltName === undefined ? subject : `${subject} (${certificate.subjectAltName})`
}

function issued(authority: X509Certificate, certificate: X509Certificate): boolean {
  return certificate.checkIssued(authority) && certificate.verify(authority.publicKey)
}

async function readPem(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    throw faulty(file, `cannot be read: ${messageOf(cause)}`, cause)
  }
}

function certificatesIn(pem: string, file: string): [X509Certificate, ...X509Certificate[]] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  const [first, ...others] = blocks.map(block => certificateIn(block, file))
  if (first === undefined) throw faulty(file, 'holds no certificate in PEM form')
  return [first, ...others]
}

function certificateIn(block: string, file: string): X509Certificate {
  try {
    return new X509Certificate(block)
  } catch (cause) {
    throw faulty(file, `holds a certificate that cannot be read: ${messageOf(cause)}`, cause)
  }
}

function privateKeyIn(pem: string, file: string): KeyObject {
  try {
    return createPrivateKey(pem)
  } catch (cause) {
    throw faulty(file, `holds no private key in PEM form: ${messageOf(cause)}`, cause)
  }
}

function checkValidity(certificate: X509Certificate, file: string, now: Date): void {
  const from = new Date(certificate.validFrom)
  const to = new Date(certificate.validTo)
  const what = namesIn(certificate)
  if (now < from) {
    throw faulty(file, `is not valid before ${from.toISOString()} (${what}), and it is ${now.toISOString()}`)
  }
  if (now > to) {
    throw faulty(file, `ran out at ${to.toISOString()} (${what}); make a new one with \`tailgate certs\``)
  }
}

function faulty(file: string, what: string, cause?: unknown): TailgateError {
  return new TailgateError('E_CONFIG', `${file} ${what}`, { cause, context: { file } })
}
