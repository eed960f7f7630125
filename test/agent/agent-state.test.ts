import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { AgentStateFile } from '../../src/agent/agent-state.ts'
import { freshAgentState } from '../../src/core/agent/port.ts'
import { gatewayId, generation, noGateway } from '../../src/core/ids.ts'

const before = { format: 1, generation: 3, role: 'backup', started: true, checkpoints: 1024 }

void t.test('a state is read as it was written', async t => {
  const directory = t.testdir({})
  t.same(await new AgentStateFile(directory).read(), freshAgentState)
  const state = {
    ...freshAgentState, generation: generation(2), gateway: gatewayId('00c0ffee12345678'), incarnation: 7
  }
  await new AgentStateFile(directory).write(state)
  t.same(await new AgentStateFile(directory).read(), state)
})

void t.test('a state that names no gateway is of an agent that obeys nobody yet', async t => {
  const directory = t.testdir({})
  writeFileSync(join(directory, 'state.json'), JSON.stringify(before))
  t.match(await new AgentStateFile(directory).read(), { generation: 3, gateway: noGateway, incarnation: 0 })
})

void t.test('a damaged one is not guessed at', async t => {
  const directory = t.testdir({})
  for (const wrong of [{ gateway: 'me' }, { gateway: 1 }, { incarnation: -1 }, { incarnation: 'x' }]) {
    writeFileSync(join(directory, 'state.json'), JSON.stringify({ ...before, ...wrong }))
    await t.rejects(new AgentStateFile(directory).read(), { code: 'E_STATE' }, JSON.stringify(wrong))
  }
})
