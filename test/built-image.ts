import { execFile } from 'node:child_process'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/**
 * Builds an image by the script at `path` of the repository into the directory `name` of the user's cache, or
 * finds it built: its directory.
 */
export async function builtImage(path: string, name: string): Promise<string> {
  const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache')
  const script = fileURLToPath(new URL(`../${path}`, import.meta.url))
  const { stdout } = await promisify(execFile)(script, [join(cache, name)])
  return stdout.trim()
}
