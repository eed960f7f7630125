import type { AgentFile } from './agent-schema.ts'
import type { Checking } from './checks.ts'
import type { Path } from './problems.ts'
import { checkDevice } from './qemu-checks.ts'
import type { Loose } from './shape.ts'

/** What Xen adds to the name of a device for the card that it emulates besides. */
const emulatedSuffix = '-emu'
/** With that, a name is as long as the kernel takes it (IFNAMSIZ, without the closing zero). */
const vifNameMax = 15 - emulatedSuffix.length

/** Reports what does not fit together in a guest of the engine `xen`. */
export function checkXen(
  guest: Loose<AgentFile['guests'][number]>, path: Path, { problems }: Checking
): void {
  checkDevice(guest, path, problems, 'vif', 'tap')
  if (problems.given([...path, 'network', 'card'])) {
    problems.report([...path, 'network', 'card'], "`card` has no place with engine `xen`: the domain's "
      + 'configuration describes it')
  }
  const vif = guest.network?.vif
  if (vif !== undefined && vif.length > vifNameMax) {
    problems.report([...path, 'network', 'vif'], `'${vif}' is too long: Xen calls the card that it emulates `
      + `${vif}-emu, and a name may have ${vifNameMax + emulatedSuffix.length} characters`)
  }
  const { domain } = guest
  if (domain !== undefined && !/^[\w.+-]+$/.test(domain)) {
    problems.report([...path, 'domain'], `'${domain}' is no name that Xen gives a domain`)
  }
}
