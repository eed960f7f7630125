import { messageOf, TailgateError } from '../base/errors.ts'
import type { ConnectionId, InputOffset, OutputOffset } from '../core/ids.ts'
import type { AttachAnswer, OpenedPath } from '../core/path.ts'
import type { StreamEvents } from '../core/stream.ts'
import type { Endpoint } from '../net/ip-address.ts'

export type { AttachAnswer, OpenedPath } from '../core/path.ts'

/** Who wants a new connection; told one of the two, in a later turn. */
export interface Opening {
  /** The address and port to connect from: the client's, where the guest is to see that. Only for `tcp`. */
  readonly from?: Endpoint | undefined
  /** The guest took it. The callee resumes the side if it is to be read at once. */
  opened(path: OpenedPath): void
  /** E_ATTACH. Its context has a `source` where {@link from} is the reason. */
  failed(error: TailgateError): void
}

/**
 * How the gateway joins a guest's connections. One per guest and generation; the kinds are `tcp` (an ordinary
 * connection; joining one again needs TCP_REPAIR) and `embedded` (the embedded guest names its own offsets).
 * They pass test/attach/compliance.ts; what joins TCP connections again has test/attach/tcp-resume.test.ts.
 *
 * A side it hands out reports `end` and `reset` only when the *guest* ended or reset the connection; when the
 * path to the guest breaks (its host died), the side goes silent, as a cut cable would. A kind that cannot
 * tell the two apart says so in {@link silentOnDeath}.
 */
export interface Attach {
  readonly silentOnDeath: boolean
  /** Opens a new connection to `endpoint`. */
  open(endpoint: string, connection: ConnectionId, events: StreamEvents, opening: Opening): void
  /**
   * Asks a restored guest for a connection of an earlier generation. Rejects with E_ATTACH if it does not
   * answer.
   */
  attach(
    endpoint: string, connection: ConnectionId, path: Uint8Array, received: OutputOffset, events: StreamEvents
  ): Promise<AttachAnswer>
  /** Tells the owner of input that the guest has acknowledged; may be called with the same place again. */
  onFloor: ((connection: ConnectionId, floor: InputOffset) => void) | undefined
  /**
   * Tells the owner that the guest has taken the reset of a side, and all input given to it: the guest acts
   * on that connection no more. A kind that never hears of it never calls.
   */
  onResetTaken: ((connection: ConnectionId) => void) | undefined
  /** Output up to here has been read by the gateway: the guest need not keep it. */
  acknowledge(connection: ConnectionId, received: OutputOffset): void
  /** Lets go of every connection silently and stops; one that is being opened or joined fails. */
  close(): void
}

/** Whatever was thrown when `endpoint` was joined, as E_ATTACH. */
export function attachError(error: unknown, endpoint: string): TailgateError {
  if (error instanceof TailgateError && error.code === 'E_ATTACH') return error
  return new TailgateError('E_ATTACH', messageOf(error), { cause: error, context: { endpoint } })
}
