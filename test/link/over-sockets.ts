import t from 'tap'
import { madeCertificates } from './certificates.ts'
import { linkCompliance } from './compliance.ts'
import type { connectedPair } from './peers.ts'

/** The compliance suite over TCP and over TLS. `through` says what carries both. */
export function socketCompliance(through: string, connect: typeof connectedPair): void {
  void t.test(`over TCP on loopback, ${through}`, t => {
    linkCompliance(t, limits => connect(limits))
    t.end()
  })

  void t.test(`over mutual TLS, ${through}`, async t => {
    const { gw, a1 } = await madeCertificates(t.testdir({}), ['gw', 'a1'])
    linkCompliance(t, limits => connect(limits, { gateway: gw, agent: a1 }))
  })
}
