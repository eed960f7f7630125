import t from 'tap'
import type { GuestSettings } from '../../../src/core/gateway/settings.ts'
import { adopt, data, read, reset } from './log-text.ts'
import type { Rig } from './rig.ts'
import {
  failOver, guarded, protect, replaying, serving, sync, tail, tailEnd, wait
} from './scenes.ts'
import type { Pair, Peer } from './sides.ts'

void t.test('inputs that overlapped are sent one at a time, in the order of their first output', t => {
  const overlapped = [
    adopt(1, 0, ''), adopt(2, 0, ''), data(1, 'one'), data(2, 'two'), read(2, 'second'), read(1, 'first')
  ]
  for (const replayOrder of ['output', 'arrival'] as const) {
    const rig = guarded({ replayOrder })
    failOver(rig, 'attach')
    tail(rig, ...overlapped)
    const [one, two] = [rig.knows(1, 0, 0), rig.knows(2, 0, 0)]
    t.same(two.told, ['two'])
    t.same(one.told, replayOrder === 'output' ? [] : ['one'], replayOrder)
    two.says('second')
    t.same(one.told, ['one'])
  }
  t.end()
})

void t.test('an input that was not answered any more comes after all that were', t => {
  const records = [
    data(1, 'lo'), data(1, 'st'), data(2, 'asked'), data(3, 'lost too'), read(2, 'told'), data(2, 'more')
  ]
  const { rig, sides: [one, two, three] } = replaying(3, records)
  tailEnd(rig)
  t.same(two?.told, ['asked'], 'the one that was answered is waited for')
  t.same([one?.told, three?.told], [[], []])
  two?.says('told')
  t.same(one?.told, ['lo', 'st'], 'it is given time for what it was sent last')
  wait(rig, 100)
  const end = '<reset>'
  t.same([one?.told, two?.told, three?.told], [['lo', 'st', end], ['asked', 'more', end], ['lost too', end]])
  t.equal(rig.state, 'unprotected')
  t.match(rig.gateway.lastFailover, { diverged: 0, reordered: 0 })
  t.end()
})

void t.test('...but in its place if its client reset the connection, for others may know of it', t => {
  const { rig, sides: [one, two] } = replaying(2, [
    data(1, 'incr'), data(1, 'ease'), reset(1), data(2, 'get'), read(2, 'one')
  ])
  t.same([one?.told, two?.told], [['incr', 'ease'], []])
  wait(rig, 100)
  t.same([one?.told, two?.told], [['incr', 'ease', '<reset>'], ['get']])
  two?.says('one')
  tailEnd(rig)
  t.equal(rig.state, 'unprotected')
  t.match(rig.gateway.lastFailover, { diverged: 0, reordered: 0 })
  t.end()
})

void t.test('...unless one that was needs it', t => {
  const records = [data(1, 'push'), data(2, 'lost'), data(3, 'pop'), read(3, 'popped')]
  const { rig, sides: [one, two, three] } = replaying(3, records)
  tailEnd(rig)
  t.same(three?.told, ['pop'])
  t.same(one?.told, [])
  wait(rig, 120)
  t.same([one?.told, two?.told], [['push'], ['lost']], 'all of them, for they have no order')
  three?.says('popped')
  wait(rig, 100)
  t.equal(rig.state, 'unprotected')
  t.match(rig.gateway.lastFailover, { diverged: 0 })
  t.end()
})

const handedOn = [
  data(1, 'take'), data(2, 'give'), read(1, 'taken'), read(2, 'given')
] as const

void t.test('an output that another connection\'s input provokes has that sent before its turn', t => {
  const { rig, sides: [taker, giver] } = replaying(2, handedOn)
  t.same(taker?.told, ['take'])
  wait(rig, 80)
  t.same(giver?.told, [], 'the taker may answer yet')
  wait(rig, 20)
  t.same(giver?.told, ['give'], 'the taker said nothing: it may need the giver')
  taker?.says('taken')
  giver?.says('given')
  tailEnd(rig)
  t.match(rig.gateway.lastFailover, { diverged: 0, reordered: 0, tailRecords: 4 })
  t.end()
})

