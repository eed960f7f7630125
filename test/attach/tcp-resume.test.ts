import { performance } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { decodePath, encodePath, type TcpPathState } from '../../src/attach/tcp-path.ts'
import { TcpPlaces, TcpPlacesBook } from '../../src/attach/tcp-places.ts'
import { TcpResumeAttach } from '../../src/attach/tcp-resume.ts'
import { TcpSide } from '../../src/attach/tcp-side.ts'
import { outputOffset } from '../../src/core/ids.ts'
import type { AttachAnswer } from '../../src/core/path.ts'
import { openCapture } from '../../src/net/capture.ts'
import { chooseSockets } from '../../src/net/choose-sockets.ts'
import { probeDistance, RawProbe } from '../../src/net/raw-probe.ts'
import { RawSender } from '../../src/net/raw-sender.ts'
import { TcpState } from '../../src/net/tcp-info.ts'
import { TcpFlag, writeSegment, type ReadSegment } from '../../src/net/tcp-segment.ts'
import { inNamespace } from '../namespace.ts'
import type { TcpImage } from '../net/tcp-image.ts'
import { nextConnection } from './compliance.ts'
import { openPath } from './open-path.ts'
import { Recorder, turns, write } from './recorder.ts'
import { ResumeCase, testShield } from './resume-case.ts'
import { gatewayAddress, guestAddress, guestPort, RewoundGuest } from './rewound-guest.ts'

const modulus = 2 ** 32

function stateOf(path: Uint8Array): TcpPathState {
  const state = decodePath(path)
  if (state === undefined) throw new Error('the path tells no sequence numbers')
  return state
}

