import t from 'tap'
import { madeCertificates } from './certificates.ts'
import { linkCompliance } from './compliance.ts'

// Links where Node's handles cannot be used directly.
process.env.TAILGATE_SOCKETS = 'net'
const { connectedPair } = await import('./peers.ts')

void t.test('over TCP on loopback, through streams', t => {
  linkCompliance(t, limits => connectedPair(limits))
  t.end()
})

void t.test('over mutual TLS, through streams', async t => {
  const { gw, a1 } = await madeCertificates(t.testdir({}), ['gw', 'a1'])
  linkCompliance(t, limits => connectedPair(limits, { gateway: gw, agent: a1 }))
})
