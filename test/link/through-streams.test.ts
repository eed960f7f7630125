import { socketCompliance } from './over-sockets.ts'

// Links where Node's handles cannot be used directly.
process.env.TAILGATE_SOCKETS = 'net'
const { connectedPair } = await import('./peers.ts')

socketCompliance('through streams', connectedPair)
