import { lstat, unlink } from 'node:fs/promises'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { connect } from 'node:net'
import type { ErrorCode } from '../base/errors.ts'
import { TailgateError, messageOf } from '../base/errors.ts'
import { closeHttpServer, newHttpServer, pathOf, sendBody } from './http.ts'
import type { FailoverPlan, FailoverResult, GatewayStatus } from './status.ts'

/** What an operator asks for with `tailgate failover GUEST`. */
export interface FailoverRequest {
  readonly guest: string
  /** Restore what there is, whatever is lost, and reset every connection. */
  readonly acceptLoss: boolean
}

/**
 * What the admin socket asks the gateway. Each may throw, or reject with, a TailgateError: E_ADMIN for a
 * guest that is not there and for what cannot be done now. Any other error ends the process, as everywhere.
 */
export interface AdminHandlers {
  status(): GatewayStatus | Promise<GatewayStatus>
  plan(guest: string): FailoverPlan | Promise<FailoverPlan>
  /** Resolves when the guest serves again. */
  failover(request: FailoverRequest): Promise<FailoverResult>
}

export interface AdminServer {
  readonly path: string
  /** Ends it and removes the socket. */
  close(): Promise<void>
}

/** Owner and group may ask; nobody else, since whoever may ask may also begin a failover. */
export const adminSocketMode = 0o660

/** The longest body of a request. */
export const adminBodyBytesMax = 4096

/**
 * Opens the admin socket at `path`, HTTP with JSON: `GET /status`, `GET /plan?guest=`, `POST /failover`.
 * Rejects with E_ADMIN if another process answers there, or something other than a socket is in the way.
 */
export async function startAdminServer(path: string, handlers: AdminHandlers): Promise<AdminServer> {
  await removeStaleSocket(path)
  const server = newHttpServer((request, response) => void answer(handlers, request, response))
  await listenOn(server, path)
  return { path, close: () => closeHttpServer(server) }
}

/** The body of every answer that is not a success. */
export interface AdminErrorBody {
  readonly error: {
    readonly code: ErrorCode
    readonly message: string
    readonly context: Readonly<Record<string, unknown>>
  }
}

function listenOn(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', error => reject(new TailgateError('E_ADMIN',
      `no admin socket can be made at ${path}: ${messageOf(error)}; see that its directory is there and ours`,
      { cause: error, context: { path } })))
    // The socket is bound before listen() returns, so that there is no moment in which others may connect.
    const before = process.umask(0o777 & ~adminSocketMode)
    try {
      server.listen(path, () => resolve())
    } finally {
      process.umask(before)
    }
  })
}

async function removeStaleSocket(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined)
  if (found === undefined) return
  if (!found.isSocket()) {
    throw new TailgateError('E_ADMIN', `${path} is not a socket: move it away or choose another admin path`,
      { context: { path } })
  }
  if (await answersAt(path)) {
    throw new TailgateError('E_ADMIN', `another process answers at ${path}: is this gateway running already?`,
      { context: { path } })
  }
  await unlink(path).catch((error: unknown) => {
    throw new TailgateError('E_ADMIN', `the dead socket ${path} cannot be removed: ${messageOf(error)}`,
      { cause: error, context: { path } })
  })
}

/** Only a refused connection shows that nobody is there: whatever else happens, the socket is somebody's. */
function answersAt(path: string): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'ECONNREFUSED'))
  })
}

async function answer(
  handlers: AdminHandlers, request: IncomingMessage, response: ServerResponse
): Promise<void> {
  try {
    sendJson(response, 200, await resultOf(handlers, request))
  } catch (error) {
    if (!(error instanceof TailgateError)) throw error
    const { code, message, context } = error
    sendJson(response, statusOf(code), { error: { code, message, context } } satisfies AdminErrorBody)
  }
}

async function resultOf(handlers: AdminHandlers, request: IncomingMessage): Promise<unknown> {
  const route = `${request.method ?? ''} ${pathOf(request)}`
  switch (route) {
    case 'GET /status': return handlers.status()
    case 'GET /plan': return handlers.plan(guestOf(request))
    case 'POST /failover': return handlers.failover(failoverRequest(await bodyOf(request)))
    default:
      throw new TailgateError('E_USAGE', 'here are GET /status, GET /plan?guest= and POST /failover',
        { context: { route: route.slice(0, 100) } })
  }
}

function guestOf(request: IncomingMessage): string {
  const guest = new URL(request.url ?? '/', 'http://admin').searchParams.get('guest')
  if (guest === null || guest === '') throw new TailgateError('E_USAGE', 'say which guest: /plan?guest=NAME')
  return guest
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = []
  let bytes = 0
  try {
    for await (const piece of request as AsyncIterable<Buffer>) {
      bytes += piece.length
      if (bytes <= adminBodyBytesMax) pieces.push(piece)
    }
  } catch (error) {
    throw new TailgateError('E_ADMIN', 'the request broke off', { cause: error })
  }
  if (bytes > adminBodyBytesMax) {
    throw new TailgateError('E_USAGE', `the body is longer than ${adminBodyBytesMax} bytes`)
  }
  return Buffer.concat(pieces).toString('utf8')
}

function failoverRequest(body: string): FailoverRequest {
  const expected = 'the body is {"guest": NAME, "acceptLoss": true or false}'
  let value: unknown
  try {
    value = JSON.parse(body)
  } catch (error) {
    throw new TailgateError('E_USAGE', expected, { cause: error })
  }
  if (typeof value !== 'object' || value === null) throw new TailgateError('E_USAGE', expected)
  const { guest, acceptLoss, ...rest } = value as Partial<Record<string, unknown>>
  if (typeof guest !== 'string' || typeof acceptLoss !== 'boolean' || Object.keys(rest).length > 0) {
    throw new TailgateError('E_USAGE', expected)
  }
  return { guest, acceptLoss }
}

function statusOf(code: ErrorCode): number {
  if (code === 'E_USAGE') return 400
  if (code === 'E_ADMIN') return 409
  return code === 'E_TIMEOUT' ? 504 : 500
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const headers = { 'content-type': 'application/json; charset=utf-8' }
  sendBody(response, status, JSON.stringify(value) + '\n', headers)
}
