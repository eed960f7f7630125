import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import t from 'tap'
import { libxcRecord, recordAt, type StreamRecord } from './vectors/walk.ts'

/** The records of a vector, each as its layer and type; those of pages with their count. */
function records(name: string): readonly string[] {
  const stream = gunzipSync(readFileSync(new URL(`vectors/${name}`, import.meta.url)))
  const said: string[] = []
  let record: StreamRecord | undefined
  while ((record = recordAt(stream, record)) !== undefined) {
    const pages = record.layer === 'libxc' && record.type === libxcRecord.pageData
    said.push(`${record.layer} ${record.type.toString(16)}`
      + (pages ? ` of ${stream.readUInt32LE(record.at + 8)}` : ''))
  }
  return said
}

void t.test('a stream of Remus, PVH: a live pass, three checkpoints and the half of a fourth', (t) => {
  const state = ['libxc 8', 'libxc 9', 'libxc a']
  const whole = [...state, 'libxc e', 'libxl 4']
  const pages = 'libxc 1 of 8'
  t.same(records('pvh.stream.gz'), [
    'libxl 1', 'libxc 11', 'libxc 12', 'libxc 10', ...Array<string>(7).fill(pages), ...whole,
    pages, ...whole, pages, ...whole, pages, ...whole, pages, 'libxc 8', 'libxc 9'
  ])
  t.end()
})

void t.test('likewise, HVM: the device model has a record of its own, and no checkpoint is large', (t) => {
  const state = ['libxc 8', 'libxc 9', 'libxc a']
  const whole = [...state, 'libxc e', 'libxl 3', 'libxl 4']
  const checkpoint = ['libxc 1 of 2', ...whole]
  const first = records('hvm.stream.gz').indexOf('libxl 4')
  t.same(records('hvm.stream.gz').slice(0, 4), ['libxl 1', 'libxc 11', 'libxc 12', 'libxc 10'])
  t.same(records('hvm.stream.gz').slice(first - whole.length + 1), [
    ...whole, ...checkpoint, ...checkpoint, ...checkpoint, 'libxc 1 of 2', 'libxc 8', 'libxc 9'
  ])
  t.end()
})
