import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { gatewayId, generation, hostName, noGateway } from '../../src/core/ids.ts'
import { GatewayStates } from '../../src/gateway/gateway-state.ts'

const state = {
  gateway: gatewayId('00c0ffee12345678'), incarnation: 2, generation: generation(3),
  active: hostName('host-a'), started: true, claiming: false
}

void t.test('each guest has its own state, which is read as it was written', async t => {
  const directory = join(t.testdir({}), 'made')
  const states = new GatewayStates(directory)
  await states.prepare()
  t.same(await states.read('a'), { found: false, damaged: undefined })
  await states.write('a', state)
  await states.write('a/../b', { ...state, generation: generation(4), diverged: 'it differed' })
  t.same(await new GatewayStates(directory).read('a'), { found: true, state })
  t.same(await states.read('a/../b'), {
    found: true, state: { ...state, generation: 4, diverged: 'it differed' }
  })
})

void t.test('a damaged state is told and not used, and the next one replaces it', async t => {
  const states = new GatewayStates(t.testdir({}))
  const whole = { format: 1, ...state }
  const wrongs = [
    { format: 2 }, { generation: 0 }, { generation: 1.5 }, { active: 7 }, { started: 1 }, { gateway: 'me' },
    { gateway: 7 }, { incarnation: -1 }, { incarnation: '1' }, { claiming: 1 },
    { diverged: 1 }
  ]
  const damages = ['', '{', 'null', '[]', ...wrongs.map(wrong => JSON.stringify({ ...whole, ...wrong }))]
  for (const damaged of damages) {
    writeFileSync(states.pathOf('a'), damaged)
    t.match(await states.read('a'), { found: false, damaged: /damaged/ }, damaged)
    t.equal(readFileSync(states.pathOf('a'), 'utf8'), damaged, 'it stays for whoever looks')
  }
  await states.write('a', state)
  t.same(await states.read('a'), { found: true, state })
})

void t.test('a state that names no gateway is read as of nobody', async t => {
  const states = new GatewayStates(t.testdir({}))
  writeFileSync(states.pathOf('a'), '{"format":1,"generation":1,"active":"host-a","started":false}')
  t.match(await states.read('a'), {
    found: true, state: { gateway: noGateway, incarnation: 0, claiming: false, generation: 1 }
  })
})

void t.test('a directory that cannot be made is E_STATE', async t => {
  const file = join(t.testdir({ file: '' }), 'file')
  await t.rejects(new GatewayStates(join(file, 'under')).prepare(), { code: 'E_STATE', message: /state_dir/ })
})