if (inNamespace(t, fileURLToPath(import.meta.url))) {
  const { sockets } = await chooseSockets()
  const shield = testShield()
  const guest = await RewoundGuest.start()
  const endpoint = await guest.listen()
  t.teardown(() => guest.stop())
  const addresses = [guestAddress[4], guestAddress[6]]
  const settings = (book = new TcpPlacesBook(), connectMs = 5000) =>
    ({ sockets, connectMs, book, shielded: () => shield.armed })

  await t.test('what comes before there is anything to join', async (t) => {
    await shield.disarm()
    const attach = new TcpResumeAttach(settings())
    const events = new Recorder()
    const { side, path } = await openPath(attach, endpoint, nextConnection(), events)
    await guest.nextAccepted()
    const [other, none] = [nextConnection(), outputOffset(0)]
    await t.rejects(attach.attach(endpoint, other, path, none, events),
      { code: 'E_ATTACH', message: /would reset it/ })
    await shield.arm(addresses)
    const text = Buffer.from('10.0.0.1:1 10.0.0.2:2')
    await t.rejects(attach.attach(endpoint, other, text, none, events),
      { code: 'E_ATTACH', message: /does not tell its sequence numbers/ })
    // Its own socket is still there: the kernel has no room for a second one.
    await t.rejects(attach.attach(endpoint, other, path, none, events),
      { code: 'E_ATTACH', message: /cannot be rebuilt beside another one: EADDRNOTAVAIL/ })
    side.reset()
    attach.close()
    await t.rejects(attach.attach(endpoint, other, path, none, events), { message: /let go/ })
  })

  await t.test('a guest that does not answer is given up', async (t) => {
    const attach = new TcpResumeAttach(settings(undefined, 300))
    t.teardown(() => attach.close())
    const remote = { address: '10.77.0.99', port: 1 }
    const { path } = await openPath(attach, endpoint, nextConnection(), new Recorder())
    await guest.nextAccepted()
    const nowhere = encodePath({ ...stateOf(path), remote })
    await t.rejects(attach.attach('10.77.0.99:1', nextConnection(), nowhere, outputOffset(0), new Recorder()),
      { code: 'E_ATTACH', message: /has not answered for 10\.77\.0\.99 1/ })
  })

  await t.test('letting go is silent, a reset is not, with the shield up', async (t) => {
    const attach = new TcpResumeAttach(settings())
    const events = new Recorder()
    const [silent, loud] = [await openPath(attach, endpoint, nextConnection(), events),
      await openPath(attach, endpoint, nextConnection(), events)]
    const first = await guest.nextAccepted()
    const second = await guest.nextAccepted()
    for (const at of [first, second]) await guest.resume(at)
    silent.side.abandon()
    loud.side.reset()
    await guest.told(second, 'reset')
    t.equal((await guest.info(first)).state, TcpState.established)
    attach.close()
    await guest.write(first, 'to nobody')
    await turns()
    t.equal((await guest.info(first)).state, TcpState.established, 'and the kernel here does not answer')
    t.same(events.told, [])
  })

  await t.test('floors: what the guest acknowledges, the ends too, in either order', async (t) => {
    for (const first of ['client', 'guest'] as const) {
      const attach = new TcpResumeAttach(settings())
      t.teardown(() => attach.close())
      const events = new Recorder()
      const connection = nextConnection()
      const reached = (place: number): Promise<void> => new Promise((resolve) => {
        attach.onFloor = (of, floor) => { if (of === connection && floor === place) resolve() }
      })
      const { side } = await openPath(attach, endpoint, connection, events)
      const at = await guest.nextAccepted()
      side.resume()
      const acknowledged = reached(5)
      write(side, 'input')
      t.equal(side.unacknowledged, 5)
      await acknowledged
      t.equal(side.unacknowledged, 0)
      if (first === 'guest') {
        await guest.end(at)
        await events.untilTold('end')
      }
      const ended = reached(6)
      side.end()
      if (first === 'client') {
        await guest.until(at, TcpState.closeWait)
        await guest.end(at)
        await events.untilTold('end')
      }
      await ended
      t.pass(`the ${first} ended first`)
    }
  })

  await t.test('output that was acknowledged here and not read when the guest was saved', async (t) => {
    const one = new ResumeCase(guest, sockets, shield)
    t.teardown(() => one.close())
    await one.open(endpoint)
    await one.output('read ')
    await one.read()
    one.side.pause()
    await one.output('not read ')
    let image = await one.mark()
    // It has left the guest's queue once the kernel here has acknowledged it.
    while (image.unacknowledged.length + image.unsent.length > 0) image = await one.mark()
    t.equal(one.received, 5)
    one.side.resume()
    await one.read()
    await one.cut()
    await one.restore(image)
    const events = new Recorder()
    const answer = await one.join(endpoint, events)
    t.match(answer, { known: true, output: 14, resumesAt: 14 })
    if (!answer.known) return
    answer.side.resume()
    await guest.write(one.at, 'new')
    await events.untilText('new')
    t.equal(events.text, 'new')
  })

  await t.test('both ends told before the guest died: nothing is left but to silence it', async (t) => {
    const one = new ResumeCase(guest, sockets, shield)
    await one.open(endpoint)
    const before = sockets.open
    await one.output('bye')
    await one.endOutput()
    await one.read()
    await one.guest.until(one.at, TcpState.finWait2)
    const image = { ...await one.mark(), state: TcpState.finWait1 }
    one.endInput()
    await one.cut()
    t.equal(sockets.open, before - 1, 'the old socket is closed')
    await one.restore(image)
    const answer = await one.join(endpoint, new Recorder())
    t.match(answer, { known: true, input: 0, output: 4, resumesAt: 4 })
    if (!answer.known) return
    answer.side.resume()
    answer.side.end()
    await guest.resume(one.at)
    await guest.told(one.at, 'end')
    await one.close()
    t.equal(sockets.open, before - 1)
  })

  for (const first of ['client', 'guest'] as const) {
    await t.test(`the end of the ${first} told before the guest died: the other one lets go`, async (t) => {
      const one = new ResumeCase(guest, sockets, shield)
      t.teardown(() => one.close())
      await one.open(endpoint)
      const before = sockets.open
      if (first === 'client') one.endInput()
      else await one.endOutput()
      await one.guest.until(one.at, first === 'client' ? TcpState.closeWait : TcpState.finWait2)
      if (first === 'client') await one.heard()
      else await one.read()
      const image = await one.mark()
      await one.cut()
      await one.restore(image)
      const events = new Recorder()
      const answer = await one.join(endpoint, events)
      t.match(answer, first === 'client' ? { input: 1, output: 0 } : { input: 0, output: 1 })
      if (!answer.known) return
      const { port } = stateOf(one.path).local
      const { side } = answer
      side.resume()
      if (first === 'client') await one.endOutput()
      else one.endInput()
      await guest.untilGone(port)
      await guest.looks(() => side instanceof TcpSide && side.descriptor < 0)
      t.equal(sockets.open, before - 1, 'the rebuilt socket is closed, too')
      t.same(events.told, first === 'client' ? ['end'] : [])
    })
  }

  await t.test('streams beyond 4 GiB, twice', async (t) => {
    const one = new ResumeCase(guest, sockets, shield)
    await one.open(endpoint)
    one.input('before ')
    await one.heard()
    await one.output('answer ')
    await one.read()
    const image = await one.mark()
    await one.cut()
    const [input, output] = [2 * modulus + 12_345, 5 * modulus + 678]
    const state = stateOf(one.path)
    const path = encodePath({
      ...state, sendBase: (state.sendBase + modulus - 12_345) % modulus,
      receiveBase: (state.receiveBase + modulus - 678) % modulus
    })
    const book = new TcpPlacesBook()
    book.begin(one.connection, new TcpPlaces(input + 7, output + 7))
    const attach = new TcpResumeAttach(settings(book))
    t.teardown(() => attach.close())
    await one.restore(image)
    await guest.resume(one.at)
    const events = new Recorder()
    const answer = await attach.attach(endpoint, one.connection, path, outputOffset(output + 7), events)
    t.match(answer, { known: true, input: input + 7, output: output + 7, resumesAt: output + 7 })
    if (!answer.known) return
    const floor = new Promise<number>((resolve) => { attach.onFloor = (_, place) => resolve(place) })
    write(answer.side, 'more')
    t.equal(await guest.heard(one.at, 4), 'more')
    t.equal(await floor, input + 11)
  })

  await t.test('a tail of 1.75 GiB or more is refused, and no byte of a probe becomes input', async (t) => {
    const one = new ResumeCase(guest, sockets, shield)
    await one.open(endpoint)
    one.input('before ')
    await one.heard()
    const image = await one.mark()
    await one.cut()
    await one.restore(image)
    await guest.resume(one.at)
    const after = async (tail: number): Promise<AttachAnswer> => {
      const book = new TcpPlacesBook()
      book.begin(one.connection, new TcpPlaces(7 + tail, 0))
      const attach = new TcpResumeAttach(settings(book, 300))
      t.teardown(() => attach.close())
      return await attach.attach(endpoint, one.connection, one.path, outputOffset(0), new Recorder())
    }
    await t.rejects(after(probeDistance + 2 ** 27),
      { code: 'E_ATTACH', message: /1\.88 GiB of input since .* less than 1\.75 GiB: shorten/ })
    // The first byte that the guest waits for, and one within its window: it has nothing to say to either.
    for (const beyond of [0, 1000]) {
      await t.rejects(after(probeDistance + beyond), { code: 'E_ATTACH', message: /has not answered for/ })
    }
    const answer = await after(probeDistance - 1)
    t.match(answer, { known: true, input: 7 })
    if (!answer.known) return
    write(answer.side, 'more')
    t.equal(await guest.heard(one.at, 4), 'more')
  })

  await t.test('packets are captured only while somebody waits for an answer', async (t) => {
    const probe = new RawProbe()
    t.teardown(() => probe.close())
    const local = { address: gatewayAddress[4], port: 40_007 }
    const remote = { address: guestAddress[4], port: guestPort }
    const question = { local, remote, sendNext: 0, receiveNext: 5 }
    for (let time = 0; time < 2; time++) {
      const answer = probe.ask(question, 5000)
      t.ok(probe.isListening)
      t.same(await answer, { known: false })
      t.ok(probe.isListening, 'the next one is asked soon')
      while (probe.isListening) await turns(1)
    }
  })

  await t.test('sequence numbers that turn over', async (t) => {
    const [sendBase, receiveBase] = [modulus - 10, modulus - 12]
    const local = { address: gatewayAddress[4], port: 40_001 }
    const remote = { address: guestAddress[4], port: guestPort }
    const agreed = { mss: 1460, scales: { send: 7, receive: 7 }, sack: true, timestamps: true }
    const image: TcpImage = {
      ...agreed, local: remote, remote: local, sendNext: modulus - 5, receiveNext: modulus - 3,
      timestamp: 1000, sendWindow: 65_536, state: TcpState.established, unread: Buffer.alloc(0),
      unacknowledged: Buffer.alloc(0), unsent: Buffer.alloc(0),
      window: {
        sendSequence: modulus - 3, sendWindow: 65_536, maxWindow: 65_536, receiveWindow: 65_536,
        receiveUpdate: modulus - 3
      }
    }
    const at = await guest.restore(image)
    await guest.resume(at)
    const attach = new TcpResumeAttach(settings())
    t.teardown(() => attach.close())
    const path = encodePath({ ...agreed, local, remote, sendBase, receiveBase, clock: 0 })
    const events = new Recorder()
    const answer = await attach.attach(endpoint, nextConnection(), path, outputOffset(7), events)
    t.match(answer, { known: true, input: 7, output: 7, resumesAt: 7 })
    if (!answer.known) return
    answer.side.resume()
    write(answer.side, 'over the edge')
    t.equal(await guest.heard(at, 13), 'over the edge')
    await guest.write(at, 'and back again')
    await events.untilText('and back again')
    t.equal(events.text, 'and back again')
  })

  await t.test('a guest that had seen no more than the SYN', async (t) => {
    const local = { address: gatewayAddress[4], port: 40_002 }
    const remote = { address: guestAddress[4], port: guestPort }
    const head = { from: local, to: remote, sequence: 4711, acknowledgement: 0, window: 0xffff }
    const sender = new RawSender()
    const synAck = await new Promise<ReadSegment>((resolve) => {
      const capture = openCapture({ filter: `tcp and dst port ${local.port}` }, (segment) => {
        capture.close()
        resolve(segment)
      })
      // MSS 1460, and nothing else.
      sender.send(writeSegment({ ...head, flags: TcpFlag.syn }, new Uint8Array(0),
        Buffer.from('020405b4', 'hex')), remote.address)
    })
    sender.close()
    t.equal(synAck.flags, TcpFlag.syn | TcpFlag.ack)
    const attach = new TcpResumeAttach(settings())
    t.teardown(() => attach.close())
    const path = encodePath({
      local, remote, sendBase: 4712, receiveBase: (synAck.sequence + 1) % modulus, mss: 1460,
      scales: undefined, sack: false, timestamps: false, clock: 0
    })
    const answer = await attach.attach(endpoint, nextConnection(), path, outputOffset(0), new Recorder())
    t.match(answer, { known: true, input: 0, output: 0, resumesAt: 0 })
    if (!answer.known) return
    write(answer.side, 'first')
    const at = await guest.nextAccepted()
    await guest.resume(at)
    t.equal(await guest.heard(at, 5), 'first')
  })

  await t.test('1,000 connections at once', async (t) => {
    const count = 1000
    const book = new TcpPlacesBook()
    const first = new TcpResumeAttach(settings(book))
    const opened = await Promise.all(Array.from({ length: count }, async () => {
      const connection = nextConnection()
      return { connection, path: await openPath(first, endpoint, connection, new Recorder()) }
    }))
    const logged = opened.map(({ connection, path }) => ({ connection, path: path.path }))
    const accepted: TcpImage[] = []
    const from = await guest.nextAccepted()
    for (let at = from + 1; at < from + count; at++) await guest.nextAccepted()
    for (let at = from; at < from + count; at++) accepted.push(await guest.dump(at))
    first.close()
    for (let at = from; at < from + count; at++) await guest.vanish(at)
    const at: number[] = []
    for (const image of accepted) at.push(await guest.restore(image))
    const second = new TcpResumeAttach(settings(book))
    t.teardown(() => second.close())
    const since = performance.now()
    const answers = await Promise.all(logged.map(({ connection, path }) =>
      second.attach(endpoint, connection, path, outputOffset(0), new Recorder())))
    t.comment(`probed, rebuilt and adopted in ${Math.round(performance.now() - since)} ms`)
    t.equal(answers.filter(({ known }) => known).length, count)
    for (const answer of answers) if (answer.known) write(answer.side, 'go')
    for (const one of at) {
      await guest.resume(one)
      t.equal(await guest.heard(one, 2), 'go')
    }
  })
}
