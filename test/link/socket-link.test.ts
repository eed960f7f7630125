import { socketCompliance } from './over-sockets.ts'
import { connectedPair } from './peers.ts'

socketCompliance('past streams', connectedPair)
