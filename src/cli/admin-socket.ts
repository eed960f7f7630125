import { loadGatewayConfig } from '../config/load.ts'
import { usageError } from './parse.ts'
import type { Arguments, OptionTable, Verb } from './verb.ts'

/** Options by which a verb finds a running gateway. */
export const adminOptions: OptionTable = {
  config: { short: 'c', value: 'FILE', doc: "The gateway's file, which says where its admin socket is." },
  admin: { value: 'SOCKET', doc: 'The admin socket itself.' }
}

/** The path of the admin socket. Throws E_USAGE if no option names one, and E_CONFIG for a bad file. */
export function adminSocketOf(given: Arguments, verb: Pick<Verb, 'name'>): string {
  const [socket, file] = [given.value('admin'), given.value('config')]
  if (socket !== undefined) return socket
  if (file === undefined) throw usageError(verb, 'which gateway? Say -c FILE or --admin SOCKET')
  return loadGatewayConfig(file, { withFiles: false }).admin
}
