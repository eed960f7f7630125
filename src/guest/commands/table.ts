import type { Command } from '../application.ts'
import { connectionCommands } from './connection.ts'
import { hashCommands } from './hashes.ts'
import { keyCommands } from './keys.ts'
import { listCommands } from './lists.ts'
import { pubsubCommands } from './pubsub.ts'
import { serverCommands } from './server.ts'
import { setCommands } from './sets.ts'
import { stringCommands } from './strings.ts'
import { transactionCommands } from './transactions.ts'

/** Every command once. */
export const commands: readonly Command[] = [
  ...connectionCommands, ...hashCommands, ...keyCommands, ...listCommands, ...pubsubCommands,
  ...serverCommands, ...setCommands, ...stringCommands, ...transactionCommands
]
