/** Every way in which operation, not programming, can go wrong, and what the reader should know about it. */
export const errorCodes = {
  E_CONFIG: 'the configuration is not valid',
  E_USAGE: 'the command line is not valid',
  E_FRAME: 'bytes on the link are not a frame of ours',
  E_VERSION: 'the other side speaks another version of the protocol',
  E_AUTH: 'the other side is not who it must be',
  E_LINK_LOST: 'the link to the other side is gone',
  E_STALE: 'a message of an older generation, another history or another gateway',
  E_LOG_CORRUPT: 'the log on disk is damaged beyond its tail',
  E_LOG_FULL: 'the log has reached its limit',
  E_DISK: 'the disk refused an operation',
  E_IMAGE: 'a checkpoint is not whole',
  E_ENGINE: 'the checkpoint engine failed',
  E_ATTACH: 'the guest-facing connection could not be joined',
  E_STATE: 'the state file cannot be read or written',
  E_WORKER: 'a worker process of the gateway failed',
  E_LISTEN: 'an address could not be listened on',
  E_ADMIN: 'the gateway could not be asked or refused the request',
  E_TIMEOUT: 'an operation took longer than its limit'
} as const

export type ErrorCode = keyof typeof errorCodes

/** An operating error: something outside the program went wrong. Carries what a person needs to mend it. */
export class TailgateError extends Error {
  readonly code: ErrorCode
  readonly context: Readonly<Record<string, unknown>>

  /**
   * @param code one of the closed list above
   * @param message one sentence that says what happened and, where there is a remedy, what to do
   */
  constructor(
    code: ErrorCode, message: string,
    options: { cause?: unknown, context?: Readonly<Record<string, unknown>> } = {}
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'TailgateError'
    this.code = code
    this.context = options.context ?? {}
  }
}

/** The text of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
