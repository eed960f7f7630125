/** What is measured: something that listens and brings clients to the services behind it. */
export interface Contender {
  readonly name: string
  /** Why it cannot be run here; undefined when it can. */
  readonly missing: string | undefined
  /** Starts it in front of `services`; its ports are in their order. */
  start(services: readonly number[]): Promise<Running>
}

export interface Running {
  readonly ports: readonly number[]
  /** The process on the clients' path, whose CPU time is counted; undefined where there is none. */
  readonly pid: number | undefined
  /** Rejects when it has not done what it is measured for: replicated, say. */
  verify(): Promise<void>
  stop(): Promise<void>
}
