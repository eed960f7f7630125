import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { NetSockets } from '../../src/net/net-sockets.ts'
import { closeAll, eventually, Peer } from './peer.ts'

const crowded = fileURLToPath(new URL('crowded.ts', import.meta.url))
const linux = process.platform === 'linux'

interface Crowded { readonly port: number, readonly troubles: string[] }

/** Starts the echo with at most `descriptors` open files; it ends with the test. */
async function start(t: Test, name: string, descriptors: number, sidesMax: number): Promise<Crowded> {
  const script = `ulimit -n ${descriptors}; exec "$0" --import=tsx "$@"`
  const child = spawn('sh', ['-c', script, process.execPath, crowded, name, String(sidesMax)], {
    stdio: ['pipe', 'pipe', 'inherit']
  })
  t.teardown(() => child.stdin.end())
  const troubles: string[] = []
  const port = await new Promise<number>((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the echo ended with ${code ?? 'a signal'}`)))
    createInterface(child.stdout).on('line', (line) => {
      if (/^\d+$/.test(line)) resolve(Number(line))
      else troubles.push(line)
    })
  })
  return { port, troubles }
}

/**
 * Dials, and says something: resolves with the peer when it is echoed, with undefined when it is turned
 * away.
 */
async function visit(sockets: NetSockets, port: number): Promise<Peer | undefined> {
  const side = await sockets.dial('127.0.0.1', port, { timeoutMs: 10_000 }).catch(() => undefined)
  if (side === undefined) return undefined
  const peer = new Peer(side)
  peer.side.resume()
  peer.send('hello')
  await peer.until(() => peer.received === 5 || peer.told.includes('reset') || peer.told.includes('end'))
  return peer.received === 5 ? peer : undefined
}

for (const name of ['handles', 'net']) {
  const skip = linux ? false : 'needs the limits of Linux'
  void t.test(`${name}: clients below the limit of open files are reset`, { skip }, async (t) => {
    const sockets = new NetSockets()
    const { port, troubles } = await start(t, name, 256, 0)
    const visits: (Peer | undefined)[] = []
    for (let n = 0; n < 220; n++) visits.push(await visit(sockets, port))
    t.equal(visits.filter((peer) => peer !== undefined).length, 256 - 64)
    await eventually(() => troubles.length > 0, 'it says so')
    t.match(troubles, [/192 connections are open/])
    await closeAll()
    await served(sockets, port)
    await closeAll()
  })

  void t.test(`${name}: at the limit itself it lives, and goes on`, { skip }, async (t) => {
    const sockets = new NetSockets()
    const { port } = await start(t, name, 100, 10_000)
    const visits: (Peer | undefined)[] = []
    for (let n = 0; n < 150; n++) visits.push(await visit(sockets, port))
    const count = visits.filter((peer) => peer !== undefined).length
    t.ok(count > 20 && count < 100, `${count} were served`)
    await closeAll()
    await served(sockets, port)
    await closeAll()
  })
}

/**
 * Visits until one is served: the echo hears of the freed places a little later than they are freed here.
 */
async function served(sockets: NetSockets, port: number): Promise<void> {
  for (let n = 0; n < 1000; n++) if (await visit(sockets, port) !== undefined) return
  throw new Error('nobody is served any more')
}
