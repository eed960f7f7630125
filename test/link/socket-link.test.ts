import t from 'tap'
import { madeCertificates } from './certificates.ts'
import { linkCompliance } from './compliance.ts'
import { connectedPair } from './peers.ts'

void t.test('over TCP on loopback', t => {
  linkCompliance(t, limits => connectedPair(limits))
  t.end()
})

void t.test('over mutual TLS', async t => {
  const { gw, a1 } = await madeCertificates(t.testdir({}), ['gw', 'a1'])
  linkCompliance(t, limits => connectedPair(limits, { gateway: gw, agent: a1 }))
})
