import { join } from 'node:path'
import t, { type Test } from 'tap'
import { InvariantError } from '../../src/base/invariant.ts'
import { exitStatus, faultLine, verbNames } from '../../src/cli/command-line.ts'
import { directoryWith, tailgate } from './tailgate.ts'

const plainGateway = 'name: gw1\nstate_dir: s\n'
  + 'guests: [{ name: a, services: [{ name: w, listen: "*:80", to: "a:81" }] }]\n'

/** A command line that is wrong: status 2, one line, nothing on the standard output. */
async function refused(t: Test, args: readonly string[], why: RegExp): Promise<void> {
  const { status, out, error } = await tailgate(...args)
  t.equal(status, exitStatus.usage, args.join(' '))
  t.equal(out, '')
  t.match(error, /^tailgate: E_USAGE: [^\n]+\n$/)
  t.match(error, why)
}

void t.test('help names every verb, and each verb has help of its own', async (t) => {
  const overview = await tailgate('help')
  t.equal(overview.status, 0)
  t.same(await tailgate('--help'), overview)
  t.same(await tailgate('help', 'help'), overview)
  for (const verb of verbNames.filter((name) => name !== 'help')) {
    t.match(overview.out, new RegExp(`^  ${verb} +\\w`, 'm'))
    const help = await tailgate('help', verb)
    t.match(help, { status: 0, error: '', out: `usage: tailgate ${verb}` })
    t.match(help.out, /^ {2}-h, --help /m)
    t.same(await tailgate(verb, '--help'), help)
    t.same(await tailgate(verb, '-h', 'surplus'), help, 'a person who asks for help gets it')
  }
})

void t.test('no verb at all shows the overview as an error', async (t) => {
  const { status, out, error } = await tailgate()
  t.equal(status, exitStatus.usage)
  t.equal(out, '')
  t.equal(error, (await tailgate('help')).out)
})

void t.test('wrong command lines', async (t) => {
  await refused(t, ['chekc'], /unknown verb 'chekc'; did you mean 'check'\? \(see tailgate help\)/)
  await refused(t, ['constructor'], /unknown verb 'constructor'/)
  await refused(t, ['help', 'x'], /unknown verb 'x'/)
  await refused(t, ['help', 'check', 'status'], /unexpected word 'status'/)
  await refused(t, ['check', '--pritn'], /unknown option '--pritn'; did you mean '--print'\?/)
  await refused(t, ['check', '-x'], /unknown option '-x'/)
  await refused(t, ['check', '--toString'], /unknown option '--toString'/)
  await refused(t, ['check', '--print=yes'], /--print takes no value/)
  await refused(t, ['check', '-c'], /--config needs a value: FILE/)
  await refused(t, ['check', '--config='], /--config needs a value: FILE/)
  await refused(t, ['check', 'file.yaml'], /unexpected word 'file.yaml'/)
  await refused(t, ['check'], /no file is named/)
  await refused(t, ['check', '--keys', 'xen'], /a gateway or an agent/)
  await refused(t, ['agent'], /no file is named/)
  await refused(t, ['log'], /log verify DIR or log dump DIR/)
  await refused(t, ['log', 'dump'], /which log\?/)
  await refused(t, ['gateway'], /no file is named/)
  await refused(t, ['status'], /which gateway\?/)
  await refused(t, ['failover', '--admin', '/x'], /which guest\?/)
  await refused(t, ['failover', 'shop'], /which gateway\?/)
  await refused(t, ['failover', 'shop', '--admin', '/x', '--plan', '--accept-loss'], /no loss to accept/)
  await refused(t, ['certs', 'gw1'], /where to\?/)
  await refused(t, ['certs', 'gw1', '--out', '/x', '--days', 'ten'], /--days is a whole number/)
})

