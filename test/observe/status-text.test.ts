import t from 'tap'
import type { GuestStatus, PlanBlocker } from '../../src/observe/status.ts'
import { failoverText, headline, renderPlan, renderStatus } from '../../src/observe/status-text.ts'
import { failover, gatewayStatus, plan, shop } from './sample-status.ts'

void t.test('the headline says that a guest is protected, where, and how long the tail is', t => {
  t.equal(headline(shop),
    'shop: PROTECTED on host-a, backup host-b, generation 3 (checkpoint 2.1 s ago, tail 1.2 MiB)')
  t.end()
})

void t.test('the headline says why a guest is not protected and what to do', t => {
  const protection = {
    state: 'unprotected', reason: 'no backup is linked', todo: 'Start the agent on host-b.'
  } as const
  t.equal(headline({ ...shop, protection }),
    'shop: UNPROTECTED: no backup is linked. Start the agent on host-b.')
  const failing = { state: 'failing-over', reason: 'replaying', todo: '' } as const
  t.equal(headline({ ...shop, protection: failing }), 'shop: FAILING OVER: replaying')
  t.end()
})

void t.test('a diverged guest says so in its headline, protected or not', t => {
  const divergence = { diverged: true, connections: 1, unverifiedBytes: 0 }
  t.match(headline({ ...shop, divergence }), /PROTECTED.*\[DIVERGED/)
  t.end()
})

void t.test('a reason cannot break the line or reach the terminal as a control sequence', t => {
  const protection = { state: 'lost', reason: 'bad\nnews \u001b[31mred', todo: '' } as const
  const line = headline({ ...shop, protection })
  t.equal(line, 'shop: LOST: bad news  [31mred')
  t.end()
})

void t.test('status begins with the headline of every guest, the worst first', t => {
  const lost: GuestStatus = {
    ...shop, guest: 'mail', protection: { state: 'lost', reason: 'died while syncing', todo: 'Run it.' }
  }
  const syncing: GuestStatus = {
    ...shop, guest: 'wiki', protection: { state: 'syncing', reason: 'first checkpoint on its way', todo: '' }
  }
  const lines = renderStatus({ ...gatewayStatus, guests: [shop, syncing, lost] }).split('\n')
  t.same(lines.slice(0, 4), [headline(lost), headline(syncing), headline(shop), ''])
  t.match(lines[4], /^gateway gw, tailgate 0\.1\.0, up 1 h 2 min, pid 77, sockets: node$/)
  t.end()
})

void t.test('status without a guest says so in its first line', t => {
  t.match(renderStatus({ ...gatewayStatus, guests: [] }), /^no guest is configured\n/)
  t.end()
})

void t.test('status shows every figure the guest has', t => {
  const text = renderStatus({ ...gatewayStatus, guests: [{ ...shop, lastFailover: failover }] })
  for (const part of [
    'history 00c0ffee00c0ffee', '40 open', 'lsn 1207', 'lsn 1200', '7 events, 700 B, 0.4 ms',
    '1 epoch in flight', '9 MiB of output', 'held 2 KiB of at most 64 MiB', 'checkpoint 7, mark 900',
    'took 140 ms', '307 records, 41 connections',
    '1 min 5 s ago, host-b → host-a',
    'host-b   backup', '30 ms ago', '0.0.0.0:6379', 'epoch', '0 B unverified'
  ]) t.ok(text.includes(part), part)
  t.notMatch(text, / $/m, 'no line ends in a space')
  t.end()
})

void t.test('figures that are not known are named as such, not as 0', t => {
  const bare: GuestStatus = { ...shop, checkpoint: null, tail: null, history: null, activeHost: null }
  const text = renderStatus({ ...gatewayStatus, guests: [bare] })
  for (const part of ['none counts in this history', 'unknown: no backup has told it', 'history none']) {
    t.ok(text.includes(part), part)
  }
  t.end()
})

void t.test('a failover is told in one line, with the phases that took place', t => {
  t.equal(failoverText(failover), 'host-b → host-a (host-b missed 3 heartbeats) in 432 ms: '
    + 'detect 300 ms, drain 2 ms, commit 0 ms, persist 4 ms, restore 80 ms, open-network 1 ms, attach 9 ms, '
    + 'replay 41 ms; replayed 3 MiB, 40 connections kept, 1 reset')
  const asked = { ...failover, trigger: 'operator', reason: 'asked for', acceptedLoss: true } as const
  t.match(failoverText(asked), /\(asked for, with accepted loss\)/)
  t.end()
})

void t.test('a plan names checkpoint, tail, connections and the estimated time', t => {
  const text = renderPlan(plan)
  t.match(text, /^shop: a failover is possible now\n/)
  for (const part of [
    'host-b, generation 4', 'checkpoint 7, mark 900', '1.2 MiB in 307 records', '41 connections',
    'about 400 ms',
    '10.0.0.9:40000', '2 KiB to replay', 'and 40 more'
  ]) t.ok(text.includes(part), part)
  t.end()
})

void t.test('the first line of a plan is the worst of its blockers', t => {
  const wait = { kind: 'wait', text: 'lease runs 800 ms more', waitMs: 800 } as const
  const loss = { kind: 'loss', text: 'syncing: would lose all input', waitMs: null } as const
  const hard = { kind: 'hard', text: 'no host but host-a is configured', waitMs: null } as const
  const textWith = (...blockers: PlanBlocker[]): string => renderPlan({ ...plan, blockers })
  t.match(textWith(wait), /^shop: a failover is possible in 800 ms\n {2}wait: lease runs/)
  t.match(textWith(wait, loss), /^shop: a failover would LOSE DATA and needs --accept-loss/)
  t.match(textWith(wait, loss, hard), /^shop: a failover is NOT POSSIBLE/)
  t.end()
})

void t.test('status tells of the workers, and first of those that tell nothing of their guests', t => {
  const serving = { worker: 1, pid: 78, state: 'serving', deaths: 0, guests: ['shop'] } as const
  const starting = { worker: 2, pid: null, state: 'starting', deaths: 3, guests: ['mail', 'wiki'] } as const
  const lines = renderStatus({ ...gatewayStatus, workers: [serving, starting] }).split('\n')
  t.same(lines.slice(0, 4), [
    'mail: UNKNOWN: worker 2, which serves it, died and is being started again',
    'wiki: UNKNOWN: worker 2, which serves it, died and is being started again', headline(shop), ''
  ])
  t.same(lines.slice(5, 8), [
    '  worker   pid    state      deaths   guests', '  1        78     serving    0        shop',
    '  2        none   starting   3        mail, wiki'
  ])
  t.match(renderStatus({ ...gatewayStatus, workers: [{ ...serving, state: 'silent' }], guests: [] }),
    /^shop: UNKNOWN: worker 1, which serves it, does not answer\. If it stays so, restart the gateway\.\n/)
  t.notMatch(renderStatus({ ...gatewayStatus, workers: [] }), 'worker')
  t.end()
})
