import { guestMark } from '../attach/tcp-resume.ts'
import type { GatewayConfig, GuestConfig } from '../config/types.ts'
import { checkTcpResume, missingText, withoutText } from '../net/tcp-resume-support.ts'
import type { Logger } from '../observe/logger.ts'

/** A guest that is checkpointed, with a TCP of its own. */
function wantsResume({ attach, resume, hosts }: GuestConfig): boolean {
  return attach === 'tcp' && resume === 'auto' && hosts.length > 0
}

/**
 * The names of the guests whose TCP connections this machine can join again after a failover. Tries what that
 * takes, if a guest may want it, and logs what is missing and what can be done without.
 */
export async function joinableGuests(config: GatewayConfig, logger: Logger): Promise<ReadonlySet<string>> {
  const wanting = config.guests.filter(wantsResume)
  if (wanting.length === 0) return new Set()
  // Other workers of this gateway may be trying the same.
  const support = await checkTcpResume({ mark: guestMark, shieldName: `${config.name}-${process.pid}` })
  const found = { missing: missingText(support), without: withoutText(support) }
  logger.event(support.resumes ? 'resume.possible' : 'resume.impossible', found)
  return new Set(support.resumes ? wanting.map(({ name }) => name) : [])
}
