import t from 'tap'
import { attribute, groupOf, withReads, type CpuProfile } from '../../bench/profile/attribution.ts'
import { parseProfile } from '../../bench/profile/probe.ts'

const frame = (functionName: string, url = '', lineNumber = -1) => ({ functionName, url, lineNumber })

void t.test('what a function\'s own time counts to', (t) => {
  t.equal(groupOf(frame('writeBuffer')), 'system calls')
  t.equal(groupOf(frame('write', 'file:///t/dist/net/handle-side.js', 3)), 'src/net')
  t.equal(groupOf(frame('pass', 'file:///t/dist/core/gateway/release-gate.js', 3)), 'src/core')
  t.equal(groupOf(frame('x', 'file:///home/src/me/dist/link/a.js', 3)), 'src/link')
  t.equal(groupOf(frame('onread', 'file:///t/src/net/handle-side.ts', 3)), 'src/net')
  t.equal(groupOf(frame('x', 'file:///t/node_modules/pino/src/link/y.js', 3)), 'other')
  t.equal(groupOf(frame('nextTick', 'node:internal/process/task_queues', 3)), 'node internals')
  t.equal(groupOf(frame('(garbage collector)')), 'garbage collection')
  t.equal(groupOf(frame('(program)')), 'native code')
  t.equal(groupOf(frame('(idle)')), undefined)
  t.equal(groupOf(frame('crc32')), 'other')
  t.end()
})

const profile: CpuProfile = {
  nodes: [
    { id: 1, callFrame: frame('(idle)') },
    { id: 2, callFrame: frame('writeBuffer') },
    { id: 3, callFrame: frame('write', 'file:///t/dist/net/a.js', 9) },
    // The same function, called from elsewhere.
    { id: 4, callFrame: frame('write', 'file:///t/dist/net/a.js', 9) },
    { id: 5, callFrame: frame('', 'file:///t/dist/gateway/b.js', 0) },
    { id: 6, callFrame: frame('(program)') }
  ],
  samples: [1, 2, 3, 4, 5, 6, 1],
  timeDeltas: [50, 100, 30, 4, 5, 6, 7]
}

void t.test('a look counts for the time until the next one', (t) => {
  const found = attribute(profile)
  t.equal(found.idleUs, 100)
  t.equal(found.busyUs, 30 + 4 + 5 + 6 + 7)
  t.same(found.groups, [
    { name: 'system calls', us: 30 }, { name: 'src/net', us: 9 }, { name: 'src/gateway', us: 6 },
    { name: 'native code', us: 7 }
  ])
  t.same(found.functions.slice(0, 2),
    [{ name: 'writeBuffer', us: 30 }, { name: 'write  dist/net/a.js:10', us: 9 }])
  t.equal(found.functions.at(-1)?.name, '(anonymous)  dist/gateway/b.js:1')
  t.throws(() => attribute({ ...profile, samples: [99] }), /no node 99/)
  t.end()
})

void t.test('reads are what the kernel counted and V8 took for idle', (t) => {
  const found = withReads(attribute(profile), 92)
  t.same(found.groups.slice(0, 2), [{ name: 'system calls', us: 30 }, { name: 'reads and waits', us: 40 }])
  t.match(found, { busyUs: 92, idleUs: 60 })
  t.match(withReads(attribute(profile), 10), { busyUs: 52, idleUs: 100 }, 'never less than what was seen')
  t.end()
})

void t.test('only a profile is read as one', (t) => {
  t.same(parseProfile(JSON.stringify({ ...profile, startTime: 1 })), profile)
  t.throws(() => parseProfile('{"code":-32000}'), /no profile: .*-32000/)
  t.end()
})
