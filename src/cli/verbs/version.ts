import { version as tailgateVersion } from '../../base/version.ts'
import type { Verb } from '../verb.ts'

export const version: Verb = {
  name: 'version',
  summary: 'show the version',
  usage: ['version'],
  details: '',
  options: {},
  words: { least: 0, most: 0 },
  run: async (_given, output) => {
    output.out(`tailgate ${tailgateVersion}, node ${process.version}\n`)
    return Promise.resolve(0)
  }
}
