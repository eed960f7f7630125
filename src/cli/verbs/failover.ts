import { askFailover, askPlan } from '../../observe/admin-client.ts'
import { failoverText, renderPlan } from '../../observe/status-text.ts'
import { adminOptions, adminSocketOf } from '../admin-socket.ts'
import { usageError } from '../parse.ts'
import type { Arguments, Output, Verb } from '../verb.ts'

/** A failover's own limits (fence, lease, promote, replay) end it long before, unless all are raised. */
const failoverTimeoutMs = 30 * 60_000

export const failover: Verb = {
  name: 'failover',
  summary: 'move a guest to its backup now',
  usage: ['failover GUEST -c FILE | --admin SOCKET [--plan] [--accept-loss] [--json]'],
  details: 'Returns when the guest serves again. With --plan nothing is done, and the exit status is 0 if '
    + 'it\n'
    + 'could be done now.',
  options: {
    ...adminOptions,
    plan: { doc: 'Only show what would be restored, replayed and reset.' },
    'accept-loss': { doc: 'Even if answered requests are lost: the newest checkpoint, every connection '
      + 'reset.' },
    json: { doc: 'As one line of JSON (docs/STATUS.md).' }
  },
  words: { least: 0, most: 1 },
  async run(given, output) {
    const [guest] = given.positionals
    if (guest === undefined) throw usageError(failover, 'which guest? Name it after the verb')
    if (given.has('plan') && given.has('accept-loss')) {
      throw usageError(failover, '--plan does nothing, so there is no loss to accept')
    }
    const socket = adminSocketOf(given, failover)
    return given.has('plan') ? plan(socket, guest, given, output) : move(socket, guest, given, output)
  }
}

async function plan(socket: string, guest: string, given: Arguments, output: Output): Promise<number> {
  const answer = await askPlan(socket, guest)
  output.out(given.has('json') ? `${JSON.stringify(answer)}\n` : renderPlan(answer))
  return answer.blockers.some(({ kind }) => kind !== 'wait') ? 1 : 0
}

async function move(socket: string, guest: string, given: Arguments, output: Output): Promise<number> {
  const request = { guest, acceptLoss: given.has('accept-loss') }
  const answer = await askFailover(socket, request, failoverTimeoutMs)
  output.out(given.has('json') ? `${JSON.stringify(answer)}\n`
    : `${answer.guest}: generation ${answer.generation}, ${failoverText(answer.failover)}\n`)
  return 0
}
