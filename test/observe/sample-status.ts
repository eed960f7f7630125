import type { FailoverPlan, FailoverStatus, GatewayStatus, GuestStatus } from '../../src/observe/status.ts'

const mib = 1024 * 1024

/** A protected guest with a figure in every field. */
export const shop: GuestStatus = {
  guest: 'shop',
  protection: { state: 'protected', reason: 'checkpoint 7 counts', todo: '' },
  generation: 3,
  history: '00c0ffee00c0ffee',
  activeHost: 'host-a',
  hosts: [
    {
      host: 'host-a', address: '10.0.0.1:7600', role: 'primary', link: 'up', heartbeatAgeMs: 12,
      condition: 'running'
    },
    {
      host: 'host-b', address: '10.0.0.2:7600', role: 'backup', link: 'up', heartbeatAgeMs: 30,
      condition: 'absent'
    }
  ],
  services: [{ service: 'redis', listen: '0.0.0.0:6379', release: 'epoch', connections: 41 }],
  connections: { connecting: 1, open: 40, closing: 0, replaying: 0 },
  durability: 'memory',
  positions: { receivedBytes: 5 * mib, loggedLsn: 1207, committedLsn: 1200, releasedBytes: 9 * mib },
  lag: { lsn: 7, bytes: 700, ms: 0.4 },
  heldBytes: 2048,
  heldBytesMax: 64 * mib,
  epochsInFlight: 1,
  checkpoint: { id: 7, mark: 900, ageMs: 2100, bytes: 33 * mib, durationMs: 140 },
  tail: { bytes: 1.2 * mib, records: 307, connections: 41 },
  lastFailover: null,
  divergence: { diverged: false, connections: 0, unverifiedBytes: 0 }
}

export const failover: FailoverStatus = {
  trigger: 'automatic', reason: 'host-b missed 3 heartbeats', from: 'host-b',
  to: 'host-a', generation: 3, agoMs: 65_000,
  phasesMs: {
    'detect': 300, 'fence': null, 'drain': 2, 'commit': 0, 'persist': 4, 'restore': 80, 'open-network': 1,
    'attach': 9, 'replay': 41
  },
  totalMs: 432, checkpoint: 4, replayedBytes: 3 * mib, replayedRecords: 900,
  connectionsKept: 40, connectionsReset: 1, reordered: 0, acceptedLoss: false
}

export const gatewayStatus: GatewayStatus = {
  format: 1, gateway: 'gw', version: '0.1.0', pid: 77, uptimeMs: 3_725_000, sockets: 'node',
  workers: [{ worker: 1, pid: 78, state: 'serving', deaths: 2, guests: ['shop'] }], guests: [shop]
}

const none = { count: 0, first: [] } as const

/** A failover of it that could be done now. */
export const plan: FailoverPlan = {
  format: 1, guest: 'shop', state: 'protected', generation: 3, from: 'host-a', to: 'host-b',
  checkpoint: shop.checkpoint, tail: shop.tail,
  attach: {
    count: 41,
    first: [{ connection: 5, service: 'redis', client: '10.0.0.9:40000', inputBytes: 2048, heldBytes: 10 }]
  },
  anew: none, reset: none, estimateMs: 400, blockers: []
}
