import { createServer } from 'node:net'

/** Below the range from which kernels take the ports of outgoing connections. */
const first = 20_000
const count = 12_000
let next = first + (process.pid * 37) % count

/**
 * A loopback port for a program that cannot be told to choose one itself. It lies where no outgoing
 * connection takes it between now and its use, which matters in tests that make thousands of them.
 */
export async function quietPort(): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const port = next
    next = first + (next + 1 - first) % count
    if (await isFree(port)) return port
  }
  throw new Error(`no port is free from ${first} on`)
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  return new Promise((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
