import { join, resolve } from 'node:path'
import { hostName } from '../core/ids.ts'
import {
  checkListens, checkOrder, checkPlainLink, checkProgram, checkSocketPath, checkTls, checkUnique,
  type Checking
} from './checks.ts'
import { frozen } from './frozen.ts'
import { gatewaySchema, guest as guestShape, type GatewayFile } from './gateway-schema.ts'
import type { Path, Problems } from './problems.ts'
import type { Loose } from './shape.ts'
import type { Address, GatewayConfig, GuestConfig, ReleaseMode, TlsFiles } from './types.ts'
import { formatAddress, formatDuration, formatSize } from './values.ts'

type LooseFile = Loose<GatewayFile>
type LooseGuest = NonNullable<NonNullable<LooseFile['guests']>[number]>
type FileGuest = GatewayFile['guests'][number]

/** Keys that say something only about a guest that an agent runs. */
const hostedKeys = [
  'durability', 'checkpoint_interval', 'heartbeat', 'lease', 'on_link_loss', 'on_divergence', 'replay', 'log'
] as const

/** Reports what does not fit together in a gateway file. */
export function checkGateway(file: LooseFile, checking: Checking): void {
  const { problems } = checking
  const guests = present(file.guests)
  if (file.guests?.length === 0) problems.report(['guests'], 'must have at least one guest')
  checkTls(checking, file.tls)
  checkLimits(file, problems)
  checkWorkers(file, problems)
  checkSocketPath(checking, [problems.given(['admin']) ? 'admin' : 'state_dir'],
    file.admin ?? adminIn(file.state_dir ?? ''))
  checkUnique(problems, 'guest',
    guests.map(([i, { name }]) => ({ path: ['guests', i, 'name'], value: name })))
  checkListens(problems, [
    { path: ['metrics'], value: file.metrics },
    ...guests.flatMap(([i, guest]) => present(guest.services).map(([k, { listen }]) =>
      ({ path: ['guests', i, 'services', k, 'listen'], value: listen })))
  ])
  checkHostsAgree(guests, problems)
  for (const [i, guest] of guests) {
    checkHosts(guest, ['guests', i], file, checking)
    checkServices(guest, ['guests', i], problems)
    checkTimes(guest, ['guests', i], file, problems)
  }
}

/** What is in effect, in the notation of the file, with the defaults that depend on other keys. */
export function effectiveGateway(file: GatewayFile): unknown {
  const guests = file.guests.map((guest) => {
    const services = guest.services.map((service) => ({ ...service, release: releaseOf(guest, service) }))
    const shown = Object.entries(guestShape.print({ ...guest, services }) as object)
    const without: readonly string[] = guest.hosts.length === 0 ? hostedKeys : []
    return Object.fromEntries(shown.filter(([key]) => !without.includes(key)))
  })
  const printed = gatewaySchema.print({ ...file, admin: file.admin ?? adminIn(file.state_dir) }) as object
  return { ...printed, guests }
}

/** @param directory where the file is */
export function buildGateway(file: GatewayFile, directory: string): GatewayConfig {
  const { limits, timeouts } = file
  const stateDir = resolve(directory, file.state_dir)
  return frozen<GatewayConfig>({
    kind: 'gateway',
    name: file.name,
    stateDir,
    admin: resolve(directory, file.admin ?? adminIn(file.state_dir)),
    metrics: file.metrics,
    logLevel: file.log_level,
    workers: file.workers,
    tls: buildTls(file.tls, directory),
    limits: {
      connections: limits.connections,
      heldBytes: limits.held,
      epochBytes: limits.epoch,
      inFlightBytes: limits.in_flight,
      clientBufferBytes: limits.client_buffer
    },
    timeouts: {
      connectMs: timeouts.connect,
      fenceMs: timeouts.fence,
      promoteMs: timeouts.promote,
      drainMs: timeouts.drain
    },
    guests: file.guests.map(buildGuest)
  })
}

