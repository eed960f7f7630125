declare const brand: unique symbol
type Branded<T, Name extends string> = T & { readonly [brand]: Name }

/**
 * Log sequence number: the gateway's order over all events of one guest. The first event of a gateway has lsn
 * 1.
 */
export type Lsn = Branded<number, 'Lsn'>
/**
 * A place in the input (client to guest) of one connection. Bytes count one each, and so does the end of
 * the stream, as SYN and FIN do in TCP's sequence space (RFC 9293, 3.4): a place beyond the last byte means
 * ended.
 */
export type InputOffset = Branded<number, 'InputOffset'>
/**
 * A place in the output (guest to client) of one connection; the end of the stream counts one, as for input.
 */
export type OutputOffset = Branded<number, 'OutputOffset'>
/** One client connection. Unique for the lifetime of a gateway process, across histories and generations. */
export type ConnectionId = Branded<number, 'ConnectionId'>
/**
 * Names one checkpoint of a guest. Grows with every attempt, counted or not, for the life of a primary's
 * agent.
 */
export type CheckpointId = Branded<number, 'CheckpointId'>
/** Grows by one at each promotion; 1 for a guest's first host. A message of an older one is refused. */
export type Generation = Branded<number, 'Generation'>
/** A log without a hole has one id: 16 lower-case hex digits. `noHistory` where there is none. */
export type HistoryId = Branded<string, 'HistoryId'>
/** CRC-32 (ISO-HDLC, as in zlib) over the output of a connection from its first byte. */
export type OutputHash = Branded<number, 'OutputHash'>
/** Milliseconds of a monotonic clock. The core is handed it and never reads it. */
export type Millis = Branded<number, 'Millis'>
/**
 * One gateway for as long as it keeps its state: 16 lower-case hex digits, random. `noGateway` where there is
 * none.
 */
export type GatewayId = Branded<string, 'GatewayId'>
/** The configured name of a machine that runs an agent. */
export type HostName = Branded<string, 'HostName'>

export const lsn = (n: number): Lsn => n as Lsn
export const inputOffset = (n: number): InputOffset => n as InputOffset
export const outputOffset = (n: number): OutputOffset => n as OutputOffset
export const connectionId = (n: number): ConnectionId => n as ConnectionId
export const checkpointId = (n: number): CheckpointId => n as CheckpointId
export const generation = (n: number): Generation => n as Generation
export const historyId = (s: string): HistoryId => s as HistoryId
export const outputHash = (n: number): OutputHash => n as OutputHash
export const millis = (n: number): Millis => n as Millis
export const gatewayId = (s: string): GatewayId => s as GatewayId
export const hostName = (s: string): HostName => s as HostName

export const noHistory = historyId('0000000000000000')
export const noGateway = gatewayId('0000000000000000')
export const noLsn = lsn(0)

/** Continues a CRC-32 over `bytes`. Handed to the core, because the fast one is a node: function. */
export type Hash = (bytes: Uint8Array, previous: OutputHash) => OutputHash
