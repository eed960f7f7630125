import t, { type Test } from 'tap'
import { announcementsOf } from '../../../src/engine/announcement.ts'
import { TapNetwork } from '../../../src/engine/tap-network.ts'
import { clientMac, guestMac, join, makeBridge, Scene, Station } from './ethernet.ts'

/** RFC 1071, as a receiver checks it: all words with the checksum among them sum up to ffff. */
function sumOf(bytes: Buffer): number {
  let sum = 0
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return sum
}

void t.test('the frames say what the standards say', (t) => {
  const [arp, advertisement, dotted] = announcementsOf(guestMac, ['10.1.2.3', 'fd00::7', '::ffff:1.2.3.4'])
  t.equal(arp?.toString('hex'), 'ffffffffffff' + '525400000001' + '0806' + '0001' + '0800' + '0604' + '0001'
    + '525400000001' + '0a010203' + '000000000000' + '0a010203' + '00'.repeat(18))
  const address = 'fd000000000000000000000000000007'
  t.match(advertisement?.toString('hex'), new RegExp('^33330000000152540000000186dd6000000000203aff'
    + `${address}ff0200000000000000000000000000018800....20000000${address}0201525400000001$`))
  for (const frame of [advertisement, dotted]) {
    if (frame === undefined) throw new Error('one frame for each address')
    const pseudo = Buffer.concat([frame.subarray(22, 54), Buffer.from([0, 0, 0, 32, 0, 0, 0, 58])])
    t.equal(sumOf(Buffer.concat([pseudo, frame.subarray(54)])), 0xffff)
  }
  t.equal(dotted?.toString('hex', 22, 38), '00000000000000000000ffff01020304')
  t.match(announcementsOf(guestMac, [])[0]?.toString('hex'), /^ffffffffffff52540000000180350001080006040003/)
  const noAddress = { code: 'E_ENGINE', message: /'redis' is not an address/ }
  t.throws(() => announcementsOf(guestMac, ['redis']), noAddress)
  const noMac = { code: 'E_ENGINE', message: /MAC address/ }
  t.throws(() => announcementsOf('ff:ff:ff:ff:ff:ff', []), noMac)
  t.end()
})

/** One guest on two hosts, joined by a switch with a client: `host-a ── switch ── host-b`. */
async function twoHosts(t: Test): Promise<{
  readonly a: TapNetwork, readonly b: TapNetwork, readonly client: Station
  guestOn(network: TapNetwork): Station
}> {
  for (const name of ['switch', 'host-a', 'host-b']) makeBridge(t, name)
  join(t, 'host-a', 'switch')
  join(t, 'host-b', 'switch')
  const network = (letter: string): TapNetwork => new TapNetwork({
    guest: letter, bridge: `host-${letter}`, mac: guestMac, addresses: ['10.1.2.3', 'fd00::7']
  })
  const [a, b] = [network('a'), network('b')]
  for (const one of [a, b]) {
    t.teardown(() => one.close())
    await one.prepare()
  }
  const client = Station.on(t, 'switch', 'client', clientMac)
  return { a, b, client, guestOn: (on) => Station.at(t, on.device, guestMac) }
}

/** Sends frames to the guest until `there` has got one of them; then one more, whose number is returned. */
async function talk(client: Station, there: Station, from: number): Promise<number> {
  let number = from
  await there.until('the client', () => {
    client.send(++number, guestMac)
    return there.from(clientMac).some((got) => got > from)
  })
  client.send(++number, guestMac)
  await there.until('one more', () => there.from(clientMac).includes(number))
  return number
}

void t.test('what is announced leads to the host where the guest is now', async (t) => {
  const { a, b, client, guestOn } = await twoHosts(t)
  const [onA, onB] = [guestOn(a), guestOn(b)]
  await a.open()
  await client.until('the guest on host-a', () => onA.send(1) && client.from(guestMac).length > 0)
  let number = await talk(client, onA, 0)
  t.same(onB.from(clientMac), [], 'switches know the way')
  // In one namespace the gate of host-a would hold what host-b says: where it is real, host-a is elsewhere.
  await a.close()
  await b.open()
  const silent = number
  client.send(++number, guestMac)
  await b.announce()
  await client.until('two announcements', () => client.announcements.length >= 2)
  t.same(client.announcements.slice(0, 2), announcementsOf(guestMac, ['10.1.2.3', 'fd00::7']))
  number = await talk(client, onB, number)
  t.notOk(onB.from(clientMac).includes(silent + 1), 'before it was announced, its frames went to host-a')
  t.notOk(onA.from(clientMac).some((got) => got > silent))
})

void t.test('nobody speaks in the name of a guest whose lease has run out', async (t) => {
  const scene = await Scene.set(t)
  const { network, client } = scene
  await t.rejects(network.announce(), { code: 'E_ENGINE', message: /is shut/ })
  await network.open()
  await network.announce()
  await client.until('an announcement and its repeats', () => client.announcements.length === 4)
  network.renewLease(0)
  await network.announce()
  await scene.mark()
  t.equal(client.announcements.length, 4)
  network.renewLease(60_000)
  await scene.untilPasses(true, 1)
  await network.announce()
  await client.until('one more announcement', () => client.announcements.length > 4)
})
