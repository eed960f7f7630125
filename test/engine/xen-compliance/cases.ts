import { execFileSync } from 'node:child_process'
import t, { type Test } from 'tap'
import type { Engine } from '../../../src/engine/engine.ts'
import { engineCompliance } from '../compliance.ts'
import { ToyHost } from './toy-host.ts'

// In a mount namespace of its own: the lock of xl is not that of this machine.
execFileSync('mount', ['-t', 'tmpfs', 'none', '/var/lock'])

const checkpoints = process.argv[2] === 'save' ? 'save' : 'remus'
const hosts = new Map<Engine, ToyHost>()
function hostOf(engine: Engine): ToyHost {
  const host = hosts.get(engine)
  if (host === undefined) throw new Error('the engine of no host here')
  return host
}

engineCompliance(t, {
  name: `xen, ${checkpoints}`,
  smallPiece: 4099,
  copiesLive: true,
  hasNoChecksum: true,
  make: (t: Test) => {
    const host = new ToyHost(t, checkpoints)
    hosts.set(host.engine, host)
    return Promise.resolve(host.engine)
  },
  write: (engine, value) => {
    hostOf(engine).write(value)
    return Promise.resolve()
  },
  read: (engine) => Promise.resolve(hostOf(engine).read()),
  isOpen: (engine) => Promise.resolve(hostOf(engine).isOpen),
  kill: (engine) => { hostOf(engine).kill() }
})
