export type HostLetter = 'a' | 'b'

/** The guest that the demo is about, as both kinds of configuration files describe it. */
export interface Stage {
  /** What there is to be seen, in a few words. */
  readonly about: string
  /** Keys of the guest in the gateway file, a line each. */
  readonly gatewayKeys: readonly string[]
  /** Where the guest's service is; '' where its agent says it. */
  readonly serviceAddress: string
  /** Keys of the guest in an agent file, a line each. */
  agentKeys(letter: HostLetter): readonly string[]
}

/** The guest that is one more process of ours. */
export const embeddedStage: Stage = {
  about: 'gateway, agents on host-a and host-b: three processes on loopback',
  gatewayKeys: [
    'attach: embedded', 'checkpoint_interval: 1s', 'heartbeat: { interval: 50ms, misses: 5 }', 'lease: 300ms'
  ],
  serviceAddress: '',
  agentKeys: () => ['engine: embedded', 'listen: [127.0.0.1:0]']
}
