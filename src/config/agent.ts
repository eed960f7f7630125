import { resolve } from 'node:path'
import { invariant, unreachable } from '../base/invariant.ts'
import { hostName } from '../core/ids.ts'
import type { AgentFile } from './agent-schema.ts'
import { checkListens, checkPlainLink, checkTls, checkUnique, type Checking } from './checks.ts'
import { frozen } from './frozen.ts'
import { buildTls, present } from './gateway.ts'
import type { Path, Problems } from './problems.ts'
import type { Loose } from './shape.ts'
import { checkQemu } from './qemu-checks.ts'
import { checkXen } from './xen-checks.ts'
import type { AgentConfig, AgentGuestConfig, QemuGuestConfig, XenGuestConfig } from './types.ts'
import { formatAddress } from './values.ts'

type LooseFile = Loose<AgentFile>
type LooseGuest = NonNullable<NonNullable<LooseFile['guests']>[number]>
type FileGuest = AgentFile['guests'][number]

/** Which keys each engine has beside `name` and `engine`. */
const engineKeys = {
  xen: ['endpoints', 'domain', 'config', 'checkpoints', 'network'],
  qemu: ['endpoints', 'qemu', 'arguments', 'qmp', 'network', 'disks'],
  embedded: ['listen'],
  blackhole: ['endpoints', 'pids', 'pid_file', 'unsafe'],
  none: ['endpoints']
} as const satisfies Record<FileGuest['engine'], readonly (keyof FileGuest)[]>

/** Reports what does not fit together in an agent file. */
export function checkAgent(file: LooseFile, checking: Checking): void {
  const { problems } = checking
  const guests = present(file.guests)
  if (file.guests?.length === 0) problems.report(['guests'], 'must have at least one guest')
  if (file.gateways?.length === 0) problems.report(['gateways'], 'must have at least one name: nobody '
    + 'could command this agent')
  checkTls(checking, file.tls)
  checkPlainLink(problems, ['link'], file.link, file.tls)
  checkUnique(problems, 'guest',
    guests.map(([i, { name }]) => ({ path: ['guests', i, 'name'], value: name })))
  checkListens(problems, [
    { path: ['link'], value: file.link },
    { path: ['metrics'], value: file.metrics },
    ...guests.flatMap(([i, guest]) => present(guest.listen).map(([k, value]) =>
      ({ path: ['guests', i, 'listen', k], value })))
  ])
  for (const [i, peer] of present(file.peers)) {
    if (peer === file.name) problems.report(['peers', i], `'${peer}' is this host itself; name the others`)
  }
  for (const [i, guest] of guests) {
    checkGuest(guest, ['guests', i], problems)
    if (guest.engine === 'xen') checkXen(guest, ['guests', i], checking)
    if (guest.engine === 'qemu') checkQemu(guest, ['guests', i], checking, file.data_dir)
  }
}

/** @param directory where the file is */
export function buildAgent(file: AgentFile, directory: string): AgentConfig {
  return frozen<AgentConfig>({
    kind: 'agent',
    name: hostName(file.name),
    link: file.link,
    dataDir: resolve(directory, file.data_dir),
    metrics: file.metrics,
    logLevel: file.log_level,
    tls: buildTls(file.tls, directory),
    gateways: file.gateways,
    peers: file.peers.map(hostName),
    limits: { imageBytes: file.limits.image, spoolBytes: file.limits.spool },
    guests: file.guests.map((guest) => buildGuest(guest, directory))
  })
}

function buildGuest(guest: FileGuest, directory: string): AgentGuestConfig {
  const { name, engine, listen, endpoints, pids } = guest
  switch (engine) {
    case 'embedded': return { engine, name, listen }
    case 'none': return { engine, name, endpoints }
    case 'xen': return buildXen(guest, directory)
    case 'qemu': return buildQemu(guest, directory)
    case 'blackhole': {
      const pidFile = guest.pid_file === undefined ? undefined : resolve(directory, guest.pid_file)
      return { engine, name, endpoints, pids, pidFile }
    }
    default: return unreachable(engine)
  }
}

function buildQemu(guest: FileGuest, directory: string): QemuGuestConfig {
  const { name, endpoints, network, qmp } = guest
  invariant(network?.tap !== undefined, 'a file that was checked has a tap for each QEMU guest')
  const { tap, bridge, mac, card } = network
  return {
    engine: 'qemu', name, endpoints, network: { tap, bridge, mac, card },
    program: guest.qemu.length === 0 ? ['qemu-system-x86_64'] : guest.qemu,
    arguments: guest.arguments.length === 0 ? undefined : guest.arguments,
    attach: qmp === undefined ? undefined : resolve(directory, qmp),
    disks: guest.disks.map(({ base, format }) => ({ base: resolve(directory, base), format }))
  }
}

function buildXen(guest: FileGuest, directory: string): XenGuestConfig {
  const { name, endpoints, network, domain = name, config, checkpoints = 'remus' } = guest
  invariant(network?.vif !== undefined, 'a file that was checked has a vif for each domain')
  const { vif, bridge, mac } = network
  return {
    engine: 'xen', name, endpoints, domain, checkpoints, network: { vif, bridge, mac },
    config: config === undefined ? undefined : resolve(directory, config)
  }
}

function checkGuest(guest: LooseGuest, path: Path, problems: Problems): void {
  const { engine } = guest
  if (engine === undefined) return
  const own: readonly string[] = engineKeys[engine]
  for (const key of new Set(Object.values(engineKeys).flat())) {
    if (!own.includes(key) && problems.given([...path, key])) {
      problems.report([...path, key], `\`${key}\` has no place with engine \`${engine}\``)
    }
  }
  const places = engine === 'embedded' ? 'listen' : 'endpoints'
  if (guest[places]?.length === 0) {
    problems.report([...path, places], `engine \`${engine}\` needs \`${places}\`: one address for each `
      + `service`)
  }
  if (engine === 'embedded') checkEmbedded(guest, path, problems)
  if (engine === 'blackhole') checkBlackhole(guest, path, problems)
}

/** The embedded guest has one address, with a port for each service. */
function checkEmbedded({ listen }: LooseGuest, path: Path, problems: Problems): void {
  const [first, ...others] = present(listen).map(([, address]) => address)
  const other = others.find(({ host }) => host !== first?.host)
  if (first === undefined || other === undefined) return
  const two = `${formatAddress(first)} and ${formatAddress(other)} are on two`
  problems.report([...path, 'listen'],
    `an embedded guest listens on one address, with a port for each service; ${two}`)
}

function checkBlackhole(guest: LooseGuest, path: Path, problems: Problems): void {
  if (guest.unsafe === false || !problems.given([...path, 'unsafe'])) {
    problems.report([...path, 'engine'],
      'a guest under `blackhole` is never protected; say `unsafe: true` if that is what you want')
  }
  const [pids, pidFile] = [problems.given([...path, 'pids']), problems.given([...path, 'pid_file'])]
  if (pids === pidFile) {
    const only = pids ? ', not both' : ''
    problems.report(path, `engine \`blackhole\` needs one of \`pids\` and \`pid_file\`${only}`)
  }
}
