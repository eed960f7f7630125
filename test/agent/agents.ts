import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { AgentConfig } from '../../src/config/types.ts'
import { hostName } from '../../src/core/ids.ts'
import { runAgent, type AgentOverrides, type RunningAgent } from '../../src/agent/main.ts'
import { silentLogger } from '../../src/observe/logger.ts'
import { guest } from './gateway-stub.ts'

export function agentConfig(name: string, dataDir: string, some: Partial<AgentConfig> = {}): AgentConfig {
  return {
    kind: 'agent', name: hostName(name), link: { host: '127.0.0.1', port: 0 }, dataDir, metrics: undefined,
    logLevel: 'silent', tls: undefined, gateways: ['gw'], peers: [hostName('a'), hostName('b')],
    limits: { imageBytes: 1 << 28, spoolBytes: 1 << 22 },
    guests: [{ engine: 'embedded', name: guest, listen: [{ host: '127.0.0.1', port: 0 }] }], ...some
  }
}

/** An agent in this process, stopped when the test ends. */
export async function startAgent(
  t: Test, config: AgentConfig, overrides: AgentOverrides = {}
): Promise<RunningAgent> {
  const agent = await runAgent(config, { logger: silentLogger, ...overrides })
  t.teardown(() => agent.stop())
  return agent
}

/** An agent in a process of its own, which can be killed. */
export async function forkAgent(
  t: Test, config: AgentConfig
): Promise<{ readonly child: ChildProcess, readonly port: number }> {
  const child = fork(fileURLToPath(new URL('agent-process.ts', import.meta.url)), [JSON.stringify(config)], {
    execArgv: ['--import=tsx']
  })
  t.teardown(() => { child.kill('SIGKILL') })
  const [port] = await once(child, 'message') as [number]
  return { child, port }
}
