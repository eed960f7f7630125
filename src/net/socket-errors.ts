import { TailgateError, messageOf } from '../base/errors.ts'

/** The system's short name of an error (`ECONNREFUSED`), or its text. */
export function systemCode(error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code
  return messageOf(error)
}

/** E_LISTEN for a bind or listen that failed with the system's error `code`, with what to do about it. */
export function listenError(where: string, code: string, cause?: unknown): TailgateError {
  const message = `cannot listen on ${where}: ${listenRemedy(code)}`
  return new TailgateError('E_LISTEN', message, { cause, context: { code } })
}

function listenRemedy(code: string): string {
  switch (code) {
    case 'EADDRINUSE':
      return 'another program listens there; stop it (ss -ltnp names it) or choose another port'
    case 'EACCES': case 'EPERM':
      return 'ports below 1024 need CAP_NET_BIND_SERVICE; grant it (AmbientCapabilities= in the unit) '
        + 'or choose a higher port'
    case 'EADDRNOTAVAIL':
      return 'no interface of this machine has that address; see ip address'
    case 'EAFNOSUPPORT':
      return 'this machine does not speak that address family; use an address of the other one'
    case 'ENOTFOUND': case 'EAI_AGAIN':
      return 'the name has no address; check the name or give the address itself'
    case 'EMFILE': case 'ENFILE':
      return 'too many descriptors are open; raise the limit (LimitNOFILE=, ulimit -n)'
    default:
      return code
  }
}

/** E_ATTACH for a connection that was refused by the other side or by this machine. */
export function dialError(where: string, code: string, cause?: unknown): TailgateError {
  const message = `cannot connect to ${where}: ${dialRemedy(code)}`
  return new TailgateError('E_ATTACH', message, { cause, context: { code } })
}

function dialRemedy(code: string): string {
  switch (code) {
    case 'ECONNREFUSED': return 'nothing listens there; is the service running?'
    case 'EHOSTUNREACH': case 'ENETUNREACH':
      return `there is no way to that host (${code}); check address and routes`
    case 'EADDRNOTAVAIL': return 'no free local port, or the local address is not one of this machine'
    case 'EMFILE': case 'ENFILE':
      return 'too many descriptors are open; raise the limit (LimitNOFILE=, ulimit -n)'
    case 'ENOTFOUND': case 'EAI_AGAIN': return 'the name has no address'
    default: return code
  }
}

/** E_TIMEOUT for a connection that was neither taken nor refused in time. */
export function dialTimeout(where: string, timeoutMs: number): TailgateError {
  return new TailgateError(
    'E_TIMEOUT', `no answer from ${where} within ${timeoutMs} ms`, { context: { code: 'ETIMEDOUT' } }
  )
}

/** E_ATTACH for a descriptor that cannot be a side's, with the system's error `code`. */
export function adoptError(descriptor: number, code: string, cause?: unknown): TailgateError {
  const message = `descriptor ${descriptor} cannot be taken over: ${adoptReason(code)}`
  return new TailgateError('E_ATTACH', message, { cause, context: { code } })
}

function adoptReason(code: string): string {
  switch (code) {
    case 'EBADF': case 'ERR_OUT_OF_RANGE': return 'it is not open in this process'
    case 'EEXIST': return 'something else in this process reads or writes it'
    case 'ENOTCONN': return 'it is a socket that is not connected'
    case 'ENOTSOCK': case 'ENOTSUP': case 'ENOPROTOOPT': case 'ERR_INVALID_FD_TYPE':
      return 'it is not a TCP socket'
    case 'EMFILE': return 'as many connections are open as the limit of open files allows; raise it '
      + '(LimitNOFILE=, ulimit -n)'
    default: return code
  }
}
