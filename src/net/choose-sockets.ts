import { TailgateError } from '../base/errors.ts'
import { NetSockets } from './net-sockets.ts'
import type { Sockets } from './sockets.ts'

/** Picks how the process talks TCP. `TAILGATE_SOCKETS` names one; E_CONFIG when it names none there is. */
export async function chooseSockets(
  wanted: string | undefined = process.env.TAILGATE_SOCKETS
): Promise<Sockets> {
  if (wanted !== undefined && wanted !== 'net') {
    throw new TailgateError('E_CONFIG', `TAILGATE_SOCKETS is '${wanted}'; it may be net`)
  }
  return Promise.resolve(new NetSockets())
}