export function buildTls(tls: TlsFiles | undefined, directory: string): TlsFiles | undefined {
  if (tls === undefined) return undefined
  const at = (file: string): string => resolve(directory, file)
  return { ca: at(tls.ca), cert: at(tls.cert), key: at(tls.key) }
}

/** The elements of a list that could be read, with their indices. */
export function present<T>(
  values: readonly (T | undefined)[] | undefined
): readonly (readonly [number, T])[] {
  return (values ?? []).flatMap((value, i) => value === undefined ? [] : [[i, value] as const])
}

/** Where the admin socket is unless the file says it. */
function adminIn(stateDir: string): string {
  return join(stateDir, 'admin.sock')
}

/** A guest without hosts has no backup that could commit anything. */
function releaseOf({ hosts }: FileGuest, { release }: FileGuest['services'][number]): ReleaseMode {
  return release ?? (hosts.length === 0 ? 'immediate' : 'epoch')
}

function buildGuest(guest: FileGuest): GuestConfig {
  return {
    name: guest.name,
    attach: guest.attach,
    resume: guest.resume,
    hosts: guest.hosts.map(({ name, link, fence }) => ({ name: hostName(name), link, fence })),
    durability: guest.durability,
    checkpointIntervalMs: guest.checkpoint_interval,
    heartbeat: { intervalMs: guest.heartbeat.interval, misses: guest.heartbeat.misses },
    leaseMs: guest.lease,
    onLinkLoss: guest.on_link_loss,
    onDivergence: guest.on_divergence,
    replay: { order: guest.replay.order, timeoutMs: guest.replay.timeout },
    log: { memoryBytes: guest.log.memory, totalBytes: guest.log.total },
    services: guest.services.map((service) => ({
      name: service.name, listen: service.listen, to: service.to, source: service.source,
      release: releaseOf(guest, service)
    }))
  }
}

function checkLimits({ limits }: LooseFile, problems: Problems): void {
  if (limits === undefined) return
  checkOrder(problems, ['limits', 'held'], ['limits.client_buffer', limits.client_buffer],
    ['limits.held', limits.held], formatSize, 'one connection alone could use up what all may hold')
  checkOrder(problems, ['limits', 'in_flight'], ['limits.epoch', limits.epoch],
    ['limits.in_flight', limits.in_flight], formatSize, 'a full epoch could never leave')
}

/** Every worker has a guest, and its share of the connections. */
function checkWorkers({ workers, guests, limits }: LooseFile, problems: Problems): void {
  if (workers === undefined) return
  const there = guests?.length ?? 0
  if (there > 0 && workers > there) {
    const have = there === 1 ? 'there is one guest' : `there are ${there} guests`
    problems.report(['workers'], `${workers} workers, and ${have}: a guest is served by one worker, so that `
      + 'further ones would have nothing to do')
  }
  checkOrder(problems, ['limits', 'connections'], ['workers', workers],
    ['limits.connections', limits?.connections], String, 'each worker has its share of the connections')
}

/** One host is one agent, at one address, whichever guest it is named for. */
function checkHostsAgree(guests: readonly (readonly [number, LooseGuest])[], problems: Problems): void {
  const links = new Map<string, string>()
  const names = new Map<string, string>()
  for (const [i, guest] of guests) {
    for (const [k, { name, link }] of present(guest.hosts)) {
      if (name === undefined || link === undefined) continue
      const [path, address] = [['guests', i, 'hosts', k, 'link'], formatAddress(link)]
      const [before, owner] = [links.get(name), names.get(address)]
      if (before !== undefined && before !== address) {
        problems.report(path, `host '${name}' has the link ${before} elsewhere in this file, and has one `
          + `agent only`)
      } else if (owner !== undefined && owner !== name) {
        problems.report(path, `${address} is the link of host '${owner}' already`)
      }
      links.set(name, before ?? address)
      names.set(address, owner ?? name)
    }
  }
}

