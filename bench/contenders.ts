import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { connectionsMax, type Contender, type Running } from './contender.ts'
import { installedNginx, nginxArgs, streamFile } from './nginx.ts'
import type { Options } from './options.ts'
import { freePorts, Program, programPath } from './program.ts'
import { tailgate } from './tailgate.ts'

/** Everything else is compared with this one; with `direct` where it is missing. */
export const yardstick = 'haproxy'

/** HAProxy's own buffers are 16 KiB. Bulk is compared with the fastest, other loads are not made for them. */
const bulkBuffersKiB = [64, 128, 256] as const

/** The one of them that a quick run has. */
const quickBulkName = 'haproxy 64K'

/** Those that goals name, beside HAProxy. */
const goalNames = ['tailgate plain', 'tailgate epoch', 'tailgate epoch disk']

/** All contenders, in the order of the table. */
export function contenders(): readonly Contender[] {
  return [
    direct, haproxy(yardstick, undefined), ...bulkBuffersKiB.map(haproxyForBulk), nginxStream(),
    sockets('handles'), sockets('net'),
    tailgate('plain'), tailgate('immediate'), tailgate('epoch'), tailgate('epoch disk')
  ]
}

/**
 * Those that are asked for, in the order of the table: with `only`, those whose names hold one of its texts,
 * and what they are compared with; else all, or with `quick` or `goals` those that the goals name.
 */
export function chosenContenders(
  all: readonly Contender[],
  { quick, goals, only }: Pick<Options, 'quick' | 'goals' | 'only'>
): readonly Contender[] {
  const compared = all.some(({ name, missing }) => name === yardstick && missing === undefined)
  return all.filter(({ name }) => {
    // A quick run has no time for every buffer.
    if (isYardstick(name)) return !quick || name === yardstick || name === quickBulkName
    if (only.length > 0) return name === 'direct' || only.some((text) => name.includes(text))
    return !(quick || goals) || goalNames.includes(name) || (name === 'direct' && !compared)
  })
}

/** HAProxy, with whatever buffers. */
function isYardstick(name: string): boolean {
  return name === yardstick || name.startsWith(`${yardstick} `)
}

const nothingToVerify = (): Promise<void> => Promise.resolve()

/** No proxy: the most that load generator and service can do. */
const direct: Contender = {
  name: 'direct',
  missing: undefined,
  start: (services) => Promise.resolve({
    ports: services, pid: undefined, verify: nothingToVerify, stop: () => Promise.resolve()
  })
}

function haproxyForBulk(bufferKiB: number): Contender {
  return { ...haproxy(`${yardstick} ${bufferKiB}K`, bufferKiB * 1024), only: 'bulk' }
}

/** HAProxy in `mode tcp` with one thread; `bufferBytes` where it is not to be its own default (16 KiB). */
function haproxy(name: string, bufferBytes: number | undefined): Contender {
  const program = programPath('haproxy')
  return {
    name,
    missing: program === undefined ? 'haproxy is not installed (Debian package haproxy)' : undefined,
    start: (services) => startPeer(name, services, {
      program: program ?? 'haproxy',
      text: (ports) => haproxyFile(ports, services, bufferBytes),
      args: (_, file) => ['-db', '-f', file]
    })
  }
}

/** nginx as a TCP proxy, with one worker and its own buffers. */
function nginxStream(): Contender {
  const name = 'nginx stream'
  const nginx = installedNginx()
  const stream = nginx?.stream ?? { kind: 'missing' }
  const lacks = nginx === undefined ? 'nginx is not installed' : 'nginx has no stream module'
  return {
    name,
    missing: stream.kind === 'missing'
      ? `${lacks} (Debian packages nginx-light, libnginx-mod-stream)`
      : undefined,
    start: (services) => startPeer(name, services, {
      program: nginx?.program ?? 'nginx',
      text: (ports) => streamFile(stream, ports, services),
      args: nginxArgs
    })
  }
}

/** A program that one file tells what to do. */
interface Peer {
  readonly program: string
  text(ports: readonly number[]): string
  args(directory: string, file: string): string[]
}

/** Resolves when it takes connections on all its ports. Its directory goes when it stops. */
async function startPeer(name: string, services: readonly number[], peer: Peer): Promise<Running> {
  const directory = await mkdtemp(join(tmpdir(), 'tailgate-bench-'))
  const ports = await freePorts(services.length)
  const file = join(directory, 'peer.conf')
  await writeFile(file, peer.text(ports))
  const running = new Program(name, 'contender', peer.program, peer.args(directory, file))
  const stop = async (): Promise<void> => {
    await running.stop()
    await rm(directory, { recursive: true })
  }
  try {
    for (const port of ports) await running.listening(port)
  } catch (error) {
    await stop()
    throw error
  }
  return { ports, pid: running.pid, verify: nothingToVerify, stop }
}

function haproxyFile(
  ports: readonly number[], services: readonly number[], bufferBytes: number | undefined
): string {
  const lines = [
    'global', '  nbthread 1', `  maxconn ${connectionsMax()}`,
    ...bufferBytes === undefined ? [] : [`  tune.bufsize ${bufferBytes}`],
    'defaults', '  mode tcp', '  timeout connect 5s', '  timeout client 1h', '  timeout server 1h'
  ]
  for (const [index, port] of ports.entries()) {
    lines.push(`listen service${index}`, `  bind 127.0.0.1:${port}`)
    lines.push(`  server one 127.0.0.1:${services[index]}`)
  }
  return `${lines.join('\n')}\n`
}

/** src/net alone, behind forwarder.ts: what the gateway could reach without its core. */
function sockets(kind: 'handles' | 'net'): Contender {
  const forwarder = fileURLToPath(new URL('forwarder.ts', import.meta.url))
  return {
    name: `sockets ${kind}`,
    missing: undefined,
    async start(services) {
      const environment = `TAILGATE_SOCKETS=${kind}`
      const args = [environment, process.execPath, '--import=tsx', forwarder, ...services.map(String)]
      const running = new Program(`sockets ${kind}`, 'contender', 'env', args)
      const ports = (await running.firstLine()).split(' ').map(Number)
      return { ports, pid: running.pid, verify: nothingToVerify, stop: () => running.stop() }
    }
  }
}
