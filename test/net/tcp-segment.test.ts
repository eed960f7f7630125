import fc from 'fast-check'
import t from 'tap'
import { addressBytes, addressOfBytes, endpointOf, socketAddress } from '../../src/net/ip-address.ts'
import { checksum, readSegment, TcpFlag, writeSegment } from '../../src/net/tcp-segment.ts'

const port = fc.integer({ min: 0, max: 65_535 })
const number = fc.integer({ min: 0, max: 2 ** 32 - 1 })
const addresses = [['10.0.0.1', '192.0.2.255'], ['fd00::2', '2001:db8:0:1::ff']] as const

void t.test('what is written is read again, and its checksums are right', (t) => {
  for (const [source, target] of addresses) {
    const bytes = fc.uint8Array({ maxLength: 9 })
    fc.assert(fc.property(port, port, number, number, bytes, (from, to, a, b, data) => {
      const segment = {
        from: { address: source, port: from }, to: { address: target, port: to },
        sequence: a, acknowledgement: b, flags: TcpFlag.ack, window: 77
      }
      const packet = writeSegment(segment, data)
      const read = readSegment(packet)
      t.match(read, { ...segment, length: data.length })
      const header = source.includes(':') ? 40 : 20
      const tcp = packet.subarray(header)
      const pseudo = Buffer.from([0, 6, tcp.length >> 8, tcp.length & 255])
      return checksum([addressBytes(source), addressBytes(target), pseudo, tcp]) === 0
        && (header === 40 || checksum([packet.subarray(0, 20)]) === 0)
    }), { numRuns: 30 })
  }
  t.end()
})

void t.test('options: a block of SACK, timestamps, and what is cut off', (t) => {
  const [from, to] = [{ address: '10.0.0.1', port: 1 }, { address: '10.0.0.2', port: 2 }]
  const head = { from, to, sequence: 1, acknowledgement: 2, flags: TcpFlag.ack, window: 3 }
  const options = Buffer.from('0101080a00000007000000080101050a00000001000000020000', 'hex').subarray(0, 24)
  const packet = writeSegment(head, new Uint8Array(0), options)
  t.match(readSegment(packet), { timestamps: [7, 8], sackBlock: [1, 2] })
  t.equal(readSegment(packet.subarray(0, 30)), undefined)
  const broken = writeSegment(head, new Uint8Array(0), Buffer.from('08000000', 'hex'))
  t.match(readSegment(broken), { timestamps: undefined, sackBlock: undefined })
  t.equal(readSegment(Buffer.alloc(0)), undefined)
  t.end()
})

void t.test('addresses as bytes and back', (t) => {
  const texts = ['10.0.0.1', '255.255.255.255', '::', '::1', 'fd00::2', '2001:db8:0:1::ff', 'fe80::1:2:3:4']
  for (const text of texts) {
    t.equal(addressOfBytes(addressBytes(text)), text)
    t.same(endpointOf(socketAddress({ address: text, port: 7700 })), { address: text, port: 7700 })
  }
  t.same([...addressBytes('::ffff:10.0.0.1')].slice(10), [255, 255, 10, 0, 0, 1])
  t.end()
})
