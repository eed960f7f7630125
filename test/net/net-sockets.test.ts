import t from 'tap'
import { NetSockets } from '../../src/net/net-sockets.ts'
import { socketsCompliance } from './compliance.ts'

socketsCompliance(t, (room) => new NetSockets(room), { resetBehindData: false })
