import { TapNetwork } from '../../../src/engine/tap-network.ts'
import { VifNetwork } from '../../../src/engine/vif-network.ts'
import { guestMac } from './ethernet.ts'

// An agent's part of a guest's network: opens it with the first message, a lease in milliseconds, and renews
// the lease with those that follow, until the place on the monotonic clock that they name. Run with the name
// of a device of Xen; without one, the guest has a tap device.

type Order = number | string | { readonly until: number }

const [, , vif] = process.argv
const place = { guest: 'g', bridge: 'lan', mac: guestMac, addresses: [] }
const network = vif === undefined ? new TapNetwork(place) : new VifNetwork({ ...place, device: vif })
network.onFailure = (reason) => { throw new Error(reason) }
let prepared: Promise<void> | undefined

async function obey(order: Order): Promise<void> {
  if (typeof order === 'string') process.send?.('here')
  else if (typeof order === 'object') {
    network.renewLease(Math.max(0, order.until - Number(process.hrtime.bigint() / 1000n) / 1000))
  } else if (prepared !== undefined) network.renewLease(order)
  else {
    prepared = network.prepare()
    await prepared
    network.renewLease(order)
    await network.open()
    process.send?.('open')
  }
}

process.on('message', (order: Order) => { void obey(order) })
process.on('disconnect', () => process.exit())