void t.test('...at once when that was so several times', t => {
  const times = 5
  const said = (word: string, time: number): string => word.repeat(time + 1)
  const { rig, sides: [taker, giver] } = replaying(2, Array.from({ length: times }, (_, time) => [
    data(1, 'take'), data(2, 'give'), read(1, said('taken', time)), read(2, said('given', time))
  ]).flat())
  const waited: boolean[] = []
  for (let time = 0; time < times; time++) {
    waited.push(giver?.told.length === time)
    // A guest that answers at once is given less time.
    if (waited[time] === true) wait(rig, time === 0 ? 100 : 20)
    taker?.says('taken')
    giver?.says('given')
  }
  t.same(waited, [true, true, true, false, true], 'and now and then it is looked whether that is still so')
  tailEnd(rig)
  t.match(rig.gateway.lastFailover, { diverged: 0, reordered: 0 })
  t.end()
})

void t.test('of several inputs that wait, the one whose turn comes first is sent first, then the next', t => {
  const { rig, sides: [taker, late, giver] } = replaying(3, [
    data(1, 'take'), data(2, 'late'), data(3, 'give'), read(1, 'taken'), read(3, 'given'), read(2, 'later')
  ])
  wait(rig, 120)
  t.same([taker, late, giver].map(side => side?.told.length), [1, 0, 1])
  giver?.says('given')
  t.same(late?.told, ['late'], 'what was sent is answered, so it was not that')
  late?.says('later')
  taker?.says('taken')
  tailEnd(rig)
  t.match(rig.gateway.lastFailover, { diverged: 0, reordered: 0 })
  t.end()
})

void t.test('...also when the one before is not answered, after the same time', t => {
  const { rig, sides: [, late, giver] } = replaying(3, [
    data(1, 'take'), data(2, 'late'), data(3, 'give'), read(1, 'taken'), read(3, 'given'), read(2, 'later')
  ])
  wait(rig, 120)
  t.same(giver?.told, ['give'])
  wait(rig, 60)
  t.same(late?.told, [])
  wait(rig, 40)
  t.same(late?.told, ['late'])
  t.end()
})

void t.test('a guest that was slow is given more time before anything is sent ahead', t => {
  const { rig, sides: [slow, other] } = replaying(2, [
    data(1, 'ask'), read(1, 'said'), data(1, 'ask'), data(2, 'give'), read(1, 'saidsaid'), read(2, 'given')
  ])
  wait(rig, 80)
  slow?.says('said')
  t.same(slow?.told, ['ask', 'ask'])
  wait(rig, 220)
  t.same(other?.told, [], 'three times what it took before are not over')
  wait(rig, 20)
  t.same(other?.told, ['give'])
  t.end()
})

void t.test('...and one that was only slow is not taken for one that needs others', t => {
  const { rig, sides: [slow, other] } = replaying(2, [
    ...handedOn, data(1, 'take'), data(2, 'give'), read(1, 'takentaken'), read(2, 'givengiven')
  ])
  wait(rig, 120)
  t.same(other?.told, ['give'])
  wait(rig, 40)
  slow?.says('taken')
  other?.says('given')
  t.same(slow?.told, ['take', 'take'])
  t.same(other?.told, ['give'], 'it came late after what was sent ahead')
  t.end()
})

/** Both want a lock, the first one got it first; in the replay the second one does. */
function locked(settings: Partial<GuestSettings> = {}): ReturnType<typeof replaying> {
  const scene = replaying(2, [
    data(1, 'lock'), data(2, 'lock'), read(1, 'got'), data(1, 'unlock'), read(1, 'gotfree'),
    read(2, 'got'), data(2, 'unlock'), read(2, 'gotfree')
  ], settings)
  wait(scene.rig, 120)
  scene.sides[1]?.says('got')
  return scene
}

void t.test('a connection that waits for what another one holds is set aside until that lets go', t => {
  const { rig, sides: [first, second] } = locked()
  tailEnd(rig)
  wait(rig, 460)
  t.same(second?.told, ['lock'], 'the first one may answer yet')
  wait(rig, 40)
  t.same(second?.told, ['lock', 'unlock'])
  t.same(first?.told, ['lock'], 'its own input keeps its place')
  first?.says('got')
  t.same(first?.told, ['lock', 'unlock'])
  second?.says('free')
  first?.says('free')
  t.equal(rig.state, 'unprotected')
  t.match(rig.gateway.lastFailover, { diverged: 0, reordered: 1 })
  t.equal(rig.gateway.diverged, undefined)
  t.end()
})

void t.test('...and diverges if it says nothing even then, though the others went on', t => {
  const { rig, sides: [first, second] } = locked()
  tailEnd(rig)
  wait(rig, 540)
  second?.says('free')
  wait(rig, 1500)
  t.same(first?.told, ['lock', 'unlock', '<reset>'], 'its input is still sent')
  t.match(rig.gateway.diverged, /did not make again/)
  t.end()
})

