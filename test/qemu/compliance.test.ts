import t, { type Test } from 'tap'
import type { Engine } from '../../src/engine/engine.ts'
import { QemuEngine } from '../../src/engine/qemu.ts'
import { qemuHost, RedisGuest } from './guest.ts'
import { engineCompliance } from '../engine/compliance.ts'

// The suite of all engines, with a real guest under QEMU.

const host = await qemuHost(t)
if (host !== undefined) {
  const guests = new Map<Engine, RedisGuest>()
  const guestOf = (engine: Engine): RedisGuest => {
    const guest = guests.get(engine)
    if (guest === undefined) throw new Error('the engine of no guest here')
    return guest
  }
  engineCompliance(t, {
    name: 'qemu',
    smallPiece: 4099,
    make: async (t: Test) => {
      const guest = await RedisGuest.make(t, host)
      guests.set(guest.engine, guest)
      return guest.engine
    },
    write: async (engine, value) => {
      const guest = guestOf(engine)
      if (!await guest.isOpen()) await guest.console.says('tailgate: ready')
      await guest.ask(`SET key ${value}`)
    },
    read: async engine => {
      const value = await guestOf(engine).ask('GET key')
      return typeof value === 'string' ? value : null
    },
    isOpen: engine => guestOf(engine).isOpen(),
    kill: engine => {
      if (engine instanceof QemuEngine && engine.pid !== undefined) process.kill(engine.pid, 'SIGKILL')
    }
  })
}
