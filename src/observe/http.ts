import { createServer } from 'node:http'
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { TailgateError, messageOf } from '../base/errors.ts'
import type { Address } from '../config/types.ts'
import { addressText, anyHost } from '../net/address.ts'
import { metricsContentType } from './metric-registry.ts'

/** Bounds of our small HTTP servers: they answer a scraper or an operator, never the public. */
export const httpLimits = {
  connectionsMax: 64,
  headerBytesMax: 8192,
  /** For a request to arrive whole. */
  requestMs: 10_000,
  keepAliveMs: 30_000
} as const

/** Whether something is as it should be, and a line for the person who asks. */
export interface Health {
  readonly ok: boolean
  readonly text: string
}

/** A {@link Health} that may have to be asked for. It never rejects. */
export type HealthSource = () => Health | Promise<Health>

export interface MetricsServerOptions {
  /** Where the text of the metrics comes from: a MetricRegistry, or whoever asks several. Never rejects. */
  readonly registry: { expose(): string | Promise<string> }
  /** Whether the process works at all; if not, it wants a restart. */
  readonly live: HealthSource
  /** Whether clients should be sent here. */
  readonly ready: HealthSource
}

/** A server that listens. */
export interface Listening {
  /** `host:port`, with the port that the kernel chose for port 0. */
  readonly address: string
  readonly port: number
  /** Ends it and every connection to it. */
  close(): Promise<void>
}

/** Opens the metrics listener: `GET /metrics`, `/livez`, `/readyz`. Rejects with E_LISTEN. */
export async function startMetricsServer(
  address: Address, options: MetricsServerOptions
): Promise<Listening> {
  const server = newHttpServer((request, response) => void answerMetrics(options, request, response))
  await new Promise<void>((resolve, reject) => {
    server.once('error', error => reject(listenFailed(address, error)))
    server.listen(address.port, anyHost(address.host), () => resolve())
  })
  const { address: host, port } = server.address() as AddressInfo
  return { address: addressText(host, port), port, close: () => closeHttpServer(server) }
}

function listenFailed(address: Address, error: Error): TailgateError {
  const text = addressText(address.host, address.port)
  return new TailgateError('E_LISTEN',
    `the metrics listener cannot use ${text}: ${messageOf(error)}; choose another metrics address`,
    { cause: error, context: { address: text } })
}

/** A server with all of {@link httpLimits} set. */
export function newHttpServer(listener: RequestListener): Server {
  const server = createServer({
    maxHeaderSize: httpLimits.headerBytesMax,
    headersTimeout: httpLimits.requestMs,
    requestTimeout: httpLimits.requestMs,
    keepAliveTimeout: httpLimits.keepAliveMs
  }, listener)
  server.maxConnections = httpLimits.connectionsMax
  return server
}

/** Stops listening and ends every connection. */
export function closeHttpServer(server: Server): Promise<void> {
  return new Promise(resolve => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}

/** Sends a whole answer. The body of an answer to HEAD is left out by node:http itself. */
export function sendBody(
  response: ServerResponse, status: number, body: string, headers: Readonly<Record<string, string>>
): void {
  const length = Buffer.byteLength(body)
  response.writeHead(status, { 'content-length': length, 'cache-control': 'no-store', ...headers })
  response.end(body)
}

const plain = { 'content-type': 'text/plain; charset=utf-8' } as const

async function answerMetrics(
  options: MetricsServerOptions, request: IncomingMessage, response: ServerResponse
): Promise<void> {
  const { registry, live, ready } = options
  const path = pathOf(request)
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    sendBody(response, 405, 'only GET is answered here\n', { ...plain, allow: 'GET, HEAD' })
  } else if (path === '/metrics') {
    sendBody(response, 200, await registry.expose(), { 'content-type': metricsContentType })
  } else if (path === '/livez') {
    sendHealth(response, await live())
  } else if (path === '/readyz') {
    sendHealth(response, await ready())
  } else {
    sendBody(response, 404, 'here are /metrics, /livez and /readyz\n', plain)
  }
}

function sendHealth(response: ServerResponse, health: Health): void {
  sendBody(response, health.ok ? 200 : 503, health.text + '\n', plain)
}

/** The path of a request without its query. */
export function pathOf(request: IncomingMessage): string {
  const target = request.url ?? '/'
  const query = target.indexOf('?')
  return query < 0 ? target : target.slice(0, query)
}
