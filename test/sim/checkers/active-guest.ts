import type { Guest } from '../guest.ts'
import type { World } from '../world.ts'

/** Rule 7: when a guest's path opens, or stays open for longer, no other guest may be reachable. */
export function checkOneActive(world: World, guest: Guest): void {
  for (const other of world.guests) {
    if (other === guest || !other.reachable) continue
    world.fail(7, `guest ${guest.id} on ${guest.host.name} can be reached while guest ${other.id} on `
      + `${other.host.name} can be, too`)
  }
}

/**
 * Rule 7: a restored guest's network opens only where the gateway has made this host the active one, on disk.
 */
export function checkOpenOrdered(world: World, guest: Guest): void {
  if (guest.restoredFrom === undefined || world.gateway.durable?.active === guest.host.name) return
  world.fail(7, `a restored guest runs on ${guest.host.name}, which no gateway has promoted`)
}
