import { createServer, type AddressInfo } from 'node:net'

/**
 * Loopback ports that are free now. They are all held while they are chosen, so that they differ; another
 * program may still take one before it is used, which then is a clear E_LISTEN.
 */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer())
  await Promise.all(servers.map(server => new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => resolve())
  })))
  const ports = servers.map(server => (server.address() as AddressInfo).port)
  await Promise.all(servers.map(server => new Promise(resolve => server.close(resolve))))
  return ports
}
