import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { httpFile, installedNginx, nginxArgs } from './nginx.ts'
import { freePorts, Program, programPath, type Place } from './program.ts'
import { slowServiceUs, type ServiceName } from './workloads.ts'

export interface Services {
  /** No port: the service is not there, and {@link Services.missing} says why. */
  readonly ports: Readonly<Partial<Record<ServiceName, number>>>
  readonly missing: readonly string[]
  stop(): Promise<void>
}

interface Service {
  readonly port: number
  stop(): Promise<void>
}

/**
 * Starts what is behind every contender: a real Redis without persistence, the other end of bulk transfer,
 * a service that takes its time, and an nginx that answers HTTP. Rejects without Redis; does without nginx.
 */
export async function startServices(): Promise<Services> {
  const started: Service[] = []
  const stop = async (): Promise<void> => {
    for (const service of started.toReversed()) await service.stop()
  }
  const add = async (starting: Promise<Service>): Promise<number> => {
    const service = await starting
    started.push(service)
    return service.port
  }
  try {
    const redis = await add(startRedis())
    const bulk = await add(startOwn('bulk service', 'bulk.ts', ['serve']))
    const slow = await add(startOwn('slow service', 'slow-service.ts', [String(slowServiceUs)]))
    const nginx = installedNginx()?.program
    if (nginx === undefined) {
      const missing = ['the HTTP service: nginx is not installed (Debian package nginx-light)']
      return { ports: { redis, bulk, slow }, missing, stop }
    }
    return { ports: { redis, bulk, slow, http: await add(startHttp(nginx)) }, missing: [], stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** So many of that Redis, on whatever processors. Rejects without Redis. */
export async function startRedisServers(
  count: number
): Promise<{ readonly ports: readonly number[], stop(): Promise<void> }> {
  const started: Service[] = []
  const stop = async (): Promise<void> => {
    for (const service of started.toReversed()) await service.stop()
  }
  try {
    while (started.length < count) started.push(await startRedis('anywhere'))
  } catch (error) {
    await stop()
    throw error
  }
  return { ports: started.map(({ port }) => port), stop }
}

async function startRedis(place: Place = 'others'): Promise<Service> {
  const server = programPath('redis-server')
  if (server === undefined) throw new Error('redis-server is not installed (Debian package redis-server)')
  const [port = 0] = await freePorts(1)
  const quiet = ['--save', '', '--appendonly', 'no', '--loglevel', 'warning', '--daemonize', 'no']
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--maxclients', '60000', ...quiet]
  return listening(new Program('redis-server', place, server, args), port)
}

/** One of ours, which says its port. */
async function startOwn(name: string, file: string, args: readonly string[]): Promise<Service> {
  const program = fileURLToPath(new URL(file, import.meta.url))
  const service = new Program(name, 'others', process.execPath, ['--import=tsx', program, ...args])
  const port = Number(await service.firstLine())
  return { port, stop: () => service.stop() }
}

async function startHttp(nginx: string): Promise<Service> {
  const directory = await mkdtemp(join(tmpdir(), 'tailgate-bench-'))
  const removed = (): Promise<void> => rm(directory, { recursive: true })
  try {
    const [port = 0] = await freePorts(1)
    const file = join(directory, 'http.conf')
    await writeFile(file, httpFile(port))
    const program = new Program('nginx', 'others', nginx, nginxArgs(directory, file))
    const { stop } = await listening(program, port)
    return { port, stop: () => stop().then(removed) }
  } catch (error) {
    await removed()
    throw error
  }
}

async function listening(program: Program, port: number): Promise<Service> {
  const stop = (): Promise<void> => program.stop()
  try {
    await program.listening(port)
  } catch (error) {
    await stop()
    throw error
  }
  return { port, stop }
}
