import { TailgateError } from '../base/errors.ts'
import type { XenDescription } from './xl.ts'

/** What a domain must be, on every host, so that it can be protected. */
export interface XenPlace {
  /** The domain's name. */
  readonly domain: string
  /** The name of its card's device in dom0 (`vifname`), by which the gate holds its frames. */
  readonly device: string
  readonly bridge: string
  readonly mac: string
  readonly checkpoints: 'remus' | 'save'
}

/** Throws E_ENGINE unless this is the domain that the place is for. */
export function mustFit(found: XenDescription, place: XenPlace): void {
  const problem = problemOf(found, place)
  if (problem === undefined) return
  throw new TailgateError('E_ENGINE', `the domain ${place.domain} cannot be protected: ${problem}`)
}

function problemOf(
  { name, type, cards, writableDisks }: XenDescription, place: XenPlace
): string | undefined {
  if (name !== place.domain) return `it is called ${name}`
  if (type === 'pv' && place.checkpoints === 'remus') {
    return 'it is paravirtualised (PV), and Xen can tell which pages change only for PVH and HVM: say '
      + '`checkpoints: save`, or make it one of them'
  }
  if (writableDisks.length > 0) {
    return `it can write to its disk ${writableDisks.join(', ')}, which no checkpoint of Xen's would hold: `
      + 'make it read-only, or let the guest write to a file server that is the same for all hosts'
  }
  const [card, ...others] = cards
  if (card === undefined || others.length > 0) {
    return `it has ${cards.length} network cards, and one is what the gate can hold`
  }
  const vif = `vif = ["mac=${place.mac},bridge=${place.bridge},vifname=${place.device}"]`
  if (card.device !== place.device) {
    return `the device of its card is called '${card.device}', and the gate is laid before ${place.device}: `
      + `its configuration must say ${vif}`
  }
  if (card.mac.toLowerCase() !== place.mac.toLowerCase() || card.bridge !== place.bridge) {
    return `its card has the address ${card.mac} on ${card.bridge}: its configuration must say ${vif}`
  }
  return undefined
}
