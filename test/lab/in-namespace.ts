import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { requiresNamespaces } from '../requires-namespaces.ts'

/**
 * Runs a file of cases in namespaces of its own: a network that it may change as it likes, and processes of
 * which none outlives it, however it ends. A user who is not root gets a user namespace for that.
 *
 * What it makes has no name outside: any number of them run at the same time, and nothing is to be removed.
 */
export async function runInNamespace(t: Test, cases: URL): Promise<void> {
  if (!requiresNamespaces(t)) return
  const user = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user']
  const namespaces = ['--net', '--pid', '--fork', '--mount-proc', '--kill-child=SIGKILL']
  const path = fileURLToPath(cases)
  // The first process of a namespace is given all orphans, and one that does not wait for them keeps the
  // namespaces below from ending. A shell does wait.
  const node = ['sh', '-c', '"$@"; exit $?', 'sh', process.execPath, ...process.execArgv, path]
  await t.spawn('unshare', [...user, ...namespaces, ...node], { name: path.split('/').at(-1) ?? path })
}
