import t from 'tap'
import { EngineOrders } from '../../src/agent/engine-orders.ts'
import { InvariantError } from '../../src/base/invariant.ts'
import { BuildingEngine } from './building-engine.ts'

void t.test('what fails is an outcome; a broken invariant is none, and comes out', async t => {
  const engine = new BuildingEngine()
  const orders = new EngineOrders(engine)
  engine.start = () => Promise.reject(new Error('no memory'))
  t.same(await orders.start(), { ok: false, reason: 'no memory' })
  const broken = new InvariantError('the books are wrong')
  engine.start = () => Promise.reject(broken)
  await t.rejects(orders.start(), broken)
  t.same(await orders.stop(), { ok: true }, 'the next order has its turn all the same')
})
