import { Socket } from 'node:net'
import { channelDescriptor } from './channel.ts'
import { GuestProcess } from './guest-process.ts'

// The embedded guest's process. It is started by src/engine/embedded.ts, which hands it its two descriptors.
const channel = new Socket({ fd: channelDescriptor, readable: true, writable: true })
// A guest that shares its terminal with an agent outlives a Ctrl-C there: the engine ends it.
process.on('SIGINT', () => undefined)
new GuestProcess(channel, (code) => process.exit(code))
