import { createLogger, failureFields, type LoggerOptions } from '../observe/logger.ts'

/** What runs until it is stopped. */
export interface Running {
  /** Resolves when nothing of it is left. */
  stop(): Promise<void>
}

/** Signals that ask a process to end, and the exit status of one that they ended (128 and their number). */
const signals = { SIGINT: 130, SIGTERM: 143 } as const

type EndSignal = keyof typeof signals

/**
 * Starts something and stops it in order at the first SIGTERM or SIGINT; the second ends the process at
 * once. Resolves when it has stopped. An error that nobody caught is logged, for those who read only the log,
 * before src/cli/main.ts ends the process.
 */
export async function runUntilSignal(
  log: Pick<LoggerOptions, 'name' | 'part' | 'level'>, start: () => Promise<Running>
): Promise<void> {
  process.prependListener('uncaughtException', (error) => {
    const logger = createLogger(log)
    logger.event('process.failed', failureFields(error))
    logger.flush()
  })
  const asked = firstSignal()
  const running = await start()
  const signal = await asked
  const logger = createLogger(log)
  logger.event('process.stopping', { signal })
  const before = performance.now()
  await running.stop()
  logger.event('process.stopped', { afterMs: Math.round(performance.now() - before) })
  logger.flush()
}

/** Listens from the call on, so that a signal during the start is not lost. */
function firstSignal(): Promise<EndSignal> {
  return new Promise((resolve) => {
    let asked = false
    for (const signal of Object.keys(signals) as EndSignal[]) {
      process.on(signal, () => {
        if (asked) process.exit(signals[signal])
        asked = true
        resolve(signal)
      })
    }
  })
}
