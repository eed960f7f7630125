/**
 * Every event that Tailgate logs: its stable id, level, message and fields. Closed: programs filter on these
 * ids and fields, so an event is added or retired here, and docs/LOGS.md is tested against this table.
 *
 * A field that may be unknown is `null` in the line, never left out.
 */
export const logEvents = {
  'process.started': event('info', 'the process runs',
    { version: 'string', config: 'string', worker: 'number?' }),
  'process.stopping': event('info', 'the process was asked to end and drains', { signal: 'string' }),
  'process.stopped': event('info', 'the process ends', { afterMs: 'number' }),
  'process.failed': event('fatal', 'the process ends because of a fault',
    { error: 'string', code: 'string?' }),
  'worker.died': event('error', 'a worker process ended by itself: its guests wait for the next one',
    { worker: 'number', workerPid: 'number?', reason: 'string', guests: 'string', retryMs: 'number?' }),
  'worker.restarted': event('info', 'a worker process serves again',
    { worker: 'number', workerPid: 'number' }),
  'clock.jumped': event('warn', 'this process was paused: nobody is blamed for the silence',
    { ms: 'number' }),
  'state.lost': event('warn', 'the state file cannot be read: the agents are asked',
    { path: 'string', error: 'string' }),

  'resume.possible': event('info', 'TCP connections of a restored guest can be joined',
    { family: 'string', missing: 'string', without: 'string' }),
  'resume.impossible': event('warn',
    'TCP connections of a restored guest cannot be joined: such guests are not protected',
    { family: 'string', missing: 'string', without: 'string' }),
  'shield.failed': event('error', 'the packet filter refused the reset shield: connections are reset',
    { guest: 'string', reason: 'string' }),

  'service.listening': event('info', 'a service takes connections',
    { guest: 'string', service: 'string', address: 'string', release: 'string' }),
  'metrics.listening': event('info', 'the metrics listener is open', { address: 'string' }),
  'admin.listening': event('info', 'the admin socket is open', { path: 'string' }),
  'admin.failover': event('warn', 'an operator asked for a failover',
    { guest: 'string', acceptLoss: 'boolean' }),
  'limit.reached': event('warn', 'a limit is reached: work waits or is refused until it clears',
    { guest: 'string?', limit: 'string', max: 'number' }),

  'link.listening': event('info', 'the agent takes links', { address: 'string' }),
  'link.up': event('info', 'a link is up', { peer: 'string', address: 'string' }),
  'link.down': event('warn', 'a link is down and will be tried again', { peer: 'string', reason: 'string' }),
  'link.refused': event('warn', 'a link was refused', { peer: 'string?', code: 'string', reason: 'string' }),
  'message.stale': event('warn',
    'a message of an older generation, another history or another gateway was refused',
    { guest: 'string', peer: 'string', type: 'string', generation: 'number', known: 'number' }),

  'guest.unprotected': event('warn', 'the guest is unprotected', protectionFields()),
  'guest.syncing': event('info', 'the guest is syncing', protectionFields()),
  'guest.protected': event('info', 'the guest is protected', protectionFields()),
  'guest.failing-over': event('warn', 'the guest is failing over', protectionFields()),
  'guest.lost': event('error', 'the guest is lost: it died with no checkpoint that counts',
    protectionFields()),
  'guest.diverged': event('error', 'the guest diverged: clients were told things it no longer knows',
    { guest: 'string', generation: 'number', policy: 'string' }),
  'history.began': event('info', 'a new history begins',
    { guest: 'string', generation: 'number', history: 'string', firstLsn: 'number', reason: 'string' }),

  'checkpoint.counted': event('info', 'a checkpoint counts',
    {
      guest: 'string', checkpoint: 'number', mark: 'number', bytes: 'number', durationMs: 'number?'
    }),
  'checkpoint.stored': event('info', 'the backup has stored a checkpoint of the guest that runs here',
    {
      guest: 'string', checkpoint: 'number', durationMs: 'number?', pauseMs: 'number?', dirtyPages: 'number?'
    }),
  'checkpoint.failed': event('warn', 'a checkpoint does not count',
    { guest: 'string', checkpoint: 'number', reason: 'string' }),

  'checkpoint.lost': event('warn', 'a checkpoint that was whole cannot be restored any more',
    { guest: 'string', checkpoint: 'number', reason: 'string' }),

  'failover.began': event('warn', 'a failover begins',
    {
      guest: 'string', generation: 'number', trigger: 'string', reason: 'string', from: 'string', to: 'string'
    }),
  'failover.phase': event('info', 'a phase of the failover is over',
    { guest: 'string', generation: 'number', phase: 'string', ms: 'number' }),
  'failover.done': event('warn', 'the failover is done: clients are served',
    {
      guest: 'string', generation: 'number', trigger: 'string', reason: 'string', from: 'string',
      to: 'string', totalMs: 'number', checkpoint: 'number', replayedBytes: 'number',
      replayedRecords: 'number', kept: 'number', reset: 'number', reordered: 'number',
      acceptedLoss: 'boolean'
    }),
  'failover.failed': event('error', 'the failover did not succeed',
    { guest: 'string', generation: 'number', reason: 'string' }),
  'fence.done': event('info', 'the old host can no longer reach the network',
    { guest: 'string', host: 'string', how: 'string', ms: 'number' }),
  'fence.failed': event('error', 'the fence command failed',
    { guest: 'string', host: 'string', reason: 'string' }),

  'connection.end': event('info', 'a connection ended',
    {
      guest: 'string', service: 'string', connection: 'number', client: 'string', end: 'string',
      connectMs: 'number?', firstByteMs: 'number?', totalMs: 'number', inputBytes: 'number',
      outputBytes: 'number', generation: 'number', generations: 'number',
      replayed: 'boolean'
    }),
  'source.failed': event('warn', "a connection to the guest cannot be made from its client's address",
    { guest: 'string', service: 'string', connection: 'number', client: 'string', reason: 'string' }),
  'connection.diverged': event('error', 'regenerated output differs: the connection is reset',
    {
      guest: 'string', service: 'string', connection: 'number', client: 'string', generation: 'number',
      offset: 'number', reason: 'string'
    }),
  'connection.unverified': event('warn', 'regenerated output could not be compared: the connection goes on',
    {
      guest: 'string', service: 'string', connection: 'number', client: 'string', generation: 'number',
      bytes: 'number'
    }),

  'role.assigned': event('info', 'the gateway gave this host a role',
    { guest: 'string', role: 'string', generation: 'number' }),
  'guest.started': event('info', 'the guest was started from nothing',
    { guest: 'string', endpoints: 'string' }),
  'guest.restored': event('info', 'the guest was restored from a checkpoint',
    { guest: 'string', checkpoint: 'number', generation: 'number', ms: 'number' }),
  'guest.failed': event('error', 'the guest failed', { guest: 'string', reason: 'string' }),
  'guest.stopped': event('info', 'the guest was ended', { guest: 'string', reason: 'string' }),
  'engine.notice': event('info', 'what the engine found out about this host',
    { guest: 'string', notice: 'string' }),
  'lease.ended': event('warn', 'the lease ran out: the path of the guest is shut', { guest: 'string' }),
  'log.cut': event('warn', 'the torn tail of a log was cut',
    { guest: 'string', bytes: 'number', lastLsn: 'number' }),
  'log.failed': event('error', 'the log cannot take more',
    { guest: 'string', code: 'string', reason: 'string' })
} as const

/** How a field is written down above, and its type. A `?` means that it may be null. */
interface FieldTypes {
  readonly string: string
  readonly number: number
  readonly boolean: boolean
  readonly 'string?': string | null
  readonly 'number?': number | null
}

export type FieldType = keyof FieldTypes
export type EventLevel = 'info' | 'warn' | 'error' | 'fatal'
export type LogEventName = keyof typeof logEvents

/** The fields of one event. */
export type LogEventFields<E extends LogEventName> = {
  readonly [F in keyof (typeof logEvents)[E]['fields']]:
    (typeof logEvents)[E]['fields'][F] extends FieldType
      ? FieldTypes[(typeof logEvents)[E]['fields'][F]] : never
}

/** What the table above holds for one event. */
export interface LogEvent<F extends Readonly<Record<string, FieldType>>> {
  readonly level: EventLevel
  readonly text: string
  readonly fields: F
}

function event<const F extends Readonly<Record<string, FieldType>>>(
  level: EventLevel, text: string, fields: F
): LogEvent<F> {
  return { level, text, fields }
}

function protectionFields() {
  return { guest: 'string', generation: 'number', from: 'string', reason: 'string', todo: 'string' } as const
}
