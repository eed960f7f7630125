import { createInterface } from 'node:readline'
import { kinds, type Kind } from './figures.ts'
import { Workers } from './workers.ts'

/*
 * A load on a Redis that checks every reply, as a process of its own: it can run in a network namespace.
 *
 *     redis-load HOST PORT PREFIX KIND=COUNT ...
 *
 * Orders come on stdin, one a line, and each is answered with a line of JSON on stdout: `heard` when every
 * worker has finished another round, `answers N` when so many more replies have come, `figures` at once,
 * `finish` when all have finished and every counter was read again; then it ends, with status 1 if something
 * was wrong.
 */

const [host = '', port = '', prefix = '', ...counts] = process.argv.slice(2)
const workers = new Workers({ host, port: Number(port), prefix })
for (const text of counts) {
  const [kind = '', count = ''] = text.split('=')
  if (!isKind(kind) || !(Number(count) >= 0)) throw new Error(`not KIND=COUNT: ${text}`)
  workers.start(kind, Number(count))
}

for await (const line of createInterface({ input: process.stdin })) {
  const [order = '', count = ''] = line.split(' ')
  if (order === 'heard') await allHeard()
  if (order === 'answers') await answered(Number(count))
  if (order === 'finish') await workers.finish()
  process.stdout.write(`${JSON.stringify({ order, figures: workers.figures })}\n`)
  if (order === 'finish') process.exit(workers.figures.wrongCount > 0 ? 1 : 0)
}

function isKind(text: string): text is Kind {
  return kinds.some((kind) => kind === text)
}

/** Every worker, but those whose connection is lost for good. */
function allHeard(): Promise<void> {
  workers.forget()
  return workers.until(() => {
    const { resets } = workers.figures
    const gone = kinds.reduce((sum, kind) => sum + (kind === 'shared' ? 0 : resets[kind]), 0)
    return workers.heard >= workers.count - gone
  })
}

function answered(count: number): Promise<void> {
  const { figures } = workers
  const wanted = figures.answered + count
  return workers.until(() => figures.answered >= wanted)
}
