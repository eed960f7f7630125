import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import t, { type Test } from 'tap'
import { GcWatch } from '../../bench/latency/gc-watch.ts'

function started(t: Test, program: string, args: readonly string[]): ChildProcess {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  t.teardown(() => { child.kill('SIGKILL') })
  return child
}

void t.test('the pauses of a process are told since it was last asked', async (t) => {
  const before = process.env.NODE_OPTIONS
  const watch = await GcWatch.prepare()
  const collects = 'for (let n = 0; n < 5; n++) gc()\nprocess.stdout.write("done")\nprocess.stdin.resume()'
  const child = started(t, process.execPath, ['--expose-gc', '-e', collects])
  const other = started(t, 'cat', [])
  t.ok(child.stdout !== null)
  if (child.stdout !== null) await once(child.stdout, 'data')
  const first = await watch.take(child.pid)
  t.ok(first !== undefined && first.pauses >= 5 && first.longestMs > 0, JSON.stringify(first))
  const second = await watch.take(child.pid)
  t.ok(second !== undefined && second.pauses < 5, JSON.stringify(second))
  t.equal(await watch.take(undefined), undefined)
  t.equal(await watch.take(other.pid), undefined, 'what is no Node process is not asked')
  t.equal(other.exitCode ?? other.signalCode, null, 'and lives on')
  await watch.end()
  t.equal(process.env.NODE_OPTIONS, before)
})
