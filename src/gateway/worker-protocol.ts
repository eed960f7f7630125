import type { ErrorCode } from '../base/errors.ts'
import { TailgateError } from '../base/errors.ts'
import type { GatewayConfig } from '../config/types.ts'
import type { FailoverRequest } from '../observe/admin.ts'
import type { FamilySnapshot } from '../observe/exposition.ts'
import type { Health } from '../observe/http.ts'
import type { FailoverPlan, FailoverResult, GuestStatus } from '../observe/status.ts'

/*
 * What supervisor and worker say to each other over the channel of child_process.fork, as JSON. The
 * supervisor asks and the worker answers, each question once, in whatever order the answers are ready:
 *
 *   supervisor ──{ id, question }──► worker
 *              ◄──{ id, ok, … }─────
 *
 * The channel's end is a message too: the other one is gone.
 */

export type WorkerQuestion =
  /** The first one: read the guests' state and listen. Nobody else hears of the guests yet. */
  | { readonly type: 'open', readonly config: GatewayConfig, readonly worker: number }
  /** Dial the agents: every worker of this gateway has its ports. */
  | { readonly type: 'serve' }
  | { readonly type: 'status' }
  | { readonly type: 'metrics' }
  | { readonly type: 'ready' }
  | { readonly type: 'plan', readonly guest: string }
  | FailoverRequest & { readonly type: 'failover' }
  /** Drain and end; asked a second time, without draining. The process ends with the answer. */
  | { readonly type: 'stop' }

export type QuestionType = WorkerQuestion['type']
export type QuestionOf<T extends QuestionType> = Extract<WorkerQuestion, { type: T }>

/** What is answered to each question that succeeds. */
export interface WorkerAnswers {
  readonly open: null
  readonly serve: null
  readonly status: WorkerReport
  readonly metrics: readonly FamilySnapshot[]
  readonly ready: Health
  readonly plan: FailoverPlan
  readonly failover: FailoverResult
  readonly stop: null
}

export interface WorkerReport {
  /** The implementation of sockets in use. */
  readonly sockets: string
  readonly guests: readonly GuestStatus[]
}

/** One function per question. Each may throw, or reject with, a TailgateError; anything else is a fault. */
export type WorkerDesk = {
  readonly [T in QuestionType]: (question: QuestionOf<T>) => WorkerAnswers[T] | Promise<WorkerAnswers[T]>
}

export interface Asked {
  readonly id: number
  readonly question: WorkerQuestion
}

export type Answered =
  | { readonly id: number, readonly ok: true, readonly value: WorkerAnswers[QuestionType] }
  | { readonly id: number, readonly ok: false, readonly error: ToldError }

/** A TailgateError on its way between processes, without its cause. */
export interface ToldError {
  readonly code: ErrorCode
  readonly message: string
  readonly context: Readonly<Record<string, unknown>>
}

export function toldError({ code, message, context }: TailgateError): ToldError {
  return { code, message, context }
}

export function errorOf({ code, message, context }: ToldError): TailgateError {
  return new TailgateError(code, message, { context })
}
