import { accessSync, constants, existsSync, readdirSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { Test } from 'tap'

/** The Debian package of each program that a test may ask for. */
const packages: Readonly<Record<string, string>> = {
  'redis-server': 'redis-server',
  'redis-cli': 'redis-tools',
  'redis-benchmark': 'redis-tools',
  nginx: 'nginx-light',
  wrk: 'wrk',
  ab: 'apache2-utils',
  postgres: 'postgresql',
  initdb: 'postgresql',
  psql: 'postgresql',
  pgbench: 'postgresql',
  haproxy: 'haproxy',
  curl: 'curl',
  openssl: 'openssl',
  shellcheck: 'shellcheck',
  promtool: 'prometheus',
  ip: 'iproute2',
  nft: 'nftables',
  iptables: 'iptables',
  conntrack: 'conntrack',
  unshare: 'util-linux',
  nsenter: 'util-linux',
  'qemu-system-x86_64': 'qemu-system-x86',
  'qemu-img': 'qemu-utils',
  libvirtd: 'libvirt-daemon',
  virsh: 'libvirt-clients',
  cpio: 'cpio',
  mke2fs: 'e2fsprogs'
}

/** Where Debian puts programs that are not in everybody's PATH. */
const moreDirectories = ['/usr/sbin', '/usr/local/sbin', '/sbin', ...postgresqlDirectories()]

/**
 * The path of a program that is not ours. Where the machine does not have it, the test `t` is skipped with
 * the reason and the package to install, and undefined is returned: the test returns at once. In CI
 * (environment CI=true), where everything is installed, its absence is a failure.
 */
export function requires(t: Test, program: string): string | undefined {
  const found = pathOf(program)
  if (found !== undefined) return found
  const reason = `no ${program} on this machine (Debian package ${packages[program] ?? program})`
  if (process.env.CI === 'true') t.fail(reason)
  else t.pass(`needs ${program}`, { skip: reason })
  return undefined
}

/** As {@link requires}, for the rights of root. False: the test returns at once. */
export function requiresRoot(t: Test): boolean {
  if (process.getuid?.() === 0) return true
  if (process.env.CI === 'true') t.fail('not root')
  else t.pass('needs the rights of root', { skip: 'only root makes network namespaces here' })
  return false
}

/** The server programs of PostgreSQL, newest version first; `psql` and `pgbench` are linked into /usr/bin. */
function postgresqlDirectories(): readonly string[] {
  const root = '/usr/lib/postgresql'
  if (!existsSync(root)) return []
  const versions = readdirSync(root).toSorted((a, b) => Number(b) - Number(a))
  return versions.map((version) => join(root, version, 'bin'))
}

function pathOf(program: string): string | undefined {
  const directories = [...(process.env.PATH ?? '').split(delimiter), ...moreDirectories]
  return directories.map((directory) => join(directory, program)).find(isExecutable)
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}
