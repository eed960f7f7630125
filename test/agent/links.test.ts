import t from 'tap'
import { Links } from '../../src/agent/links.ts'
import { hostName } from '../../src/core/ids.ts'
import type { LinkConnection } from '../../src/link/link.ts'

function linkOf(peer: string): LinkConnection {
  return {
    peer: { name: hostName(peer), role: 'gateway' }, backlog: 0, drained: () => Promise.resolve(),
    send: () => undefined, pause: () => undefined, resume: () => undefined, close: () => undefined
  }
}

void t.test('a peer may have several links, and is down when none is left', (t) => {
  const told: string[] = []
  const links = new Links((peer, change) => told.push(`${peer} ${change}`))
  const [one, two] = [links.add(linkOf('gw')), links.add(linkOf('gw'))]
  links.add(linkOf('other'))
  t.not(one, two)
  links.remove(one)
  t.same(told.splice(0), ['gw up', 'gw up', 'other up'], 'a second link is none that has come back')
  const three = links.add(linkOf('gw'))
  links.remove(two)
  links.remove(three)
  links.remove(three)
  t.same(told.splice(0), ['gw again', 'gw down'])
  links.add(linkOf('gw'))
  links.add(linkOf('gw'))
  links.add(linkOf('gw'))
  t.same(told, ['gw again', 'gw again', 'gw up'])
  t.end()
})
