import type { AgentConfig } from '../../src/config/types.ts'
import { runAgent } from '../../src/agent/main.ts'

// An agent in a process of its own: its configuration is the argument, its port the first message.
const config = JSON.parse(process.argv[2] ?? '') as AgentConfig
const agent = await runAgent(config)
process.send?.(agent.port)
