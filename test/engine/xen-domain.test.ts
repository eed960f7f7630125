import t from 'tap'
import { mustFit } from '../../src/engine/xen-domain.ts'
import { openPart, partHeader } from '../../src/engine/xen-image.ts'
import { describedIn } from '../../src/engine/xl.ts'
import { inPieces } from './compliance.ts'

// What a domain must be, and what an image says of itself.

const place = {
  domain: 'shop', device: 'shop0', bridge: 'guests', mac: '00:16:3e:00:00:09', checkpoints: 'remus'
} as const
const card = { devid: 0, mac: place.mac, bridge: 'guests', ifname: 'shop0', nictype: 'vif' }
const domain = { c_info: { type: 'pvh', name: 'shop' }, b_info: {}, nics: [card] }

/** What is wrong with a domain that differs so. */
function wrong(changes: object): string {
  try {
    mustFit(describedIn(JSON.stringify({ ...domain, ...changes })), place)
    return ''
  } catch (error) {
    return error instanceof Error ? error.message : ''
  }
}

void t.test('a domain fits its place, or is refused with the reason', (t) => {
  t.equal(wrong({}), '')
  t.equal(wrong({ disks: [{ vdev: 'xvda', readwrite: 0 }, { vdev: 'xvdb' }] }), '', 'disks to be read')
  t.match(wrong({ disks: [{ vdev: 'xvda', readwrite: 1 }] }), /it can write to its disk xvda/)
  t.match(wrong({ c_info: { type: 'pv', name: 'shop' } }), /paravirtualised \(PV\).*`checkpoints: save`/)
  t.match(wrong({ c_info: { type: 'pvh', name: 'other' } }), /it is called other/)
  t.match(wrong({ nics: [card, { ...card, devid: 1 }] }), /it has 2 network cards/)
  t.match(wrong({ nics: [] }), /it has 0 network cards/)
  t.match(wrong({ nics: [{ ...card, ifname: '' }] }), /called '', and the gate is laid before shop0/)
  const other = { ...card, mac: '00:16:3e:00:00:0a' }
  t.match(wrong({ nics: [other] }), /must say vif = \["mac=00:16:3e:00:00:09,/)
  t.match(wrong({ nics: [{ ...card, bridge: 'xenbr0' }] }), /on xenbr0/)
  t.equal(wrong({ nics: [{ ...card, mac: '00:16:3E:00:00:09' }] }), '', 'in large letters, too')
  t.throws(() => describedIn('none'), { code: 'E_ENGINE', message: /not JSON/ })
  t.match(describedIn(JSON.stringify([{ domid: 3, config: domain }])), { name: 'shop', type: 'pvh' },
    'xl list has it in a list')
  t.end()
})

void t.test('an image says which part of which stream it is', async (t) => {
  const part = { stream: '00112233445566778899aabbccddeeff', index: 7 }
  const image = Buffer.concat([partHeader(part), Buffer.from('the stream goes on')])
  for (const bytes of [1, 5, 31, 32, 33, 1000]) {
    const opened = await openPart(inPieces(image, bytes))
    t.same(opened.part, part)
    const pieces: Uint8Array[] = []
    for await (const piece of opened.bytes) pieces.push(piece)
    t.equal(Buffer.concat(pieces).toString(), 'the stream goes on')
  }
  await t.rejects(openPart(inPieces(image.subarray(0, 31))), { code: 'E_IMAGE', message: /ends within/ })
  await t.rejects(openPart(inPieces(Buffer.alloc(99))), { code: 'E_IMAGE', message: /not one of/ })
})

void t.test('an image is let go of, read or not', async (t) => {
  let closed = 0
  async function* image(bytes: Buffer): AsyncGenerator<Uint8Array, void> {
    try {
      for await (const piece of inPieces(bytes, 40)) yield piece
    } finally {
      closed++
    }
  }
  const part = { stream: '00112233445566778899aabbccddeeff', index: 0 }
  const whole = Buffer.concat([partHeader(part), Buffer.alloc(100)])
  await (await openPart(image(whole))).close()
  t.equal(closed, 1, 'of which only the header was wanted')
  const opened = await openPart(image(whole))
  for await (const piece of opened.bytes) if (piece.length > 0) break
  await opened.close()
  t.equal(closed, 2, 'of which a piece was')
  await t.rejects(openPart(image(Buffer.alloc(99))), { code: 'E_IMAGE' })
  t.equal(closed, 3, 'that is none')
})
