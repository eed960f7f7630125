import type { TailgateError } from '../base/errors.ts'
import { resolveHost, targetOf } from './address.ts'
import { dialError, systemCode } from './socket-errors.ts'
import type { DialEvents, Dialing, Target } from './sockets.ts'

/** Looks up the name of `target`, then has it connected to. E_ATTACH for a name without an address. */
export function dialByName(
  target: Target, events: DialEvents, connect: (found: Target) => Dialing
): Dialing {
  let dialing: Dialing | undefined
  let isGivenUp = false
  resolveHost(target.host).then(
    ({ address }) => { if (!isGivenUp) dialing = connect(targetOf(address, target.port)) },
    (error: unknown) => { if (!isGivenUp) events.failed(dialError(target.text, systemCode(error), error)) })
  return {
    cancel: () => {
      isGivenUp = true
      dialing?.cancel()
    }
  }
}

/** A connection that cannot even be begun: `events` are told in a later turn. */
export function failedDial(events: DialEvents, error: TailgateError): Dialing {
  let isGivenUp = false
  process.nextTick(() => { if (!isGivenUp) events.failed(error) })
  return { cancel: () => { isGivenUp = true } }
}
