import t from 'tap'
import { barePath, deafSide } from './bare-path.ts'

/** How many connections are remembered after `count` have come and gone in order. */
function rememberedAfter(count: number, floorsFromBacklog: boolean): number {
  const { path, guests } = barePath(floorsFromBacklog)
  for (let i = 0; i < count; i++) {
    const client = path.accept(0, deafSide, '')
    client?.data(new Uint8Array(10))
    client?.end()
    guests.at(-1)?.end()
  }
  return path.connections.size + [...path.floors.lingering].length
}

void t.test('a guest that is never restored leaves nothing to remember of a connection that is over', t => {
  t.equal(rememberedAfter(50, true), 0)
  t.equal(rememberedAfter(50, false), 50, 'another waits for the guest to acknowledge its input')
  t.end()
})
