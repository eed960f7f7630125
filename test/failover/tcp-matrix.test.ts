import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { inNamespace } from '../namespace.ts'
import { network } from './tcp/network.ts'
import { afters, states, type After, type State } from './tcp/table.ts'
import { TcpCase } from './tcp/tcp-case.ts'
import { TcpLab } from './tcp/tcp-lab.ts'

/*
 * Every state of TCP at a checkpoint x what came after x where the mark lies, through the gateway's core and
 * its shell, two agents, and a guest with a real kernel's TCP that goes back to its checkpoint.
 *
 *     connected, one answer │ state reached │ what came after │ the machine dies, failover │ the rest
 *                           ▲               ▲                 ▲
 *                         before         between            after           where the mark lies
 */

const marks = ['before', 'between', 'after'] as const

interface Run {
  readonly one: TcpCase
  readonly state: State
  readonly after: After
}

function runsOf(lab: TcpLab): readonly Run[] {
  return states.flatMap((state) => afters.flatMap((after) => {
    if (after.impossible(new Set(state.facts)) !== undefined) return []
    const at = `${states.indexOf(state)}-${afters.indexOf(after)}`
    return [{ one: new TcpCase(lab, at, `${state.name}, then ${after.name}`), state, after }]
  }))
}

const isHalfOpen = ({ state }: Run): boolean => state.facts.includes('half-open')
const isUnconnected = ({ state }: Run): boolean => state.facts.includes('unconnected')

async function begin(runs: readonly Run[]): Promise<void> {
  await Promise.all(runs.map(async ({ one }) => {
    await one.connect()
    one.say('a')
    await one.answered()
  }))
}

/** Each SYN is told by its port, so they come one after the other. */
async function reachHalfOpen(runs: readonly Run[]): Promise<void> {
  network.holdOpenings()
  for (const { one, state } of runs) await state.reach(one)
  network.letOpeningsGo()
}

/** Brings all connections through the states and what comes after, with the mark in its place. */
async function bringAbout(lab: TcpLab, runs: readonly Run[], mark: (typeof marks)[number]): Promise<void> {
  await begin(runs.filter((run) => !isHalfOpen(run) && !isUnconnected(run)))
  if (mark === 'before') await lab.mark()
  await reachHalfOpen(runs.filter(isHalfOpen))
  await Promise.all(runs.map(async (run) => isHalfOpen(run) || run.state.reach(run.one)))
  if (mark === 'between') await lab.mark()
  await Promise.all(runs.map(({ one, state, after }) => after.happen(one, new Set(state.facts))))
  if (mark === 'after') await lab.mark()
}

/** What is left to be said and told once the guest serves again. */
async function finish({ one }: Run): Promise<void> {
  if (one.hasReset || !one.isConnected) return
  await one.answered()
  if (one.mayAsk) one.say('z')
  await one.answered()
  if (one.mayEnd) one.end()
  await one.told()
}

/** Which connections diverged, and why. */
function divergences(lab: TcpLab, runs: readonly Run[]): readonly string[] {
  const clients = new Map(lab.log.all('connection.end').map(({ connection, client }) => [connection, client]))
  return lab.log.all('connection.diverged').map(({ connection, client, reason }) => {
    const whose = client === '' ? clients.get(connection) : client
    return `${runs.find(({ one }) => one.client === whose)?.one.title ?? connection}: ${reason}`
  })
}

/** `before`: what had been executed on the machine that died. */
async function check(
  t: Test, lab: TcpLab, runs: readonly Run[], before: ReadonlyMap<string, number>
): Promise<void> {
  const executed = await lab.machine.executed()
  for (const { one } of runs) {
    const { title } = one
    const times = one.said.map((request) => executed.get(request) ?? 0)
    t.ok(one.owed.startsWith(one.text), `${title}: no wrong byte`)
    if (one.hasReset) {
      t.ok(times.every((count) => count <= 1), `${title}: nothing is done twice: ${times.join()}`)
      const undone = one.said.filter((request) => before.has(request) && !executed.has(request))
      t.same(undone, [], `${title}: its input that was executed before is executed again`)
    } else {
      t.equal(one.ended, 'end', `${title}: it ends in order`)
      t.equal(one.text.length, one.owed.length, `${title}: every answer is here`)
      t.ok(times.every((count) => count === 1), `${title}: everything is done once: ${times.join()}`)
    }
  }
  const said = new Set(runs.flatMap(({ one }) => one.said))
  t.same([...executed.keys()].filter((request) => !said.has(request)), [], 'nothing else is done')
}

async function runRound(t: Test, family: 4 | 6, mark: (typeof marks)[number]): Promise<void> {
  const lab = await TcpLab.start(t, family)
  const runs = runsOf(lab)
  t.teardown(() => { for (const { one } of runs) one.close() })
  await bringAbout(lab, runs, mark)
  const before = await lab.machine.executed()
  const failover = await lab.failOver()
  t.same(divergences(lab, runs), [], 'no connection diverges')
  t.equal(failover.connectionsReset, 0, 'none is reset')
  const ends = await Promise.allSettled(runs.map(finish))
  t.same(ends.flatMap((end) => end.status === 'rejected' ? [String(end.reason)] : []), [], 'none hangs')
  await check(t, lab, runs, before)
}

if (inNamespace(t, fileURLToPath(import.meta.url))) {
  network.prepare()
  for (const family of [4, 6] as const) {
    for (const mark of marks) {
      await t.test(`IPv${family}: the mark lies ${mark}`, async (t) => runRound(t, family, mark))
    }
  }
}
