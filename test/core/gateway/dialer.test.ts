import t from 'tap'
import { connectionId } from '../../../src/core/ids.ts'
import type { LogRecord } from '../../../src/core/record.ts'
import { adopt, connected, data, open } from './log-text.ts'
import { failOver, guarded, serving, tail } from './scenes.ts'

const address = '10.0.0.9:40001'
/** As the log tells it, of a client that need not be there any more. */
const of = (record: LogRecord): LogRecord => ({ ...record, client: address }) as LogRecord

void t.test('the guest is dialed for a client with its address', t => {
  const rig = serving()
  rig.comes()
  t.equal(rig.dialers.get(connectionId(1)), '10.0.0.1:1000')
  t.end()
})

void t.test('a replayed connection is opened anew for the client that the log names', t => {
  const rig = guarded()
  const pairs = [rig.joins(), rig.joins()]
  for (const { client } of pairs) client.says('question')
  pairs[1]?.client.resets()
  rig.acks()
  failOver(rig, 'attach')
  rig.dialers.clear()
  tail(rig, of(adopt(1, 0, '', false)), of(open(2)))
  rig.knowsNot(1)
  tail(rig, connected(1), connected(2), data(1, 'question'), data(2, 'question'))
  for (const id of [1, 2]) rig.takes(id)
  t.same([...rig.dialers], [[connectionId(1), address], [connectionId(2), address]])
  t.end()
})
