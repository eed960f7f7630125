import t from 'tap'
import { connectionId } from '../../src/core/ids.ts'
import { GuestSocket } from './guest-socket.ts'
import { Guest } from './guest.ts'
import type { Segment } from './tcp.ts'
import { World } from './world.ts'

void t.test('what a gateway that died had sent is not sent again, not even by its next life', t => {
  const world = new World(1)
  const { gateway, clock } = world
  const [host] = world.hosts
  if (host === undefined) throw new RangeError('a scenario has hosts')
  host.guest = new Guest(world, host)
  host.guest.networkOpen = true
  gateway.start()
  gateway.path = host.name
  const nothing = (): void => undefined
  const events = { data: nothing, end: nothing, reset: nothing, drain: nothing }
  const socket = new GuestSocket(gateway, world, events,
    { port: 1, connection: connectionId(1), client: 0, service: 0 },
    { input: 0, inputEdge: 100, resumesAt: 0 })
  gateway.add(socket)
  const arrived: Segment['kind'][] = []
  host.guest.receive = segment => { arrived.push(segment.kind) }

  world.network.cut('gateway', host.name)
  socket.write(new Uint8Array(5))
  clock.step(1_000_000)
  gateway.crash(true)
  gateway.start()
  gateway.path = host.name
  world.network.healAll()
  for (let i = 0; i < 1000 && clock.step(1_000_000); i++) { /* time passes */ }
  t.same(arrived, [])
  t.end()
})
