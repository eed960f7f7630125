import { spawnSync } from 'node:child_process'
import type { Test } from 'tap'

const inside = 'TAILGATE_TEST_NAMESPACE'

/**
 * Runs a test file in a network namespace of its own, where it may do as root does, whoever runs it. True in
 * there: the caller goes on. Outside, the file is run once more in there, as one test of `t`. Where the
 * machine does not allow that, the test is skipped; in CI (environment CI=true) it fails.
 */
export function inNamespace(t: Test, file: string): boolean {
  if (process.env[inside] === 'yes') {
    run('ip', 'link', 'set', 'lo', 'up')
    return true
  }
  const tried = spawnSync('unshare', ['-Urn', 'ip', 'link'], { encoding: 'utf8' })
  if (tried.status === 0) {
    const args = ['-Urn', process.execPath, '--import=tsx', file]
    void t.spawn('unshare', args, { env: { ...process.env, [inside]: 'yes' } })
    return false
  }
  const why = tried.error?.message ?? tried.stderr.trim()
  const reason = `no network namespace can be made here (Debian packages util-linux, iproute2): ${why}`
  if (process.env.CI === 'true') t.fail(reason)
  else t.pass('needs a network namespace', { skip: reason })
  return false
}

/** Runs a program to its end; throws what it said if it fails. */
export function run(program: string, ...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${error?.message ?? stderr}`)
  return stdout
}
