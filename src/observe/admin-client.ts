import { request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import type { ErrorCode } from '../base/errors.ts'
import { TailgateError, errorCodes, messageOf } from '../base/errors.ts'
import type { AdminErrorBody, FailoverRequest } from './admin.ts'
import type { FailoverPlan, FailoverResult, GatewayStatus } from './status.ts'
import { statusFormat } from './status.ts'

/** The longest answer that is taken. */
export const adminAnswerBytesMax = 16 * 1024 * 1024

/** How long the gateway may take to answer what it knows at once, in milliseconds. */
export const adminAnswerMs = 5000

/**
 * Asks the gateway behind the admin socket at `path`. Rejects with E_ADMIN, E_TIMEOUT, or what the gateway
 * says.
 */
export function askStatus(path: string): Promise<GatewayStatus> {
  return ask<GatewayStatus>(path, { method: 'GET', target: '/status', timeoutMs: adminAnswerMs })
}

/** What a failover of `guest` would do now. Rejects as {@link askStatus} does. */
export function askPlan(path: string, guest: string): Promise<FailoverPlan> {
  const target = `/plan?guest=${encodeURIComponent(guest)}`
  return ask<FailoverPlan>(path, { method: 'GET', target, timeoutMs: adminAnswerMs })
}

/**
 * Begins a failover and waits until the guest serves again. A time-out ends the waiting, not the failover.
 */
export function askFailover(
  path: string, failover: FailoverRequest, timeoutMs: number
): Promise<FailoverResult> {
  const { guest, acceptLoss } = failover
  const body = JSON.stringify({ guest, acceptLoss })
  return ask<FailoverResult>(path, { method: 'POST', target: '/failover', timeoutMs, body })
}

interface Question {
  readonly method: 'GET' | 'POST'
  readonly target: string
  readonly timeoutMs: number
  readonly body?: string
}

async function ask<T extends { readonly format: number }>(path: string, question: Question): Promise<T> {
  const { status, text } = await exchange(path, question)
  const value = parse(path, text)
  if (status === 200 && isOurs(value)) return value as T
  if (isError(value)) {
    const { code, message, context } = value.error
    throw new TailgateError(code, message, { context })
  }
  throw new TailgateError('E_VERSION',
    `the gateway at ${path} answers in a format this command does not know: use the command of its version`,
    { context: { path, status } })
}

function exchange(path: string, question: Question): Promise<{ status: number, text: string }> {
  const { method, target, timeoutMs, body = '' } = question
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(timeoutMs)
    const headers = { 'content-length': Buffer.byteLength(body) }
    const asked = request({ socketPath: path, method, path: target, headers, signal, agent: false })
    const failed = (error: unknown): void => reject(failure(path, timeoutMs, signal, error))
    asked.once('error', failed)
    asked.once('response', response => {
      textOf(response).then(text => resolve({ status: response.statusCode ?? 0, text }), failed)
    })
    asked.end(body)
  })
}

async function textOf(response: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = []
  let bytes = 0
  for await (const piece of response as AsyncIterable<Buffer>) {
    bytes += piece.length
    if (bytes > adminAnswerBytesMax) throw new Error(`an answer longer than ${adminAnswerBytesMax} bytes`)
    pieces.push(piece)
  }
  return Buffer.concat(pieces).toString('utf8')
}

function failure(path: string, timeoutMs: number, signal: AbortSignal, error: unknown): TailgateError {
  const context = { path }
  if (signal.aborted) {
    return new TailgateError('E_TIMEOUT', `the gateway at ${path} did not answer within ${timeoutMs} ms`,
      { cause: error, context })
  }
  const { code } = error as NodeJS.ErrnoException
  if (code === 'ENOENT' || code === 'ECONNREFUSED') {
    return new TailgateError('E_ADMIN', `no gateway answers at ${path}: start it, or name its socket`,
      { cause: error, context })
  }
  if (code === 'EACCES') {
    return new TailgateError('E_ADMIN', `you may not use ${path}: ask as its owner or a member of its group`,
      { cause: error, context })
  }
  return new TailgateError('E_ADMIN', `the gateway at ${path} did not answer: ${messageOf(error)}`,
    { cause: error, context })
}

function parse(path: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new TailgateError('E_ADMIN', `what answers at ${path} is not a gateway`,
      { cause: error, context: { path } })
  }
}

function isOurs(value: unknown): value is { readonly format: typeof statusFormat } {
  return typeof value === 'object' && value !== null && 'format' in value && value.format === statusFormat
}

function isError(value: unknown): value is AdminErrorBody {
  if (typeof value !== 'object' || value === null || !('error' in value)) return false
  const error = value.error as Partial<Record<string, unknown>> | null
  if (typeof error !== 'object' || error === null) return false
  return isCode(error.code) && typeof error.message === 'string'
}

function isCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(errorCodes, code)
}
