import { addressBytes, addressOfBytes, type Endpoint } from '../net/ip-address.ts'
import { addressText } from '../net/address.ts'
import type { TcpOrigin } from '../net/tcp-repair.ts'

/**
 * What CONNECTED's `path` holds of a connection that can be joined again (all numbers little-endian):
 *
 *      0  version, 1
 *      1  4 or 6: how the addresses are written
 *      2  flags: 1 window scales, 2 SACK, 4 timestamps, 8 the address here is the client's
 *      3  window scale of what is sent │ 16 times that of what is received
 *      4  port here, port there            2 × u16
 *      8  first sequence numbers: sent, received   2 × u32
 *     16  the largest segment that the guest takes  u32
 *     20  the clock: TSval minus this machine's monotonic milliseconds  u32
 *     24  address here, address there      2 × 4 or 2 × 16 bytes
 */
export interface TcpPathState extends Omit<TcpOrigin, 'timestamp'> {
  /** TSval minus the monotonic clock's milliseconds; without timestamps 0. */
  readonly clock: number
  /** The address here is the client's, and perhaps none of this machine. */
  readonly transparent?: true
}

const version = 1
const fixedBytes = 24
const withScales = 1
const withSack = 2
const withTimestamps = 4
const ofClient = 8

export function encodePath(state: TcpPathState): Uint8Array {
  const local = addressBytes(state.local.address)
  const remote = addressBytes(state.remote.address)
  const { scales } = state
  const out = Buffer.alloc(fixedBytes + 2 * local.length)
  out[0] = version
  out[1] = local.length === 4 ? 4 : 6
  out[2] = (scales === undefined ? 0 : withScales) | (state.sack ? withSack : 0)
    | (state.timestamps ? withTimestamps : 0) | (state.transparent === true ? ofClient : 0)
  out[3] = scales === undefined ? 0 : scales.send | scales.receive << 4
  out.writeUInt16LE(state.local.port, 4)
  out.writeUInt16LE(state.remote.port, 6)
  out.writeUInt32LE(state.sendBase, 8)
  out.writeUInt32LE(state.receiveBase, 12)
  out.writeUInt32LE(state.mss, 16)
  out.writeUInt32LE(state.clock, 20)
  out.set(local, fixedBytes)
  out.set(remote, fixedBytes + local.length)
  return out
}

/** Undefined for bytes that are not such a path: of another version, or of a connection of another kind. */
export function decodePath(path: Uint8Array): TcpPathState | undefined {
  const bytes = Buffer.from(path.buffer, path.byteOffset, path.length)
  const length = bytes[1] === 6 ? 16 : 4
  if (bytes[0] !== version || bytes.length !== fixedBytes + 2 * length) return undefined
  const flags = bytes[2] ?? 0
  const scale = bytes[3] ?? 0
  const end = (at: number, port: number): Endpoint => ({
    address: addressOfBytes(bytes.subarray(at, at + length)), port: bytes.readUInt16LE(port)
  })
  return {
    local: end(fixedBytes, 4), remote: end(fixedBytes + length, 6),
    sendBase: bytes.readUInt32LE(8), receiveBase: bytes.readUInt32LE(12),
    mss: bytes.readUInt32LE(16), clock: bytes.readUInt32LE(20),
    scales: (flags & withScales) === 0 ? undefined : { send: scale & 15, receive: scale >> 4 },
    sack: (flags & withSack) !== 0, timestamps: (flags & withTimestamps) !== 0,
    ...(flags & ofClient) === 0 ? {} : { transparent: true }
  }
}

/** A path for people: both ends of a TCP connection; undefined if it tells none. */
export function pathText(path: Uint8Array): string | undefined {
  const state = decodePath(path)
  if (state !== undefined) {
    const { local, remote } = state
    return `${addressText(local.address, local.port)} ${addressText(remote.address, remote.port)}`
  }
  const text = Buffer.from(path).toString('latin1')
  return /^[[\]0-9a-f.:]+ [[\]0-9a-f.:]+$/.test(text) ? text : undefined
}
