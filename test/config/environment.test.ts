import t from 'tap'
import { expand } from '../../src/config/environment.ts'

void t.test('variables and their defaults', (t) => {
  const environment = { HOST: 'gw1', EMPTY: '' }
  t.equal(expand('${HOST}.pem', environment), 'gw1.pem')
  t.equal(expand('${HOST}-${HOST}', environment), 'gw1-gw1')
  t.equal(expand('${NOBODY:-gw2}', environment), 'gw2')
  t.equal(expand('${NOBODY:-}', environment), '')
  t.equal(expand('${EMPTY:-x}', environment), 'x')
  t.equal(expand('${EMPTY}', environment), '')
  t.equal(expand('$${HOST} $HOST', environment), '${HOST} $HOST')
  t.end()
})

void t.test('what a variable holds is not expanded again', (t) => {
  t.equal(expand('${A}', { A: '${B}', B: 'b' }), '${B}')
  t.end()
})

void t.test('a missing variable and a broken reference say what to do', (t) => {
  t.throws(() => expand('${NOBODY}', {}), { message: /has no NOBODY; set it, or give a default/ })
  for (const broken of ['${', '${}', '${1A}', '${A:x}']) {
    t.throws(() => expand(broken, { A: 'a' }), { message: /write \$\$\{ for itself/ }, broken)
  }
  t.end()
})

void t.test('names that every object has are no variables', (t) => {
  const inherited = Object.create({ toString2: 'x' }) as Record<string, string | undefined>
  t.throws(() => expand('${constructor}', { ...inherited }), { message: /has no constructor/ })
  t.end()
})
