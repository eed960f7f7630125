import t from 'tap'
import { HandleSockets } from '../../src/net/handle-sockets.ts'
import { loadTcpBinding } from '../../src/net/tcp-binding.ts'
import { socketsCompliance } from './compliance.ts'

const binding = loadTcpBinding()
if (binding === undefined) t.pass('skipped: this Node does not offer its TCP handles', { skip: true })
else socketsCompliance(t, (room) => new HandleSockets(binding, room), { resetBehindData: true })
