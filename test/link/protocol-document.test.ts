import { readFile } from 'node:fs/promises'
import t from 'tap'
import type { Envelope } from '../../src/core/message.ts'
import { codecNumbered, messageNumbers, type WireMessage } from '../../src/link/message-codec.ts'
import { comparable } from './arbitraries.ts'
import { framesIn, frameOf, versionOf } from './frames.ts'

const page = await readFile(new URL('../../docs/LINK_PROTOCOL.md', import.meta.url), 'utf8')

interface Vector {
  readonly envelope: Envelope
  readonly message: WireMessage
  readonly hex: string
}

/** JSON has no bytes; the page writes them as `{"hex": ...}`. */
function withBytes(_key: string, value: unknown): unknown {
  const isBytes = typeof value === 'object' && value !== null && 'hex' in value
  return isBytes ? Buffer.from(String(value.hex), 'hex') : value
}

function vectors(): Vector[] {
  return [...page.matchAll(/^```vector\n(.+)\n([0-9a-f \n]+)```$/gm)].map(([, json = '', hex = '']) => {
    const { message, ...envelope } = JSON.parse(json, withBytes) as Envelope & { message: WireMessage }
    return { envelope, message, hex: hex.replaceAll(/\s/g, '') }
  })
}

void t.test('every vector of the page is what the code writes and reads', t => {
  const seen = new Set<string>()
  for (const { envelope, message, hex } of vectors()) {
    seen.add(message.type)
    t.equal(frameOf({ envelope, message }).toString('hex'), hex, `${message.type} as it is written`)
    const [read, ...others] = framesIn(Buffer.from(hex, 'hex'), versionOf(message))
    t.equal(others.length, 0)
    t.strictSame(read?.envelope, envelope)
    const expected = message.type === 'heartbeat' ? { ...message, log: message.log } : message
    if (read === undefined) continue
    t.strictSame(comparable(read.message), comparable(expected), `${message.type} as it is read`)
  }
  t.strictSame([...seen].sort(), [...messageNumbers().keys()].sort(), 'no type without a vector')
  t.end()
})

void t.test('the tables of the page have every type, its number and its limit', t => {
  const rows = [...page.matchAll(/^\| (\d+) \| `([a-z-]+)` \| (\d+) \|/gm)]
    .map(([, number, type, limit]) => [type, Number(number), Number(limit)])
  t.strictSame(rows, [...messageNumbers()].map(([type, number]) => {
    return [type, number, codecNumbered(number)?.payloadBytesMax]
  }))
  t.end()
})
