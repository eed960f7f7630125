import type { ByteLog } from '../byte-log.ts'
import type { Guest, Tcb } from '../guest.ts'
import type { World } from '../world.ts'

/** Rule 2: what reaches a guest's kernel is what the client sent, at its place. */
export function checkGuestInput(world: World, tcb: Tcb, place: number, bytes: Uint8Array): void {
  if (bytes.length === 0 || world.clients[tcb.client]?.sent.holds(place, bytes) === true) return
  world.fail(2, `the guest was given other input of client ${tcb.client} at ${place} than was sent`)
}

/** Rule 3: in one line of guests, each byte of a client's input is carried out once. */
export function checkExecution(world: World, guest: Guest, tcb: Tcb): void {
  const done = guest.app.account(tcb.client).consumed
  if (done === tcb.session.consumed) return
  world.fail(3, `guest ${guest.id} carries out input of client ${tcb.client} at ${tcb.session.consumed}, `
    + `but has carried out ${done} bytes of it`)
}

/** Rule 4: a byte given to a client was said by the guest that is now active, at this place. */
export function checkSaid(
  world: World, guest: Guest, client: number, at: number, bytes: Uint8Array
): void {
  if (bytes.length === 0 || guest.app.account(client).said.holds(at, bytes)) return
  world.fail(4, `client ${client} was given output at ${at} that the active guest ${guest.id} has not said`)
}

/** Rule 4: a connection that goes on after a failover has been told exactly what the new guest said. */
export function checkKept(world: World, guest: Guest, client: number, given: ByteLog): void {
  const { said } = guest.app.account(client)
  const differs = said.difference(given)
  if (differs === undefined && given.length <= said.length) return
  world.fail(4,
    `client ${client} goes on after the failover, but was told other things than the guest knows, from `
    + `${differs ?? said.length} on`)
}

/**
 * Rules 3 and 4 at the end: the shared counters show each request once. Not after a loss that an operator
 * accepted, nor in a guest that is known to have diverged.
 */
export function checkCounters(world: World, guest: Guest): void {
  let raised = 0
  for (const client of world.clients) {
    const account = guest.app.accounts.get(client.id)
    const done = account?.raised ?? 0
    raised += done
    if (done > client.raises) world.fail(3,
      `client ${client.id} asked for ${client.raises} raises, ${done} were done`)
    if (client.state === 'complete' && done < client.raises) {
      world.fail(3, `client ${client.id} was told of ${client.raises} raises, the guest knows ${done}`)
    }
  }
  const total = guest.app.counters.reduce((sum, value) => sum + value, 0)
  if (total !== raised) world.fail(3, `the counters stand at ${total}, the raises are ${raised}`)
}
