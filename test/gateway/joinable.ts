import { loadGatewayConfig } from '../../src/config/load.ts'
import { joinableGuests } from '../../src/gateway/joinable-guests.ts'
import { silentLogger, type Logger } from '../../src/observe/logger.ts'

// Says which guests of a gateway file this process can join again, and what it would log of that.

const [, , file = ''] = process.argv
const lines: unknown[] = []
const logger: Logger = { ...silentLogger, event: (event, fields) => { lines.push({ event, ...fields }) } }
const guests = await joinableGuests(loadGatewayConfig(file), logger)
process.stdout.write(JSON.stringify({ guests: [...guests], lines }))
