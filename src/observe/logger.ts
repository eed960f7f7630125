import { pino } from 'pino'
import type { LogLevel } from '../config/types.ts'
import { TailgateError, messageOf } from '../base/errors.ts'
import type { LogEventFields, LogEventName } from './log-events.ts'
import { logEvents } from './log-events.ts'
import type { Protection } from './status.ts'

/** Where lines go and what stands in each of them. */
export interface LoggerOptions {
  /** The name of the gateway or the host. */
  readonly name: string
  readonly part: 'gateway' | 'agent' | 'guest'
  readonly level: LogLevel
  /** A file descriptor; stderr by default, so that stdout stays free for what a command prints. */
  readonly fd?: number
  /** Each line is written before the call returns: for whoever reads the file at once. */
  readonly sync?: boolean
  /** Other processes write to the same descriptor: see {@link sharedWriteBytesMax}. */
  readonly shared?: boolean
}

/** One JSON line per event (docs/LOGS.md). Never throws and never waits: see {@link loggerBufferBytesMax}. */
export interface Logger {
  event<E extends LogEventName>(event: E, fields: LogEventFields<E>): void
  /** Whether lines of this event are written at all: to spare the work of gathering its fields. */
  enabled(event: LogEventName): boolean
  /** Lines that were thrown away because whoever reads the log was too slow. */
  readonly droppedLines: number
  /** Writes what is buffered, at once. For the last moments of a process. */
  flush(): void
}

/**
 * Bytes of log that wait for a slow reader; beyond, lines are dropped and counted rather than clients
 * delayed.
 */
export const loggerBufferBytesMax = 4 * 1024 * 1024

/**
 * The longest write where several processes log into one pipe: up to so many bytes arrive in one piece
 * (PIPE_BUF of Linux, pipe(7)), so that lines of two processes do not get into each other.
 */
export const sharedWriteBytesMax = 4096

/** Opens the log of this process. */
export function createLogger(options: LoggerOptions): Logger {
  return new PinoLogger(options)
}

/** A logger that writes nothing, for tests and for commands without a log. */
export const silentLogger: Logger = {
  event: () => undefined,
  enabled: () => false,
  droppedLines: 0,
  flush: () => undefined
}

/** Logs a change of a guest's protection under the id of the state it has now. */
export function logProtection(
  logger: Logger, protection: Protection, guest: { name: string, generation: number, from: string }
): void {
  const { reason, todo } = protection
  const { name, generation, from } = guest
  logger.event(`guest.${protection.state}`, { guest: name, generation, from, reason, todo })
}

/** The fields of `process.failed` for anything that was thrown. */
export function failureFields(error: unknown): { error: string, code: string | null } {
  return { error: messageOf(error), code: error instanceof TailgateError ? error.code : null }
}

class PinoLogger implements Logger {
  readonly #pino: pino.Logger
  readonly #destination: ReturnType<typeof pino.destination>
  #dropped = 0

  constructor(options: LoggerOptions) {
    const { name, part, level, fd = 2, sync = false, shared = false } = options
    this.#destination = pino.destination({
      fd, sync, maxLength: loggerBufferBytesMax, ...shared ? { maxWrite: sharedWriteBytesMax } : {}
    })
    this.#destination.on('drop', () => this.#dropped++)
    // A reader that went away (EPIPE) must not end a gateway that serves clients.
    this.#destination.on('error', () => this.#dropped++)
    this.#pino = pino({
      level,
      base: { name, part, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) }
    }, this.#destination)
  }

  event<E extends LogEventName>(event: E, fields: LogEventFields<E>): void {
    const { level, text } = logEvents[event]
    const line: Record<string, unknown> = { event, ...fields }
    this.#pino[level](line, text)
  }

  enabled(event: LogEventName): boolean {
    return this.#pino.isLevelEnabled(logEvents[event].level)
  }

  get droppedLines(): number {
    return this.#dropped
  }

  flush(): void {
    try {
      this.#destination.flushSync()
    } catch {
      // The reader is gone or the descriptor was never ready: there is nobody left to tell.
      this.#dropped++
    }
  }
}
