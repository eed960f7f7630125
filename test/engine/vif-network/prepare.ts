import { TailgateError } from '../../../src/base/errors.ts'
import { VifNetwork } from '../../../src/engine/vif-network.ts'
import { guestMac, ip } from '../tap-network/ethernet.ts'

// Says what becomes of a guest's network that this process tries to prepare, in a network of its own.

ip('link', 'add', 'name', 'lan', 'type', 'bridge')
const network = new VifNetwork({ guest: 'g', device: 'guest0', bridge: 'lan', mac: guestMac, addresses: [] })
try {
  await network.prepare()
  process.stdout.write('prepared\n')
} catch (error) {
  process.stdout.write(error instanceof TailgateError ? `${error.code} ${error.message}\n` : String(error))
}
await network.close()
