import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { BlackholeEngine, NoEngine } from '../../src/engine/blackhole.ts'
import { engineCompliance, take } from './compliance.ts'

const endpoints = ['127.0.0.1:6379']

engineCompliance(t, { name: 'blackhole', make: () => Promise.resolve(new BlackholeEngine({ endpoints })) })

/** A process that answers each byte with one. */
function echo(): ReturnType<typeof spawn> {
  const program = 'process.stdin.pipe(process.stdout)'
  return spawn(process.execPath, ['-e', program], { stdio: ['pipe', 'pipe', 'inherit'] })
}

void t.test('its processes stand still while the mark is exchanged', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'blackhole-'))
  const child = echo()
  t.teardown(() => {
    child.kill('SIGKILL')
    rmSync(directory, { recursive: true })
  })
  const heard: string[] = []
  child.stdout?.on('data', (bytes: Buffer) => heard.push(bytes.toString()))
  child.stdin?.write('a')
  await once(child.stdout ?? child, 'data')
  const file = join(directory, 'pid')
  writeFileSync(file, `${child.pid}\n`)
  const engine = new BlackholeEngine({ endpoints, pidFiles: [file] })
  await engine.start()
  const image = await take(engine, async () => {
    child.stdin?.write('b')
    for (let turn = 0; turn < 1000; turn++) await new Promise((resolve) => setImmediate(resolve))
    t.strictSame(heard, ['a'])
  })
  t.equal(image.length, 0)
  if (heard.length < 2) await once(child.stdout ?? child, 'data')
  t.strictSame(heard, ['a', 'b'])
  await t.rejects(take(engine, () => Promise.reject(new Error('no mark'))), { message: 'no mark' })
  child.stdin?.write('c')
  await once(child.stdout ?? child, 'data')
  t.equal(heard.at(-1), 'c', 'it runs on after a refused mark too')
  writeFileSync(file, 'nonsense')
  await t.rejects(take(engine), { code: 'E_ENGINE', message: /no process id/ })
  rmSync(file)
  await t.rejects(take(engine), { code: 'E_ENGINE', message: /cannot be read/ })
})

void t.test('a process that cannot be stopped is E_ENGINE', async (t) => {
  const child = echo()
  child.kill('SIGKILL')
  await once(child, 'close')
  const engine = new BlackholeEngine({ endpoints, pids: [child.pid ?? 0] })
  await engine.start()
  await t.rejects(take(engine), { code: 'E_ENGINE', message: /cannot be stopped/ })
})

void t.test('none', async (t) => {
  const engine = new NoEngine({ endpoints })
  t.notOk(engine.canRestore)
  await engine.start()
  t.strictSame(engine.endpoints, endpoints)
  t.equal(engine.condition, 'running')
  await t.rejects(take(engine as unknown as BlackholeEngine), { code: 'E_ENGINE', message: /'none'/ })
  await engine.stop()
  t.equal(engine.condition, 'absent')
})
