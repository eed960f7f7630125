import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import { ownLock } from '../../src/engine/xl-lock.ts'
import { requires, requiresRoot } from '../requires.ts'

// An xl with a lock of its own. Other programs stand in for it; its own lock is by the file, too.

interface Made {
  readonly directory: string
  /** The lock of everybody else. */
  readonly lock: string
  readonly command: readonly string[]
}

/** With a configuration of xl that says these lines, in which LOCK is a path. */
async function made(t: Test, lines: string): Promise<Made> {
  const directory = mkdtempSync(join(tmpdir(), 'tg-lock-'))
  t.teardown(() => { rmSync(directory, { recursive: true }) })
  const [lock, configuration] = [join(directory, 'lock'), join(directory, 'xl.conf')]
  writeFileSync(configuration, lines.replaceAll('LOCK', lock))
  return { directory, lock, command: await ownLock(join(directory, 'guest'), configuration) }
}

function mayMount(t: Test): boolean {
  return requiresRoot(t) && requires(t, 'unshare') !== undefined
}

const comments = '# lockfile="/nowhere/else"\nautoballoon="off"\n'

void t.test("who holds it does not hold everybody's", async (t) => {
  if (!mayMount(t)) return
  const { lock, command } = await made(t, `${comments}lockfile="/nowhere"\n  lockfile = 'LOCK'\n`)
  const [program, ...words] = [...command, 'flock', lock, 'sh', '-c', 'echo held; read -r _']
  const holder = spawn(program, words, { stdio: ['pipe', 'pipe', 'inherit'] })
  t.equal(String((await once(holder.stdout, 'data'))[0]), 'held\n')
  execFileSync('flock', ['--nonblock', lock, 'true'])
  t.notOk(readFileSync('/proc/self/mounts', 'utf8').includes(lock), 'nobody else sees the mount')
  t.ok(readFileSync(`/proc/${holder.pid ?? 0}/mounts`, 'utf8').includes(lock))
  holder.stdin.end()
  await once(holder, 'exit')
})

void t.test('it ends with whoever has started it', async (t) => {
  if (!mayMount(t)) return
  const { command } = await made(t, "lockfile='LOCK'\n")
  const lasting = ['sh', '-c', 'echo up; exec sleep infinity']
  const child = ['setpriv', '--pdeathsig', 'KILL', '--', ...command, ...lasting]
  const parent = spawn('sh', ['-c', '"$@" & read -r _', 'sh', ...child], {
    stdio: ['pipe', 'pipe', 'inherit']
  })
  const said: Readable = parent.stdout
  t.equal(String((await once(said, 'data'))[0]), 'up\n')
  parent.kill('SIGKILL')
  await once(said, 'close')
  t.pass('nobody has its output any more')
})

void t.test('where nothing can be mounted nothing is run', async (t) => {
  if (!mayMount(t)) return
  const { directory, lock, command } = await made(t, "lockfile='LOCK'\n")
  rmSync(lock)
  const [program, ...words] = [...command, 'touch', join(directory, 'ran')]
  const { status, stderr } = spawnSync(program, words, { encoding: 'utf8' })
  t.equal(status, 1)
  t.match(stderr.trim().split('\n').at(-1), `cannot have a lock of its own in the place of ${lock}`)
  t.notOk(existsSync(join(directory, 'ran')))
})

void t.test('a lock that cannot be made is an error', async (t) => {
  await t.rejects(made(t, "lockfile='LOCK/of/none'\n"), { code: 'E_ENGINE', message: /lock of xl/ })
})
