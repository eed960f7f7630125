/*
 * What the clients of the failover runs say, in the Redis protocol. Each connection has a key of its own, so
 * that no order of requests on different connections matters.
 */

export const ok = Buffer.from('+OK\r\n')
export const ping = command('PING')
export const pong = Buffer.from('+PONG\r\n')

/** A value of so many bytes that says whose it is and which one, as far as there is room. */
function valueOf(connection: number, request: number, bytes: number): Buffer {
  return Buffer.alloc(bytes, `${connection}-${request}.`, 'latin1')
}

function bulk(text: string): string {
  return `$${text.length}\r\n${text}\r\n`
}

/** A command of Redis and its arguments. */
export function command(...words: readonly string[]): Buffer {
  return Buffer.from(`*${words.length}\r\n${words.map(bulk).join('')}`)
}

function keyOf(connection: number): string {
  return `connection-${connection}`
}

export function set(connection: number, request: number, valueBytes: number): Buffer {
  return setKey(keyOf(connection), valueOf(connection, request, valueBytes))
}

export function setKey(key: string, value: Buffer): Buffer {
  const head = `*3\r\n${bulk('SET')}${bulk(key)}$${value.length}\r\n`
  return Buffer.concat([Buffer.from(head), value, Buffer.from('\r\n')])
}

export function get(connection: number): Buffer {
  return command('GET', keyOf(connection))
}

/** What {@link get} is to be answered after that request was the last one. */
export function got(connection: number, request: number, valueBytes: number): Buffer {
  const value = valueOf(connection, request, valueBytes)
  return Buffer.concat([Buffer.from(`$${value.length}\r\n`), value, Buffer.from('\r\n')])
}

/** The length of a {@link set}. */
export function requestBytes(connection: number, valueBytes: number): number {
  return set(connection, 0, valueBytes).length
}