function checkHosts(guest: LooseGuest, path: Path, file: LooseFile, checking: Checking): void {
  const { problems } = checking
  const hosts = present(guest.hosts)
  checkUnique(problems, 'host of this guest',
    hosts.map(([k, { name }]) => ({ path: [...path, 'hosts', k, 'name'], value: name })))
  for (const [k, { link, fence }] of hosts) {
    checkPlainLink(problems, [...path, 'hosts', k, 'link'], link, file.tls)
    checkProgram(checking, [...path, 'hosts', k, 'fence'], fence ?? [])
    if (fence?.length === 0 && problems.given([...path, 'hosts', k, 'fence'])) {
      problems.report([...path, 'hosts', k, 'fence'], 'must begin with a program; leave the key out if '
        + 'there is none')
    }
  }
  if (guest.hosts?.length === 1 && guest.on_link_loss === 'stall') {
    problems.report([...path, 'on_link_loss'], '`stall` waits for a backup, and a guest with one host '
      + 'never has one')
  }
  if (guest.hosts?.length === 0) checkPlainGuest(guest, path, problems)
}

function checkPlainGuest(guest: LooseGuest, path: Path, problems: Problems): void {
  if (guest.attach === 'embedded') {
    problems.report([...path, 'attach'], '`embedded` needs a host whose agent runs the guest; name one in '
      + '`hosts`')
  }
  for (const key of hostedKeys) {
    if (problems.given([...path, key])) {
      problems.report([...path, key], `\`${key}\` has no effect on a guest without hosts, which is only `
        + `proxied`)
    }
  }
  for (const [k, { release }] of present(guest.services)) {
    if (release === undefined || release === 'immediate') continue
    problems.report([...path, 'services', k, 'release'],
      `\`${release}\` waits for a backup, and a guest without hosts has none; leave the key out, or name `
        + `\`hosts\``)
  }
}

function checkServices(guest: LooseGuest, path: Path, problems: Problems): void {
  const services = present(guest.services)
  if (guest.services?.length === 0) problems.report([...path, 'services'], 'must have at least one service')
  checkUnique(problems, 'service of this guest',
    services.map(([k, { name }]) => ({ path: [...path, 'services', k, 'name'], value: name })))
  for (const [k, { listen, to, source }] of services) {
    const at = [...path, 'services', k]
    if (guest.attach === 'embedded' && source === 'client') {
      problems.report([...at, 'source'], '`client` has no place with attach `embedded`, whose guest takes '
        + 'all its connections from the gateway')
    }
    const given = problems.given([...at, 'to'])
    if (guest.attach === 'embedded' && given) {
      problems.report([...at, 'to'], '`to` has no place with attach `embedded`: the agent says where its '
        + 'guest listens')
    } else if (guest.attach === 'tcp' && !given) {
      problems.report(at, "the key 'to' is missing: with attach `tcp` the gateway must know where the "
        + "guest listens")
    }
    if (to !== undefined && listen !== undefined && sameAddress(to, listen)) {
      problems.report([...at, 'to'], 'is the address that the gateway itself listens on for this service')
    }
  }
}

function checkTimes(guest: LooseGuest, path: Path, file: LooseFile, problems: Problems): void {
  const { interval, misses } = guest.heartbeat ?? {}
  const silence = interval === undefined || misses === undefined ? undefined : interval * misses
  const at = problems.given([...path, 'lease']) ? [...path, 'lease'] : [...path, 'heartbeat']
  checkOrder(problems, at, ['heartbeat.interval × misses', silence], ['lease', guest.lease], formatDuration,
    "the guest's network would shut while its host still counts as alive")
  checkOrder(problems, [...path, 'log', 'total'], ['log.memory', guest.log?.memory],
    ['log.total', guest.log?.total], formatSize, 'the total includes what is in memory')
  checkOrder(problems, [...path, 'log', 'memory'], ['limits.epoch', file.limits?.epoch],
    ['log.memory', guest.log?.memory], formatSize, 'the backup must be able to take a whole epoch')
}

function sameAddress(a: Address, b: Address): boolean {
  return a.port === b.port && a.host === b.host
}