void t.test('...and diverges at once where the order must be kept', t => {
  for (const onDivergence of ['reset-all', 'stop'] as const) {
    const { rig, sides: [, second] } = locked({ onDivergence })
    wait(rig, 900)
    t.same(second?.told, ['lock'])
    wait(rig, 200)
    t.match(rig.gateway.diverged, /did not make again/, onDivergence)
  }
  t.end()
})

/** Two clients want a lock; the first one got it and let go of it, so that the second one has it. */
function lockHandedOn(): { readonly rig: Rig, readonly pairs: readonly [Pair, Pair] } {
  const rig = serving()
  const pairs = [rig.joins(), rig.joins()] as const
  sync(rig)
  protect(rig)
  const [one, two] = pairs
  const says = (peer: Peer, text: string): void => {
    peer.says(text)
    rig.acks()
  }
  says(one.client, 'lock')
  says(two.client, 'lock')
  says(one.guest, 'got')
  says(one.client, 'unlock')
  says(one.guest, 'free')
  says(two.guest, 'got')
  failOver(rig, 'attach')
  tail(rig, adopt(1, 0, ''), adopt(2, 0, ''), data(1, 'lock'), data(2, 'lock'), read(1, 'got'),
    data(1, 'unlock'), read(1, 'gotfree'), read(2, 'got'))
  return { rig, pairs }
}

void t.test('a client that may let go of what others wait for is served before they are', t => {
  const { rig, pairs: [one, two] } = lockHandedOn()
  const [first, second] = [rig.knows(1, 0, 0), rig.knows(2, 0, 0)]
  tailEnd(rig)
  wait(rig, 120)
  t.same(second.told, ['lock'])
  second.says('got')
  t.ok(two.client.paused)
  wait(rig, 500)
  t.equal(rig.state, 'failing-over')
  t.ok(two.client.paused, 'it may come yet')
  wait(rig, 500)
  t.notOk(two.client.paused, 'nothing else is left to be done')
  t.match(rig.gateway.diverged, /served before all input was replayed/)
  t.ok(one.client.paused)
  two.client.says('unlock')
  second.says('free')
  t.same(second.told, ['lock', 'unlock'])
  t.same(two.client.told, ['got', 'free'])
  first.says('got')
  t.same(first.told, ['lock', 'unlock'])
  t.equal(rig.state, 'failing-over')
  first.says('free')
  t.equal(rig.state, 'unprotected')
  t.notOk(one.client.paused)
  t.same(one.client.told, ['got', 'free'], 'nothing is said twice')
  t.match(rig.gateway.lastFailover, { kept: 2, reset: 0, diverged: 0, reordered: 1 })
  t.end()
})

void t.test('...also when it ends, or resets', t => {
  for (const ending of ['ends', 'resets'] as const) {
    const { rig, pairs: [, two] } = lockHandedOn()
    const [first, second] = [rig.knows(1, 0, 0), rig.knows(2, 0, 0)]
    tailEnd(rig)
    wait(rig, 120)
    second.says('got')
    if (ending === 'resets') two.client.resets()
    wait(rig, 1000)
    if (ending === 'ends') two.client.ends()
    t.same(second.told, ['lock', ending === 'ends' ? '<end>' : '<reset>'])
    first.says('got')
    first.says('free')
    t.equal(rig.state, 'unprotected')
  }
  t.end()
})

void t.test('what was sent last to connections that diverged is left to a guest that works', t => {
  const { rig, sides: [one, two] } = replaying(2, [
    data(1, 'a'), read(1, 'A'), data(2, 'b'), read(2, 'B'), data(1, 'c'), data(2, 'd')
  ])
  one?.says('X')
  two?.says('Y')
  tailEnd(rig)
  t.same([one?.told, two?.told], [['a', 'c'], ['b', 'd']])
  for (let time = 0; time < 5; time++) {
    wait(rig, 40)
    two?.says('z')
  }
  t.same(one?.told, ['a', 'c'], 'it may not have been read yet')
  wait(rig, 160)
  t.same([one?.told.at(-1), two?.told.at(-1)], ['<reset>', '<reset>'])
  t.equal(rig.state, 'unprotected')
  t.end()
})

void t.test('...but not without end', t => {
  const { rig, sides: [one] } = replaying(1, [data(1, 'a'), read(1, 'A'), data(1, 'c')])
  one?.says('X')
  tailEnd(rig)
  for (let time = 0; time < 60; time++) {
    wait(rig, 20)
    one?.says('z')
  }
  t.equal(rig.state, 'unprotected')
  t.end()
})
