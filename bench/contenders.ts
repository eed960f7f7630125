import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Contender } from './contender.ts'
import { freePorts, Program, programPath } from './program.ts'
import { tailgate } from './tailgate.ts'

/** Everything else is compared with this one; with `direct` where it is missing. */
export const yardstick = 'haproxy'

/** All contenders, in the order of the table. */
export function contenders(): readonly Contender[] {
  return [
    direct, haproxy('haproxy', undefined), haproxy('haproxy 64K', 65_536), sockets('handles'), sockets('net'),
    tailgate('plain'), tailgate('immediate'), tailgate('epoch')
  ]
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

/** HAProxy in `mode tcp` with one thread; `bufferBytes` where it is not to be its own default (16 KiB). */
function haproxy(name: string, bufferBytes: number | undefined): Contender {
  const program = programPath('haproxy')
  return {
    name,
    missing: program === undefined ? 'haproxy is not installed (Debian package haproxy)' : undefined,
    async start(services) {
      const directory = await mkdtemp(join(tmpdir(), 'tailgate-bench-haproxy-'))
      const ports = await freePorts(services.length)
      const file = join(directory, 'haproxy.cfg')
      await writeFile(file, haproxyFile(ports, services, bufferBytes))
      const running = new Program(name, 'contender', program ?? 'haproxy', ['-db', '-f', file])
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
  }
}

function haproxyFile(
  ports: readonly number[], services: readonly number[], bufferBytes: number | undefined
): string {
  const lines = [
    'global', '  nbthread 1', '  maxconn 5000',
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
