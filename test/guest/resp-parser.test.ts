import fc from 'fast-check'
import t from 'tap'
import {
  argumentsMax, bulkBytesMax, inlineBytesMax, ProtocolError, RespParser
} from '../../src/guest/resp-parser.ts'
import { encodeCommand } from './replies.ts'

/** Everything a parser makes of pieces: its commands, the error that ended it, what it kept. */
function parse(pieces: readonly Uint8Array[]): { commands: string[][], error: string, pending: string } {
  const parser = new RespParser()
  const commands: string[][] = []
  try {
    for (const piece of pieces) {
      parser.feed(Buffer.from(piece))
      for (let args = parser.next(); args !== undefined; args = parser.next()) commands.push(args)
    }
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
    return { commands, error: error.message, pending: '' }
  }
  return { commands, error: '', pending: parser.pending().toString('latin1') }
}

function cut(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set(cuts.map((at) => at % (bytes.length + 1)))].toSorted((a, b) => a - b)
  const pieces: Buffer[] = []
  let from = 0
  for (const at of [...places, bytes.length]) {
    pieces.push(bytes.subarray(from, at))
    from = at
  }
  return pieces
}

const text = fc.string({ unit: 'binary', maxLength: 40 }).map((s) => Buffer.from(s).toString('latin1'))
const command = fc.array(text, { minLength: 1, maxLength: 6 })
const cuts = fc.array(fc.nat(5000), { maxLength: 12 })

void t.test('whole commands come out under every chunking', (t) => {
  fc.assert(fc.property(fc.array(command, { maxLength: 12 }), cuts, (commands, places) => {
    const bytes = Buffer.concat(commands.map(encodeCommand))
    t.strictSame(parse(cut(bytes, places)), { commands, error: '', pending: '' })
  }), { numRuns: 300 })
  t.end()
})

void t.test('byte by byte', (t) => {
  const commands = [['SET', 'a\r\n', '\0\xff'], ['GET', ''], ['PING']]
  const bytes = Buffer.concat([...commands.map(encodeCommand), Buffer.from('echo "a b" \'c\'\r\n\r\nping\n')])
  const pieces = [...bytes].map((byte) => Buffer.of(byte))
  t.strictSame(parse(pieces).commands, [...commands, ['echo', 'a b', 'c'], ['ping']])
  t.end()
})

void t.test('damaged bytes give the same under every chunking, and never more than a ProtocolError', (t) => {
  const line = fc.constantFrom(
    '*2\r\n', '$3\r\n', 'GET\r\n', '*-1\r\n', '*0\r\n', '$-1\r\n', '*x\r\n', '\r\n', '"a', '\''
  )
  const soup = fc.array(fc.oneof(line, fc.string({ maxLength: 5 })), { maxLength: 30 })
    .map((parts) => Buffer.from(parts.join(''), 'latin1'))
  const bytes = fc.oneof(soup, fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array)))
  fc.assert(fc.property(bytes, cuts, (all, places) => {
    t.strictSame(parse(cut(all, places)), parse([all]))
  }), { numRuns: 1000 })
  t.end()
})

void t.test('a parser fed with what another one kept goes on where that was', (t) => {
  fc.assert(fc.property(fc.array(command, { minLength: 1, maxLength: 5 }), fc.nat(400), (commands, at) => {
    const bytes = Buffer.concat(commands.map(encodeCommand))
    const [first, second] = [bytes.subarray(0, at % bytes.length), bytes.subarray(at % bytes.length)]
    const before = parse([first])
    const after = parse([Buffer.from(before.pending, 'latin1'), second])
    t.strictSame([...before.commands, ...after.commands], commands)
  }))
  t.end()
})

void t.test('protocol errors, worded as Redis does', (t) => {
  const cases: [string, string][] = [
    ['*x\r\n', 'invalid multibulk length'],
    ['*1000000000\r\n', 'invalid multibulk length'],
    [`*${argumentsMax + 1}\r\n`, 'invalid multibulk length'],
    ['*1\r\nPING\r\n', 'expected \'$\', got \'P\''],
    ['*1\r\n$-1\r\n', 'invalid bulk length'],
    [`*1\r\n$${bulkBytesMax + 1}\r\n`, 'invalid bulk length'],
    ['*1\r\n$99999999999999999999\r\n', 'invalid bulk length'],
    [`*${'1'.repeat(64)}`, 'too big mbulk count string'],
    [`*1\r\n$${'1'.repeat(64)}`, 'too big bulk count string'],
    ['get "a\r\n', 'unbalanced quotes in request'],
    ['get "a"b\r\n', 'unbalanced quotes in request'],
    ['a'.repeat(inlineBytesMax), 'too big inline request']
  ]
  for (const [input, message] of cases) {
    t.equal(parse([Buffer.from(input)]).error, `Protocol error: ${message}`, input.slice(0, 30))
  }
  t.equal(parse([Buffer.from('*0\r\n*-5\r\nPING\r\n')]).commands.length, 1, 'empty commands are passed over')
  t.end()
})

void t.test('inline quoting', (t) => {
  const line = 'set  "a\\x41\\n\\"\\q" \'it\\\'s\' plain\t\'\'\r\n'
  t.strictSame(parse([Buffer.from(line)]).commands, [['set', 'aA\n"q', 'it\'s', 'plain', '']])
  t.end()
})

void t.test('a long argument in many pieces takes time in proportion to its length', (t) => {
  const parser = new RespParser()
  const value = 'v'.repeat(4 * 1024 * 1024)
  const bytes = encodeCommand(['SET', 'k', value])
  let found: string[] | undefined
  for (let at = 0; at < bytes.length; at += 1000) {
    parser.feed(bytes.subarray(at, at + 1000))
    found = parser.next() ?? found
  }
  t.equal(found?.[2], value)
  t.equal(parser.pendingBytes, 0)
  t.end()
})
