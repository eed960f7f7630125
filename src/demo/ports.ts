import { randomInt } from 'node:crypto'
import { createServer, type AddressInfo, type Server } from 'node:net'

/** Below the ports that Linux gives to outgoing connections, one of which may be there a moment later. */
const lowest = 10_000
const highest = 32_767
const triesMax = 1000

/**
 * Loopback ports that are free now. They are all held while they are chosen, so that they differ; another
 * program may still take one before it is used, which then is a clear E_LISTEN.
 */
export async function freePorts(count: number): Promise<number[]> {
  const servers: Server[] = []
  for (let tries = 0; servers.length < count; tries++) {
    if (tries > triesMax) throw new Error(`there are no ${count} free ports from ${lowest} to ${highest}`)
    const server = await listening(randomInt(lowest, highest + 1))
    if (server !== undefined) servers.push(server)
  }
  const ports = servers.map(server => (server.address() as AddressInfo).port)
  await Promise.all(servers.map(server => new Promise(resolve => server.close(resolve))))
  return ports
}

/** Undefined where the port is somebody's. */
function listening(port: number): Promise<Server | undefined> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', () => { resolve(undefined) })
    server.listen(port, '127.0.0.1', () => { resolve(server) })
  })
}
