import { guestMark } from '../attach/tcp-resume.ts'
import type { GatewayConfig, GuestConfig } from '../config/types.ts'
import { resolveHost } from '../net/address.ts'
import { checkTcpResume, missingText, withoutText } from '../net/tcp-resume-support.ts'
import type { Logger } from '../observe/logger.ts'

type Family = 4 | 6

/** A guest that is checkpointed, with a TCP of its own. */
function wantsResume({ attach, resume, hosts }: GuestConfig): boolean {
  return attach === 'tcp' && resume === 'auto' && hosts.length > 0
}

/**
 * The names of the guests whose TCP connections this machine can join again after a failover. Tries what that
 * takes for each family of addresses that such guests have, and logs what is missing and what can be done
 * without. The address of a name is waited for no longer than a connection would be.
 */
export async function joinableGuests(config: GatewayConfig, logger: Logger): Promise<ReadonlySet<string>> {
  const wanting = await Promise.all(config.guests.filter(wantsResume).map(async (guest) => ({
    name: guest.name, families: await familiesOf(guest, config.timeouts.connectMs)
  })))
  const joined = new Set<Family>()
  for (const family of [4, 6] as const) {
    if (!wanting.some(({ families }) => families.includes(family))) continue
    // Other workers of this gateway may be trying the same.
    const shieldName = `${config.name}-${process.pid}`
    const support = await checkTcpResume({ family, mark: guestMark, shieldName })
    logger.event(support.resumes ? 'resume.possible' : 'resume.impossible', {
      family: `IPv${family}`, missing: missingText(support), without: withoutText(support)
    })
    if (support.resumes) joined.add(family)
  }
  const joinable = wanting.filter(({ families }) => families.every((family) => joined.has(family)))
  return new Set(joinable.map(({ name }) => name))
}

/** Of each service of the guest. */
function familiesOf({ services }: GuestConfig, timeoutMs: number): Promise<readonly Family[]> {
  return Promise.all(services.flatMap(({ to }) => to === undefined ? [] : [familyOf(to.host, timeoutMs)]))
}

/** What connections to `host` would be at this moment; IPv4 where that cannot be known. */
function familyOf(host: string, timeoutMs: number): Promise<Family> {
  return new Promise((resolve) => {
    const limit = setTimeout(() => resolve(4), timeoutMs)
    const known = (family: Family): void => {
      clearTimeout(limit)
      resolve(family)
    }
    resolveHost(host).then(({ family }) => known(family === 6 ? 6 : 4), () => known(4))
  })
}
