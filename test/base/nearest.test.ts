import t from 'tap'
import { didYouMean, nearest } from '../../src/base/nearest.ts'

const verbs = ['gateway', 'agent', 'check', 'certs', 'status', 'failover']

void t.test('a slip of the finger is understood', (t) => {
  t.equal(nearest('chekc', verbs), 'check', 'swapped neighbours')
  t.equal(nearest('gatway', verbs), 'gateway', 'a letter left out')
  t.equal(nearest('statuss', verbs), 'status', 'a letter too many')
  t.equal(nearest('AGENT', verbs), 'agent', 'capitals')
  t.equal(nearest('failovre', verbs), 'failover')
  t.equal(nearest('certs', verbs), 'certs')
  t.end()
})

void t.test('another word is not', (t) => {
  t.equal(nearest('restart', verbs), undefined)
  t.equal(nearest('x', verbs), undefined)
  t.equal(nearest('', verbs), undefined)
  t.equal(nearest('check', []), undefined)
  t.equal(didYouMean('restart', verbs), '')
  t.equal(didYouMean('chekc', verbs), "; did you mean 'check'?")
  t.end()
})
