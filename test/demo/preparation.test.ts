import t from 'tap'
import { againInPrivateNetwork } from '../../src/demo/private-network.ts'
import { prepareVirtualMachine } from '../../src/demo/qemu-stage.ts'
import { runProgram } from '../../src/demo/run-program.ts'
import { Newcomer } from './newcomer.ts'

const machine = ['qemu-system-x86', 'cpio', 'iproute2', 'nftables', 'libpcap0.8']
const compiler = ['build-essential', 'python3', 'libpcap-dev']
const guestIsMade = [/^said: the guest's kernel and file system, /, 'build.sh']

void t.test('a machine with nothing: packages and then addons, each said before', async (t) => {
  const newcomer = new Newcomer(t)
  await prepareVirtualMachine(newcomer.say, newcomer.root)
  const all = [...machine, ...compiler].join(' ')
  const got = 'npm install --no-save --include=optional --ignore-scripts'
  t.match(newcomer.journal, [
    `said: installing Debian packages that are missing: apt-get install ${all}`,
    'apt-get update', `apt-get install ${all}`,
    `said: getting npm packages that are missing: ${got}`, got,
    'said: building npm packages that cannot be loaded: npm rebuild koffi raw-socket pcap',
    'npm rebuild koffi raw-socket pcap', ...guestIsMade
  ])
  t.equal(newcomer.journal.length, 9)
})

void t.test('addons that are there and were built for another Node are built again', async (t) => {
  const newcomer = new Newcomer(t)
  newcomer.has(...machine, 'build-essential', 'python3')
  newcomer.put('koffi', 'built')
  newcomer.put('raw-socket', 'not built')
  newcomer.put('pcap', 'not built')
  await prepareVirtualMachine(newcomer.say, newcomer.root)
  t.match(newcomer.journal, [
    /^said: /, 'apt-get update', 'apt-get install libpcap-dev',
    /^said: building /, 'npm rebuild raw-socket pcap', ...guestIsMade
  ])
  t.equal(newcomer.journal.length, 7)
})

void t.test('a machine with addons gets no compiler', async (t) => {
  const newcomer = new Newcomer(t)
  newcomer.has('cpio', 'iproute2', 'nftables', 'libpcap0.8')
  for (const name of ['koffi', 'raw-socket', 'pcap']) newcomer.put(name, 'built')
  await prepareVirtualMachine(newcomer.say, newcomer.root)
  t.match(newcomer.journal, [
    'said: installing Debian packages that are missing: apt-get install qemu-system-x86',
    'apt-get update', 'apt-get install qemu-system-x86', ...guestIsMade
  ])
})

void t.test('who is not root is told what to install', async (t) => {
  const newcomer = new Newcomer(t)
  newcomer.has(...machine)
  process.getuid = () => 1000
  await t.rejects(prepareVirtualMachine(newcomer.say, newcomer.root), {
    code: 'E_ENGINE', message: `as root, install what is missing: apt-get install ${compiler.join(' ')}`
  })
  t.same(newcomer.journal, [''], 'nothing was done')
})

void t.test('a step that fails says why, and what to do', async (t) => {
  const newcomer = new Newcomer(t)
  const prepare = (): Promise<void> => prepareVirtualMachine(newcomer.say, newcomer.root)
  newcomer.program('apt-get', 'echo "E: no network" >&2; exit 100')
  await t.rejects(prepare(), {
    code: 'E_ENGINE',
    message: /^apt-get update failed: E: no network; mend that and run apt-get install qemu-/
  })
  newcomer.has(...machine, 'python3', 'libpcap-dev')
  newcomer.program('apt-get', '')
  await t.rejects(prepare(), {
    code: 'E_ENGINE',
    message: /^npm packages cannot be built: gyp ERR! there is no compiler; mend that and run, in /
  })
  newcomer.program('npm', '')
  await t.rejects(prepare(), {
    code: 'E_ENGINE',
    message: /^the npm package koffi cannot be loaded: Error: .*; in \/.*, run npm install koffi && /
  })
  newcomer.program('dpkg-query', 'exit 2')
  await t.rejects(prepare(), { code: 'E_ENGINE', message: /; this needs a Debian machine$/ })
})

void t.test('a step that does not come to an end is ended', async (t) => {
  const endless = {
    what: 'apt-get update failed', program: 'sh', args: ['-c', 'exec tail -f /dev/null'], limitMs: 20,
    remedy: 'wait'
  }
  await t.rejects(runProgram(endless), {
    code: 'E_TIMEOUT', message: 'apt-get update failed: it took longer than 20 ms; wait'
  })
  t.equal(await runProgram({ ...endless, args: ['-c', 'cat; echo ended'], limitMs: 60_000 }), 'ended\n',
    'what asks for input is told that there is none')
})

void t.test("in the network of its own there are the system's programs", async (t) => {
  const newcomer = new Newcomer(t)
  newcomer.program('unshare', 'echo "$PATH" >>"$NEWCOMER/journal"')
  process.env.PATH = (process.env.PATH ?? '').replace(/:[^:]*\/sbin/g, '')
  t.equal(await againInPrivateNetwork(), 0)
  t.match(newcomer.journal[0], /:\/usr\/sbin/)
})
