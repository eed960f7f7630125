import t from 'tap'
import { heal } from './faults.ts'
import { Client } from './client.ts'
import { Guest } from './guest.ts'
import { noBytes } from './tcp.ts'
import { World } from './world.ts'

void t.test('a refusal from before the faults were over excuses that client afterwards, and no other', t => {
  const world = new World(1)
  world.scenario = { ...world.scenario, refuseChance: 1, stallChance: 0, shared: 'none' }
  const [host] = world.hosts
  if (host === undefined) throw new RangeError('a scenario has hosts')
  const guest = new Guest(world, host)
  guest.networkOpen = true
  for (const id of [0, 1]) {
    world.clients.push(new Client(world, id, {
      service: 0, requests: 1, depth: 1, thinkMicros: 0, slow: false, nonces: false, shared: false,
      ending: 'half-close'
    }))
  }
  const dial = (client: number): void => {
    guest.receive(
      { port: client + 1, kind: 'syn', offset: 0, bytes: noBytes, fin: false, ack: 0, edge: 100 }, client, 0)
  }

  dial(0)
  t.equal(guest.tcbs.size, 0, 'it is refused')
  heal(world)
  dial(1)
  t.equal(guest.tcbs.size, 1, 'nobody is refused any more')
  t.ok(world.scenario.refuseChance > 0, 'the gateway may still be told of a refusal')
  t.equal(world.excuseFor(0, true), 'a guest that refused it')
  t.equal(world.excuseFor(1, true), undefined)
  t.end()
})