void t.test('check says that a file is right', async (t) => {
  const file = join(directoryWith(t, { 'gw.yaml': plainGateway }), 'gw.yaml')
  t.same(await tailgate('check', '-c', file), { status: 0, out: `${file}: OK, gateway 'gw1'\n`, error: '' })
  const printed = await tailgate('check', '-c', file, '--print')
  t.match(printed, { status: 0, error: '', out: /^name: gw1\n[^]*\n {2}held: 64MiB\n/ })
})

void t.test('check reports every error with its place, and nothing else', async (t) => {
  const file = join(directoryWith(t,
    { 'gw.yaml': plainGateway.replace('name: gw1', 'nam: gw1\nmetrics: x') }),
    'gw.yaml')
  t.same(await tailgate('check', '-c', file), {
    status: 1,
    out: '',
    error: `${file}:1:1: unknown key 'nam'; did you mean 'name'?\n`
      + `${file}:1:1: the key 'name' is missing\n`
      + `${file}:2:10: 'x' must be an address such as 10.0.0.1:6379, [::1]:6379 or *:6379, with a port `
      + 'up to 65535\n'
  })
})

void t.test('check looks for the files that are named, unless told not to', async (t) => {
  const tls = 'tls: { ca: ca.crt, cert: gw1.crt, key: gw1.key }\n'
  const file = join(directoryWith(t, { 'gw.yaml': plainGateway + tls }), 'gw.yaml')
  t.match(await tailgate('check', '-c', file),
    { status: 1, error: /ca\.crt does not exist\n.*gw1\.crt.*\n.*gw1\.key.*\n$/ })
  t.match(await tailgate('check', '-c', file, '--no-files'), { status: 0 })
})

void t.test('a configuration that cannot be used stops every verb that needs it', async (t) => {
  const file = join(directoryWith(t, { 'gw.yaml': 'name: [\n', 'agent.yaml': 'link: "127.0.0.1:1"\n' }),
    'gw.yaml')
  for (const args of [['gateway', '-c', file], ['status', '-c', file], ['failover', 'shop', '-c', file]]) {
    const { status, error } = await tailgate(...args)
    t.equal(status, exitStatus.failed)
    t.match(error, new RegExp(`^${file}:\\d+:\\d+: .*\\ntailgate: E_CONFIG: ${file} has an error\\n$`))
  }
  t.match(await tailgate('gateway', '-c', join(file, '../agent.yaml')),
    { status: 1, error: /these are the keys of an agent file, and a gateway file is wanted/ })
  t.match(await tailgate('check', '-c', `${file}.not`),
    { status: 1, error: /^tailgate: E_CONFIG: .* cannot be read/ })
})

void t.test('check --keys prints the reference', async (t) => {
  const { status, out } = await tailgate('check', '--keys', 'agent')
  t.equal(status, 0)
  t.match(out, /^\| `data_dir` \| path \| required \| /m)
})

void t.test('version', async (t) => {
  const { out } = await tailgate('version')
  t.match(out, /^tailgate \d+\.\d+\.\d+, node v\d+/)
  t.equal((await tailgate('--version')).out, out)
})

void t.test('certs makes what a configuration needs', async (t) => {
  const tls = 'tls: { ca: ca.crt, cert: gw1.crt, key: gw1.key }\n'
  const directory = directoryWith(t, { 'gw.yaml': plainGateway + tls })
  t.match(await tailgate('certs', '--out', directory, '--days', '30', 'gw1'), { status: 0, error: '' })
  t.match(await tailgate('check', '-c', join(directory, 'gw.yaml')), { status: 0, error: '' })
})

void t.test('a fault of the program has status 70 and its trace', (t) => {
  const { line, status } = faultLine(new InvariantError('released <= committed', { released: 2n }))
  t.equal(status, 70)
  t.match(line,
    /^tailgate: ended by a broken invariant, .*: invariant broken: released <= committed {"released":"2"}\n/)
  t.match(line, /command-line\.test\.ts/)
  t.match(faultLine('text').line, /an error that nobody caught, a fault of the program: text\n$/)
  t.end()
})
