import { askStatus } from '../../observe/admin-client.ts'
import { renderStatus } from '../../observe/status-text.ts'
import { adminOptions, adminSocketOf } from '../admin-socket.ts'
import type { Verb } from '../verb.ts'

export const status: Verb = {
  name: 'status',
  summary: 'show whether each guest is protected, and if not, why and what to do',
  usage: ['status -c FILE | --admin SOCKET [--json]'],
  details: '',
  options: { ...adminOptions, json: { doc: 'As one line of JSON (docs/STATUS.md).' } },
  words: { least: 0, most: 0 },
  async run(given, output) {
    const answer = await askStatus(adminSocketOf(given, status))
    output.out(given.has('json') ? `${JSON.stringify(answer)}\n` : renderStatus(answer))
    return 0
  }
}
