import { TailgateError } from '../base/errors.ts'
import type { AgentGuestConfig, Address } from '../config/types.ts'
import { BlackholeEngine, NoEngine } from '../engine/blackhole.ts'
import { EmbeddedEngine } from '../engine/embedded.ts'
import type { Engine } from '../engine/engine.ts'
import { addressText } from '../net/address.ts'

/** Makes the engine that a guest's configuration asks for. Throws E_CONFIG. */
export function engineOf(config: AgentGuestConfig): Engine {
  switch (config.engine) {
    case 'embedded': return embedded(config.name, config.listen)
    case 'blackhole': return new BlackholeEngine({
      endpoints: textsOf(config.endpoints), pids: config.pids,
      pidFiles: config.pidFile === undefined ? [] : [config.pidFile]
    })
    case 'none': return new NoEngine({ endpoints: textsOf(config.endpoints) })
  }
}

function embedded(name: string, listen: readonly Address[]): EmbeddedEngine {
  const hosts = new Set(listen.map(({ host }) => host))
  const [host] = hosts
  if (host === undefined || hosts.size > 1) {
    throw new TailgateError('E_CONFIG',
      `guest ${name}: an embedded guest listens on one address, with a port for each service`,
      { context: { guest: name } })
  }
  return new EmbeddedEngine({ host, ports: listen.map(({ port }) => port) })
}

function textsOf(addresses: readonly Address[]): string[] {
  return addresses.map(({ host, port }) => addressText(host, port))
}
