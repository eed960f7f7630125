import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { decodePath } from '../../src/attach/tcp-path.ts'
import { TcpPlacesBook } from '../../src/attach/tcp-places.ts'
import { TcpResumeAttach } from '../../src/attach/tcp-resume.ts'
import { outputOffset, type ConnectionId } from '../../src/core/ids.ts'
import type { AttachResult, OpenResult } from '../../src/core/gateway/port.ts'
import { GuestPath } from '../../src/gateway/guest-path.ts'
import { Resumption } from '../../src/gateway/resumption.ts'
import { chooseSockets } from '../../src/net/choose-sockets.ts'
import type { TcpImage } from '../net/tcp-image.ts'
import { nextConnection } from '../attach/compliance.ts'
import { Recorder, write } from '../attach/recorder.ts'
import { gatewayAddress, guestAddress, guestPort, RewoundGuest } from '../attach/rewound-guest.ts'
import { inNamespace, run } from '../namespace.ts'

// A failover of connections that have their clients' addresses: this namespace is the gateway, with the
// rules of deploy/redirect.sh; the guest is a real kernel that goes back; what leaves to the clients is
// counted. The gateway forwards, so that whatever is not led to it would leave there.

const script = fileURLToPath(new URL('../../deploy/redirect.sh', import.meta.url))
const clientsDevice = 'clients'
const clientOf = { 4: '10.78.0.9', 6: 'fd78::9' } as const
const guestDevice = 'tgr1'
/** Of another service of the guest, to which a client may connect from the same port. */
const otherPort = guestPort + 1

