import t from 'tap'
import { InvariantError } from '../../src/base/invariant.ts'
import type { ConnectionEnd, EndMoment } from '../../src/observe/connection-log.ts'
import {
  codeOf, endedBy, endedIn, logConnectionEnd, terminationCode, terminationCodes
} from '../../src/observe/connection-log.ts'
import type { LogEventFields, LogEventName } from '../../src/observe/log-events.ts'
import type { Logger } from '../../src/observe/logger.ts'

const open: EndMoment = { connected: true, replaying: false, held: false, closing: false, clientFirst: false }

const end: ConnectionEnd = {
  guest: 'shop', service: 'redis', connection: 4711, client: '192.0.2.7:51034', end: 'C-', acceptedAt: 1000,
  connectedAt: 1000.44, firstByteAt: 1001.9, endedAt: 61_213.7, inputBytes: 52_133, outputBytes: 918_224,
  firstGeneration: 2, lastGeneration: 3, replayed: true
}

function recorder(enabled: boolean) {
  const lines: [LogEventName, unknown][] = []
  const logger: Logger = {
    event: <E extends LogEventName>(event: E, fields: LogEventFields<E>) => { lines.push([event, fields]) },
    enabled: () => enabled, droppedLines: 0, flush: () => undefined
  }
  return { lines, logger }
}

void t.test('the codes are all pairs, with - only where an end can be in good order', t => {
  t.equal(terminationCodes.length, 2 + Object.keys(endedBy).length * (Object.keys(endedIn).length - 1))
  t.equal(new Set(terminationCodes).size, terminationCodes.length)
  t.same(terminationCodes.filter(code => code.endsWith('-')), ['C-', 'S-'])
  t.equal(terminationCode('C', '-'), 'C-')
  t.equal(terminationCode('D', 'R'), 'DR')
  t.throws(() => terminationCode('G', '-'), InvariantError)
  t.end()
})

void t.test('every end that the core reports has its code', t => {
  t.equal(codeOf('finished', { ...open, closing: true, clientFirst: true }), 'C-')
  t.equal(codeOf('finished', { ...open, closing: true }), 'S-')
  t.equal(codeOf('client-reset', open), 'CD')
  t.equal(codeOf('client-reset', { ...open, connected: false }), 'CC')
  t.equal(codeOf('client-reset', { ...open, held: true, closing: true }), 'CH', 'held counts before closing')
  t.equal(codeOf('guest-refused', { ...open, connected: false }), 'SC')
  t.equal(codeOf('guest-reset', { ...open, closing: true }), 'SL')
  t.equal(codeOf('diverged', { ...open, replaying: true, held: true }), 'DR', 'replay counts before all')
  t.equal(codeOf('reset-all', open), 'DD')
  t.equal(codeOf('ambiguous', { ...open, replaying: true }), 'FR')
  t.equal(codeOf('lost', open), 'FD')
  t.equal(codeOf('shutdown', open), 'GD')
  t.end()
})

void t.test('the line has timers from the accept, rounded to a tenth of a millisecond', t => {
  const { lines, logger } = recorder(true)
  logConnectionEnd(logger, end)
  t.same(lines, [['connection.end', {
    guest: 'shop', service: 'redis', connection: 4711, client: '192.0.2.7:51034', end: 'C-', connectMs: 0.4,
    firstByteMs: 1.9, totalMs: 60_213.7, inputBytes: 52_133, outputBytes: 918_224, generation: 3,
    generations: 2, replayed: true
  }]])
  t.end()
})

void t.test('what never happened is null, and a log that is off costs nothing', t => {
  const { lines, logger } = recorder(true)
  logConnectionEnd(logger, { ...end, connectedAt: undefined, firstByteAt: undefined })
  t.match(lines, [['connection.end', { connectMs: null, firstByteMs: null }]])
  const off = recorder(false)
  logConnectionEnd(off.logger, end)
  t.same(off.lines, [])
  t.end()
})
