import t from 'tap'
import { renderTable } from '../../src/observe/table.ts'

void t.test('columns line up, and no line ends in a space', t => {
  t.same(renderTable([['a', '1', 'x'], ['long', '100', '']], { align: ['left', 'right'] }), [
    'a       1  x',
    'long  100'
  ])
  t.end()
})

void t.test('a short row leaves its last columns empty, and widths count characters', t => {
  t.same(renderTable([['übung'], ['ab', 'c']], { indent: '  ', gap: ' | ' }), ['  übung', '  ab    | c'])
  t.same(renderTable([['𝄞', 'x'], ['ab', 'y']]), ['𝄞   x', 'ab  y'])
  t.end()
})

void t.test('no rows make no lines', t => {
  t.same(renderTable([]), [])
  t.end()
})
