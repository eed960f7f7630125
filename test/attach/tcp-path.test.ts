import t from 'tap'
import { decodePath, encodePath, pathText, type TcpPathState } from '../../src/attach/tcp-path.ts'

const four: TcpPathState = {
  local: { address: '10.0.0.1', port: 40_000 }, remote: { address: '10.0.0.2', port: 6379 },
  sendBase: 2 ** 32 - 1, receiveBase: 0, mss: 1460, clock: 2 ** 31, scales: { send: 14, receive: 7 },
  sack: true, timestamps: true
}
const six: TcpPathState = {
  ...four, local: { address: 'fd00::1', port: 1 }, remote: { address: 'fd00::2', port: 65_535 },
  scales: undefined, sack: false, timestamps: false, clock: 0
}

void t.test('a path is read as it was written, and shown as both of its ends', (t) => {
  for (const state of [four, six]) t.same(decodePath(encodePath(state)), state)
  t.equal(pathText(encodePath(four)), '10.0.0.1:40000 10.0.0.2:6379')
  t.equal(pathText(encodePath(six)), '[fd00::1]:1 [fd00::2]:65535')
  t.end()
})

void t.test('paths of other kinds are none', (t) => {
  const text = Buffer.from('10.0.0.1:40000 10.0.0.2:6379')
  t.equal(decodePath(text), undefined)
  t.equal(pathText(text), text.toString())
  t.equal(decodePath(encodePath(four).subarray(0, 31)), undefined)
  t.equal(decodePath(new Uint8Array(0)), undefined)
  t.equal(pathText(new Uint8Array(0)), undefined)
  t.equal(pathText(Buffer.from([2, 4, 0])), undefined)
  t.end()
})
