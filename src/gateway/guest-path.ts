import { invariant } from '../base/invariant.ts'
import { messageOf, type TailgateError } from '../base/errors.ts'
import type { Attach } from '../attach/attach.ts'
import type { ConnectionId, InputOffset, OutputOffset } from '../core/ids.ts'
import type { AttachResult, Dialer, OpenResult } from '../core/gateway/port.ts'
import type { Connection } from '../core/gateway/connection.ts'
import type { StreamEvents } from '../core/stream.ts'
import type { ServiceSource } from '../config/types.ts'
import { parseAddress } from '../net/address.ts'
import { drainReads, type Drained } from '../net/drain-reads.ts'
import type { Endpoint } from '../net/ip-address.ts'
import type { Resumption } from './resumption.ts'

/** Draining is bounded by turns of the event loop; each reads at least one buffer of some socket. */
const drainLimits = { bytesMax: Number.MAX_SAFE_INTEGER, roundsMax: 100_000 }

export interface GuestPathOptions {
  /** Makes the way of joining that the configuration names; one per generation. */
  readonly newAttach: () => Attach
  /** Where services are that the configuration itself names. */
  readonly fixedEndpoints: readonly (string | undefined)[]
  /** Whose address each service is connected to from. */
  readonly sources: readonly ServiceSource[]
  /** A connection could not be made from its client's address, for a reason that the guest has no part in. */
  readonly sourceFailed: (failure: SourceFailure) => void
  readonly floor: (connection: ConnectionId, floor: InputOffset) => void
  /** The guest has taken the client's reset. */
  readonly resetTaken: (connection: ConnectionId) => void
  /** For a guest whose TCP connections can be joined again. */
  readonly resumption?: Resumption | undefined
}

export interface SourceFailure {
  readonly connection: ConnectionId
  readonly service: number
  /** The client, as `address:port`. */
  readonly client: string
  readonly reason: string
}

/** The gateway's way to the guest of the present generation. */
export class GuestPath {
  readonly #options: GuestPathOptions
  #attach: Attach | undefined
  #endpoints: readonly string[] = []

  constructor(options: GuestPathOptions) {
    this.#options = options
  }

  /** A generation begins: from now on the guest's services are at `endpoints`. */
  openAt(endpoints: readonly string[]): void {
    this.#attach?.close()
    this.#endpoints = endpoints
    this.#attach = this.#options.newAttach()
    this.#attach.onFloor = this.#options.floor
    this.#attach.onResetTaken = this.#options.resetTaken
  }

  open(
    connection: ConnectionId, service: number, events: StreamEvents, done: (result: OpenResult) => void,
    dialer: Dialer
  ): void {
    const attach = this.#current()
    const isClients = this.#options.sources[service] === 'client'
    const from = isClients ? endpointOf(dialer.clientAddress) : undefined
    if (isClients && from === undefined) {
      // The kernel does not know the address of a client that was gone before it was accepted.
      setImmediate(() => done({ ok: false, refused: true, reason: 'its client has no address' }))
      return
    }
    attach.open(this.#endpoint(service), connection, events, {
      from,
      opened: path => done({ ok: true, path }),
      failed: error => {
        const isOurs = this.#isOurs(error, connection, service)
        done({ ok: false, refused: !attach.silentOnDeath || isOurs, reason: error.message })
      }
    })
  }

  /** Whether it is this machine that refused the address to connect from; tells of any trouble with that. */
  #isOurs({ message: reason, context }: TailgateError, connection: ConnectionId, service: number): boolean {
    const { source: client, code } = context
    if (typeof client !== 'string') return false
    this.#options.sourceFailed({ connection, service, client, reason })
    // No answer may be the death of the guest's host as well.
    return code !== 'ETIMEDOUT'
  }

  attach(
    connection: ConnectionId, service: number, path: Uint8Array, received: OutputOffset, events: StreamEvents,
    done: (result: AttachResult) => void
  ): void {
    this.#current().attach(this.#endpoint(service), connection, path, received, events).then(
      answer => done({ ok: true, answer }),
      (error: unknown) => done({ ok: false, reason: messageOf(error) })
    )
  }

  acknowledge(connection: ConnectionId, received: OutputOffset): void {
    this.#attach?.acknowledge(connection, received)
  }

  /**
   * Reads what the kernel already holds of the old guest's output (design, failover step 2), until a whole
   * turn of the event loop has brought nothing more.
   */
  drain(connections: ReadonlyMap<ConnectionId, Connection>, done: () => void): void {
    const { fixedEndpoints, resumption } = this.#options
    const named = [...fixedEndpoints, ...this.#endpoints].filter((endpoint) => endpoint !== undefined)
    const shielded = resumption?.cut(named) ?? Promise.resolve()
    drainReads([...connections.values()].map(drained), drainLimits, () => void shielded.then(done))
  }

  /** The failover is over, or was given up. */
  settled(): void {
    void this.#options.resumption?.settled()
  }

  async close(): Promise<void> {
    this.#attach?.close()
    this.#attach = undefined
    await this.#options.resumption?.settled()
  }

  #current(): Attach {
    invariant(this.#attach !== undefined, 'the guest is joined only after its path was opened')
    return this.#attach
  }

  #endpoint(service: number): string {
    const endpoint = this.#options.fixedEndpoints[service] ?? this.#endpoints[service] ?? this.#endpoints[0]
    invariant(endpoint !== undefined, 'a service of the guest has an endpoint', { service })
    return endpoint
  }
}

function endpointOf(text: string): Endpoint | undefined {
  const address = parseAddress(text)
  return address === undefined ? undefined : { address: address.host, port: address.port }
}

function drained(connection: Connection): Drained {
  return {
    get bytesRead() { return connection.outputReceived },
    pause: () => connection.guest?.pause(),
    resume: () => connection.guest?.resume()
  }
}
