import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { Scene } from './ethernet.ts'

/**
 * An agent's part of a guest's network in a process of its own; the guest is ours, and has a
 * device of Xen if `vif` names one.
 */
export async function holder(t: Test, scene: Scene, leaseMs: number, vif?: string): Promise<ChildProcess> {
  await scene.network.close()
  const words = vif === undefined ? [] : [vif]
  const child = fork(fileURLToPath(new URL('lease-holder.ts', import.meta.url)), words, {
    execArgv: process.execArgv, detached: true
  })
  t.teardown(() => signalAll(child, 'SIGKILL'))
  child.send(leaseMs)
  await once(child, 'message')
  return child
}

/** To a process and to what it has started. */
export function signalAll(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    process.kill(-(child.pid ?? 0), signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
