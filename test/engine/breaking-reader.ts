import { InvariantError } from '../../src/base/invariant.ts'
import { PipeReader } from '../../src/engine/pipe-reader.ts'

// A process whose reader breaks an invariant at what comes by its standard input. How it ends is its status.

process.once('uncaughtException', error => process.exit(error instanceof InvariantError ? 3 : 1))
new PipeReader(0, {
  wanted: () => 1,
  read: () => { throw new InvariantError('the books are wrong') },
  piece: () => undefined,
  over: () => process.exit(2)
})
