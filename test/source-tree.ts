import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The project's directory. */
export const root = fileURLToPath(new URL('..', import.meta.url))

/** Paths, from the project's directory, of all files with this ending under `directory`. */
export function filesUnder(directory: string, ending: string): readonly string[] {
  return readdirSync(join(root, directory), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(ending))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .toSorted()
}

export function textOf(file: string): string {
  return readFileSync(join(root, file), 'utf8')
}

/** What a module imports: our files as paths from the project's directory, everything else as it is named. */
export function importsOf(file: string, text: string): readonly string[] {
  const statement = /^(?:import|export)\s(?:[^'"`;]*?\sfrom\s)?\s*'([^']+)'|\bimport\(\s*'([^']+)'\s*\)/gm
  return [...text.matchAll(statement)].map(([, named = '', dynamic = '']) => {
    const target = named === '' ? dynamic : named
    return target.startsWith('.') ? normalize(join(dirname(file), target)) : target
  })
}

/** The files of one circle of imports, the first one also at its end; undefined if there is none. */
export function circleIn(graph: ReadonlyMap<string, readonly string[]>): readonly string[] | undefined {
  const finished = new Set<string>()
  const trail: string[] = []
  const walk = (file: string): readonly string[] | undefined => {
    if (trail.includes(file)) return [...trail.slice(trail.indexOf(file)), file]
    if (finished.has(file)) return undefined
    trail.push(file)
    for (const next of graph.get(file) ?? []) {
      const circle = walk(next)
      if (circle !== undefined) return circle
    }
    trail.pop()
    finished.add(file)
    return undefined
  }
  for (const file of graph.keys()) {
    const circle = walk(file)
    if (circle !== undefined) return circle
  }
  return undefined
}
