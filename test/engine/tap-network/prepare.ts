import { TailgateError } from '../../../src/base/errors.ts'
import { PacketFilter } from '../../../src/engine/packet-filter.ts'
import { PathGate } from '../../../src/engine/path-gate.ts'
import { guestMac } from './ethernet.ts'

// Says what becomes of a gate that this process tries to make.

const filter = new PacketFilter()
try {
  await new PathGate(filter, { table: 'mine', device: 'tg-g', mac: guestMac }).lay()
  process.stdout.write('made\n')
} catch (error) {
  process.stdout.write(error instanceof TailgateError ? `${error.code} ${error.message}\n` : String(error))
}
filter.close()
