import { certs as makeCertificates } from '../certs.ts'
import { usageError } from '../parse.ts'
import type { Verb } from '../verb.ts'

export const certs: Verb = {
  name: 'certs',
  summary: 'make the certificates by which gateways and agents know each other',
  usage: ['certs --out DIR [--days N] NAME...'],
  details: 'Makes a CA in DIR, unless it has one, and a certificate and a key for each NAME: the names of '
    + 'gateways\n'
    + 'and agents, as in their configurations.',
  options: {
    out: { value: 'DIR', doc: 'Where the files go; made if it is not there.' },
    days: { value: 'N', doc: 'How long the certificates are valid; ten years unless given.' }
  },
  words: { least: 0, most: 1000 },
  async run(given, output) {
    const out = given.value('out')
    if (out === undefined) throw usageError(certs, 'where to? Name a directory with --out DIR')
    const days = given.value('days')
    if (days !== undefined && !/^[1-9]\d{0,4}$/.test(days)) {
      throw usageError(certs, '--days is a whole number of at most 99999')
    }
    await makeCertificates({
      out,
      names: given.positionals,
      ...(days === undefined ? {} : { days: Number(days) }),
      print: (line) => output.out(`${line}\n`)
    })
    return 0
  }
}
