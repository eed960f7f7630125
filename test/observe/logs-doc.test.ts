import t from 'tap'
import { endedBy, endedIn, terminationCodes } from '../../src/observe/connection-log.ts'
import { logEvents } from '../../src/observe/log-events.ts'
import { codeWords, readDoc, tableRows } from './doc-table.ts'

const doc = readDoc('LOGS.md')

void t.test('docs/LOGS.md has every event with its level, message and fields, and no other', t => {
  const rows = tableRows(doc, ['event', 'level', 'message', 'fields'])
  t.same(rows, Object.entries(logEvents).map(([name, { level, text, fields }]) => {
    const named = Object.entries(fields).map(([field, type]) => type.endsWith('?') ? `${field}?` : field)
    const listed = named.map(field => `\`${field}\``)
    return [`\`${name}\``, level, text, listed.join(', ')]
  }))
  t.end()
})

void t.test('both letters of the termination code are explained as the code has them', t => {
  const letters = tableRows(doc, ['letter', 'meaning'])
  const inCode = [...Object.entries(endedBy), ...Object.entries(endedIn)]
  t.same(letters, inCode.map(([letter, meaning]) => [`\`${letter}\``, meaning]))
  t.end()
})

void t.test('the codes that are explained can occur, both good ones among them', t => {
  const rows = tableRows(doc, ['code', 'what happened', 'what to do'])
  const explained = rows.flatMap(([code = '']) => codeWords(code))
  t.same(explained.filter(code => !terminationCodes.some(known => known === code)), [])
  t.ok(explained.includes('C-') && explained.includes('S-'))
  t.equal(new Set(explained).size, explained.length)
  t.end()
})

void t.test('the fields of the line per connection are explained', t => {
  const explained = tableRows(doc, ['field', 'meaning']).flatMap(row => codeWords(row[0] ?? ''))
  const fields = Object.keys(logEvents['connection.end'].fields)
  t.same(explained.filter(field => !fields.includes(field)), [])
  const evident = ['guest', 'service', 'connection', 'client']
  t.same(fields.filter(field => !explained.includes(field)), evident)
  t.end()
})

void t.test('the examples are lines as the logger writes them', t => {
  const examples = Array.from(doc.matchAll(/^\{"level".*\}$/gm), match => match[0])
  t.ok(examples.length >= 2)
  for (const example of examples) {
    const line = JSON.parse(example) as Record<string, unknown>
    const entry = Object.entries(logEvents).find(([name]) => name === line['event'])
    t.ok(entry, String(line['event']))
    if (entry === undefined) continue
    const [, { level, text, fields }] = entry
    t.match(line, { level, msg: text })
    const common = ['level', 'time', 'name', 'part', 'pid', 'event']
    t.same(Object.keys(line), [...common, ...Object.keys(fields), 'msg'])
    if (typeof line['end'] === 'string') t.ok(terminationCodes.some(code => code === line['end']))
  }
  t.end()
})
