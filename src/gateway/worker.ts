import { writeSync } from 'node:fs'
import { messageOf, TailgateError } from '../base/errors.ts'
import { invariant } from '../base/invariant.ts'
import { version } from '../base/version.ts'
import { chooseSockets } from '../net/choose-sockets.ts'
import { createLogger, failureFields, type Logger } from '../observe/logger.ts'
import { MetricRegistry } from '../observe/metric-registry.ts'
import { gatewayMetrics } from '../observe/metrics.ts'
import { ServedGuests } from './served-guests.ts'
import {
  toldError, type Answered, type Asked, type QuestionOf, type QuestionType, type WorkerAnswers,
  type WorkerDesk, type WorkerQuestion
} from './worker-protocol.ts'

/*
 * The program of a worker process: serves its share of the guests and answers its supervisor
 * (worker-process.ts). It ends when the supervisor says so, and at once when the supervisor is gone: a
 * service manager that starts the gateway anew then finds every port free and every guest without a gateway.
 */

/** EX_SOFTWARE of sysexits.h, as for every fault of the program. */
const faultStatus = 70

interface Serving {
  readonly guests: ServedGuests
  readonly logger: Logger
  readonly registry: MetricRegistry
  readonly sockets: string
}

let current: Serving | undefined
let ending: Promise<void> | undefined

const desk: WorkerDesk = {
  open,
  serve: () => {
    serving().guests.serve()
    return null
  },
  status: () => ({ sockets: serving().sockets, guests: serving().guests.status() }),
  metrics: () => serving().registry.snapshot(),
  ready: () => serving().guests.ready(),
  plan: ({ guest }) => serving().guests.plan(guest),
  failover: ({ guest, acceptLoss }) => serving().guests.failover({ guest, acceptLoss }),
  stop: async () => {
    if (ending === undefined) ending = drainAndClose()
    // Asked again: whoever still waits for connections waits no more.
    else await serving().guests.drain()
    await ending
    return null
  }
}

async function drainAndClose(): Promise<void> {
  const { guests, logger } = serving()
  await guests.drain()
  await guests.close()
  logger.flush()
}

function serving(): Serving {
  invariant(current !== undefined, 'a worker is asked to open before anything else')
  return current
}

async function open({ config, worker }: QuestionOf<'open'>): Promise<null> {
  const logger = createLogger({ name: config.name, part: 'gateway', level: config.logLevel, shared: true })
  const { sockets } = await chooseSockets()
  const registry = new MetricRegistry()
  const metrics = gatewayMetrics(registry)
  metrics.buildInfo.with({ version, node: process.versions.node, part: 'gateway' }).value = 1
  const guests = new ServedGuests({ config, sockets, logger, registry, metrics })
  current = { guests, logger, registry, sockets: sockets.name }
  logger.event('process.started', { version, config: `${config.name} (${sockets.name} sockets)`, worker })
  await guests.open()
  return null
}

type AnyAnswer = WorkerAnswers[QuestionType]

function answerTo(question: WorkerQuestion): AnyAnswer | Promise<AnyAnswer> {
  const handle = desk[question.type] as (asked: WorkerQuestion) => AnyAnswer | Promise<AnyAnswer>
  return handle(question)
}

async function answer({ id, question }: Asked): Promise<void> {
  let said: Answered
  try {
    said = { id, ok: true, value: await answerTo(question) }
  } catch (error) {
    if (!(error instanceof TailgateError)) throw error
    said = { id, ok: false, error: toldError(error) }
  }
  process.send?.(said, () => { if (question.type === 'stop') process.exit(0) })
}

/** For faults, and for the supervisor's death: whatever is left undone ends with the process. */
function end(error: unknown, status: number): never {
  current?.logger.event('process.failed', failureFields(error))
  current?.logger.flush()
  process.exit(status)
}

// The supervisor hears these as well, and says what is to be done. A terminal sends them to both.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined)

process.on('uncaughtException', (error) => {
  const trace = error.stack ?? messageOf(error)
  writeSync(2, `tailgate: a worker ended by an error that nobody caught, a fault of the program: ${trace}\n`)
  end(error, faultStatus)
})
process.on('disconnect', () => end(new TailgateError('E_WORKER', 'the supervisor of this worker is gone'), 1))
process.on('message', (asked) => void answer(asked as Asked))
