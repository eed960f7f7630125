import { connect } from 'node:net'

/*
 * Opens connections and leaves them idle until it is ended. Arguments: port, and how many. Says `open` when
 * all are; ends with a reason when one breaks.
 */

/** So many are being opened at a time: fewer than a listener's queue takes. */
const atOnce = 64

function fail(reason: string): void {
  process.stderr.write(`${reason}\n`)
  process.exit(1)
}

function open(port: number): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve())
    socket.on('error', (error) => fail(error.message))
    socket.on('close', () => fail('an idle connection was closed'))
    socket.resume()
  })
}

const [port = 0, count = 0] = process.argv.slice(2).map(Number)
let begun = 0
const openInTurn = async (): Promise<void> => {
  while (begun < count) {
    begun++
    await open(port)
  }
}
await Promise.all(Array.from({ length: atOnce }, openInTurn))
process.stdout.write('open\n')
