import t from 'tap'
import { Lab, type Letter } from './lab.ts'
import { Load } from './load.ts'

// Failovers of every kind, one after the other, under load: every answer counts.

const kinds = ['power cut', 'guest alone', 'frozen', 'planned', 'agent alone'] as const

async function strike(lab: Lab, kind: (typeof kinds)[number], active: Letter): Promise<void> {
  const host = lab.process(active)
  switch (kind) {
    case 'power cut': return lab.killHost(active)
    case 'guest alone':
      host.killChildren()
      return
    case 'frozen':
      host.signalGroup('SIGSTOP')
      return
    case 'planned':
      await lab.failover()
      return
    case 'agent alone':
      host.signal('SIGKILL')
  }
}

void t.test('failovers of every kind under load: no answer is wrong, lost or repeated', async (t) => {
  const lab = await Lab.protected(t, { guest: { checkpoint_interval: '150ms' } })
  const load = new Load(lab)
  load.start('long', 10)
  load.start('pipelined', 4)
  load.start('short', 4)
  load.start('half-closing', 4)
  let [active, other]: [Letter, Letter] = ['a', 'b']
  for (const kind of kinds) {
    await load.answers(2000)
    const [done, isProtected] = [lab.log.next('failover.done'), lab.log.next('guest.protected')]
    await strike(lab, kind, active)
    const { kept, reset } = await done
    t.ok(Number(kept) >= 14, `${kind}: ${String(kept)} connections were kept`)
    t.equal(reset, 0)
    if (kind === 'frozen') lab.process(active).signalGroup('SIGCONT')
    if (kind === 'power cut' || kind === 'agent alone') lab.start(active)
    await isProtected
    ;[active, other] = [other, active]
    t.same(load.wrong, [], kind)
    if (load.wrong.length > 0) break
  }
  await load.answers(2000)
  await load.stop()
  t.same(load.wrong, [])
})
