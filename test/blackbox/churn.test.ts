import t from 'tap'
import { Client, each } from './client.ts'
import { Front, modes } from './front.ts'
import { patternOf } from './pattern.ts'
import { Service } from './service.ts'

// Thousands of short connections, one after the other and many at a time.

for (const mode of modes) {
  void t.test(`churn, ${mode}`, async (t) => {
    const service = await Service.start(t)
    const front = await Front.start(t, mode, service.behind)
    const port = front.ports[service.behaviours.indexOf('echo')] ?? 0
    const count = 2000
    let wrong = 0
    await each(count, async (i) => {
      const one = new Client(t, port)
      one.socket.end(patternOf(i, 100))
      const { bytes, end, error } = await one.ended
      if (bytes !== 100 || !end || error !== undefined) wrong++
    })
    t.equal(wrong, 0, 'each got back what it sent, and an end in order')
    if (mode === 'direct') return
    await front.settled(t, count)
    t.same([...new Set(front.ends.map(({ end }) => end))], ['C-'])
    const numbers = new Set(front.ends.map(({ connection }) => connection))
    t.equal(numbers.size, count, 'each connection has its line once')
  })
}
