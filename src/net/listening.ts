import { TailgateError } from '../base/errors.ts'

/** How long a listener stays closed after accepting failed for want of descriptors, in milliseconds. */
export const relistenMs = 200
/** Connections that the kernel may hold before they are accepted, where the caller does not say. */
export const backlogDefault = 1024

/** What a listener says when it resets clients because too many connections are open. */
export function roomFull(address: string, sidesMax: number): TailgateError {
  return new TailgateError(
    'E_LISTEN',
    `${address} resets new clients: ${sidesMax} connections are open, the most that the limit of open files `
      + 'allows; raise it (LimitNOFILE=, ulimit -n)',
    { context: { sidesMax } }
  )
}

/** What a listener says when accepting failed with the system's error `code` and it closes for a moment. */
export function acceptPaused(address: string, code: string): TailgateError {
  const message = `${address} takes no clients for ${relistenMs} ms: accepting failed (${code}); `
    + 'raise the limit of open files (LimitNOFILE=, ulimit -n)'
  return new TailgateError('E_LISTEN', message, { context: { code } })
}
