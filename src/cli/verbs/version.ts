import { readFileSync } from 'node:fs'
import type { Verb } from '../verb.ts'

export const version: Verb = {
  name: 'version',
  summary: 'show the version',
  usage: ['version'],
  details: '',
  options: {},
  words: { least: 0, most: 0 },
  run: async (_given, output) => {
    output.out(`tailgate ${packageVersion()}, node ${process.version}\n`)
    return Promise.resolve(0)
  }
}

/** The version in package.json, which lies at the same height above src/ and dist/. */
function packageVersion(): string {
  const manifest = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(manifest) as { version: string }).version
}
