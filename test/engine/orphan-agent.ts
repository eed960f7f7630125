import { EmbeddedEngine } from '../../src/engine/embedded.ts'

// An agent reduced to its engine, for test/engine/lease.test.ts to kill: prints where its guest listens, and
// gives it the lease that the first argument says, in milliseconds.
const engine = new EmbeddedEngine({ host: '127.0.0.1', ports: [0] })
await engine.start()
const lease = Number(process.argv[2] ?? '0')
if (lease > 0) engine.renewLease(lease)
console.log(engine.endpoints[0])
