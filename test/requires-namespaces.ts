import { spawnSync } from 'node:child_process'
import type { Test } from 'tap'
import { requires } from './requires.ts'

/** What a test of networks needs beside network namespaces; each is asked for with its Debian package. */
const programs = ['ip', 'nft', 'unshare'] as const

/**
 * Whether this machine lets us make network namespaces with tap devices in them: as root, or as a user who
 * may have user namespaces. If not, `t` is skipped with the reason, and fails in CI (test/requires.ts).
 */
export function requiresNamespaces(t: Test): boolean {
  if (!programs.every((program) => requires(t, program) !== undefined)) return false
  const probe = 'test -w /dev/net/tun && ip link add probe type bridge && nft list tables'
  const path = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`
  const { status, stderr } = spawnSync('unshare', ['-rn', 'sh', '-c', probe], {
    encoding: 'utf8', env: { ...process.env, PATH: path }
  })
  if (status === 0) return true
  const reason = `no network namespaces with tap devices on this machine: ${stderr.trim()}`
  if (process.env.CI === 'true') t.fail(reason)
  else t.pass('needs network namespaces', { skip: reason })
  return false
}