function redirect(...args: readonly string[]): void {
  const { status, stderr } = spawnSync('bash', [script, ...args], { encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
}

/** TCP segments that have left to clients. */
function sentToClients(): number {
  return Number(/packets (\d+)/.exec(run('nft', 'list', 'counter', 'inet', 'watch', 'sent'))?.[1])
}

function prepareNetwork(): void {
  run('ip', 'link', 'add', clientsDevice, 'type', 'veth', 'peer', 'name', 'far')
  for (const device of [clientsDevice, 'far']) run('ip', 'link', 'set', device, 'up')
  run('ip', 'addr', 'add', '10.78.0.1/24', 'dev', clientsDevice)
  run('ip', 'addr', 'add', 'fd78::1/64', 'dev', clientsDevice, 'nodad')
  for (const name of ['ipv4/ip_forward', 'ipv6/conf/all/forwarding']) {
    writeFileSync(`/proc/sys/net/${name}`, '1')
  }
  run('nft', `table inet watch {
    counter sent { }
    chain out {
      type filter hook postrouting priority 0; policy accept
      oifname "${clientsDevice}" meta l4proto tcp counter name sent
    }
  }`)
}

/** One guest-facing connection and its ends. */
interface Opened {
  readonly connection: ConnectionId
  readonly path: Uint8Array
  readonly events: Recorder
  readonly at: number
}

/** Opens a connection and has one line said in either direction. */
async function open(
  t: Test, guest: RewoundGuest, path: GuestPath, clientAddress: string, service: number
): Promise<Opened> {
  const connection = nextConnection()
  const events = new Recorder()
  const opened = await new Promise<OpenResult>((resolve) => {
    path.open(connection, service, events, resolve, { clientAddress })
  })
  if (!opened.ok) throw new Error(opened.reason)
  const { side, path: logged } = opened.path
  const at = await guest.nextAccepted()
  side.resume()
  await guest.resume(at)
  write(side, 'before')
  t.equal(await guest.heard(at, 6), 'before')
  await guest.write(at, 'answer')
  await events.untilText('answer')
  return { connection, path: logged, events, at }
}

if (inNamespace(t, fileURLToPath(import.meta.url))) {
  const { sockets } = await chooseSockets()
  const guest = await RewoundGuest.start()
  t.teardown(() => guest.stop())
  prepareNetwork()
  for (const [family, network] of [['-4', '10.78.0.0/24'], ['-6', 'fd78::/64']] as const) {
    const via = gatewayAddress[family === '-4' ? 4 : 6]
    await guest.ask({ op: 'run', command: ['ip', family, 'route', 'add', network, 'via', via] })
  }
  const services = [guestPort, otherPort].flatMap((port) =>
    ['--service', `${guestAddress[4]}:${port}=7004`, '--service', `[${guestAddress[6]}]:${port}=7006`])
  redirect('up', '--mode', 'tproxy', '--client-if', clientsDevice, '--guest-if', guestDevice, ...services)

  for (const family of [4, 6] as const) {
    const client = clientOf[family]
    const clientAddress = family === 4 ? `${client}:40001` : `[${client}]:40001`

    await t.test(`IPv${family}: a connection with its client's address outlives its guest`, async (t) => {
      const troubles: string[] = []
      const fixedEndpoints = [await guest.listen(family), await guest.listen(family, otherPort)]
      const resumption = new Resumption({
        guest: 'vm-1', sockets, connectMs: 5000, trouble: (reason) => troubles.push(reason)
      })
      const path = new GuestPath({
        newAttach: () => resumption.newAttach(), resumption, fixedEndpoints, sources: ['client', 'client'],
        sourceFailed: ({ reason }) => troubles.push(reason),
        floor: () => undefined, resetTaken: () => undefined
      })
      path.openAt([])
      const one = await open(t, guest, path, clientAddress, 0)
      const state = decodePath(one.path)
      t.match(state, { transparent: true, local: { address: client, port: 40_001 } })
      const image: TcpImage = await guest.dump(one.at)
      t.same(image.remote, { address: client, port: 40_001 }, 'the guest sees its client')
      const beside = await open(t, guest, path, clientAddress, 1)

      await new Promise<void>((resolve) => path.drain(new Map(), resolve))
      for (const { at } of [one, beside]) await guest.vanish(at)
      path.openAt([])
      const sentBefore = sentToClients()
      const again = await guest.restore(image)
      // Nobody here has a socket for it: neither its client nor a reset may hear of that.
      await guest.write(again, ' and more')
      const events = new Recorder()
      const received = outputOffset('answer'.length)
      const answer = await new Promise<AttachResult>((resolve) => {
        path.attach(one.connection, 0, one.path, received, events, resolve)
      })
      t.match(answer, { ok: true, answer: { known: true, input: 6, resumesAt: 6 } })
      if (!answer.ok || !answer.answer.known) return
      answer.answer.side.resume()
      await guest.resume(again)
      write(answer.answer.side, 'after')
      t.equal(await guest.heard(again, 5), 'after')
      await events.untilText(' and more')
      t.equal(events.text, ' and more')
      t.equal(sentToClients(), sentBefore, 'nothing of it went to its client')

      await t.test('another one of that client and port, which the guest does not know', async (t) => {
        const [other, none] = [unknownPath(one.path), outputOffset(0)]
        const unknown = await new Promise<AttachResult>((resolve) => {
          path.attach(nextConnection(), 0, other, none, new Recorder(), resolve)
        })
        t.same(unknown, { ok: true, answer: { known: false } })
        t.equal(sentToClients(), sentBefore, 'nor did the reset with which the guest has answered')
      })
      await resumption.settled()
      const after = await open(t, guest, path, clientAddress, 1)
      await path.close()
      for (const at of [again, after.at]) await guest.vanish(at)
      t.same(troubles, [])
    })
  }

  await t.test("an unanswered dial does not keep its client's address from the next guest", async (t) => {
    const settings = { sockets, connectMs: 300, book: new TcpPlacesBook(), shielded: () => false }
    const troubles: string[] = []
    const path = new GuestPath({
      newAttach: () => new TcpResumeAttach(settings), fixedEndpoints: [`10.77.0.99:${guestPort}`],
      sources: ['client'], sourceFailed: ({ reason }) => troubles.push(reason),
      floor: () => undefined, resetTaken: () => undefined
    })
    const dial = (): Promise<OpenResult> => new Promise((resolve) => {
      path.openAt([])
      path.open(nextConnection(), 0, new Recorder(), resolve, { clientAddress: `${clientOf[4]}:40002` })
    })
    const [first, second] = await Promise.all([dial(), dial()])
    t.match(first, { ok: false, reason: /has been let go/ })
    t.match(second, { ok: false, refused: false })
    t.match(troubles, [/no answer came/])
    await path.close()
  })
}

/** The same with another port of the client. */
function unknownPath(path: Uint8Array): Uint8Array {
  const other = Uint8Array.from(path)
  other[4] = (other[4] ?? 0) ^ 1
  return other
}
