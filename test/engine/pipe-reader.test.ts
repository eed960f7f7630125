import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t from 'tap'

void t.test('a broken invariant ends the process, and not the stream alone', async (t) => {
  const program = fileURLToPath(new URL('breaking-reader.ts', import.meta.url))
  const child = spawn(process.execPath, ['--import=tsx', program], { stdio: ['pipe', 'inherit', 'inherit'] })
  t.teardown(() => { child.kill('SIGKILL') })
  child.stdin.on('error', () => undefined)
  child.stdin.write('x')
  const [status] = await once(child, 'exit') as [number | null]
  t.equal(status, 3)
})
