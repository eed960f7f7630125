import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

interface LockedPackage {
  readonly dev?: boolean
  readonly devOptional?: boolean
}

/**
 * What Tailgate needs to run elsewhere: the built program and the packages it depends on, below `root`; and
 * what operators are given.
 */
export function runtimeFiles(): { readonly root: string, readonly files: readonly string[] } {
  const root = fileURLToPath(new URL('../..', import.meta.url))
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    readonly packages: Readonly<Record<string, LockedPackage>>
  }
  const packages = Object.entries(lock.packages)
    // A package within another one comes with it.
    .filter(([path, { dev }]) => /^node_modules\/(@[^/]+\/)?[^/]+$/.test(path) && dev !== true)
    .map(([path]) => path)
    // Those for other systems are not there.
    .filter((path) => existsSync(join(root, path)))
  return { root, files: ['package.json', 'dist', 'deploy', ...packages] }
}
