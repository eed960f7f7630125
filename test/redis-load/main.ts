import { createInterface } from 'node:readline'
import { kinds, type Kind } from './figures.ts'
import { Workers } from './workers.ts'

/*
 * A load on a Redis that checks every reply, as a process of its own: it can run in a network namespace.
 *
 *     redis-load HOST PORT PREFIX KIND=COUNT ...
 *
 * Orders come on stdin, a word a line, and each is answered with a line of JSON on stdout: `heard` when every
 * worker has finished another round, `figures` at once, `finish` when all have finished and every counter was
 * read again; then it ends, with status 1 if something was wrong.
 */

/** How often it is looked whether all have been heard, in milliseconds. */
const lookEveryMs = 20

const [host = '', port = '', prefix = '', ...counts] = process.argv.slice(2)
const workers = new Workers({ host, port: Number(port), prefix })
for (const text of counts) {
  const [kind = '', count = ''] = text.split('=')
  if (!isKind(kind) || !(Number(count) >= 0)) throw new Error(`not KIND=COUNT: ${text}`)
  workers.start(kind, Number(count))
}

for await (const order of createInterface({ input: process.stdin })) {
  if (order === 'heard') await allHeard()
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
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      const { resets } = workers.figures
      const gone = kinds.reduce((sum, kind) => sum + (kind === 'shared' ? 0 : resets[kind]), 0)
      if (workers.heard < workers.count - gone) return
      clearInterval(timer)
      resolve()
    }, lookEveryMs)
  })
}
