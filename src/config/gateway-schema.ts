import { choice, count, duration, listenAddress, name, path, remoteAddress, size, text } from './scalars.ts'
import { defaulted, list, many, optional, required, section, table, type ValueOf } from './shape.ts'

// Every key of a gateway file. What must hold between keys is in gateway.ts.

const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const

/** Keys that gateway and agent files share. */
export const tls = table('table of files', {
  ca: required(path, 'PEM file with the certificates of the authorities that peers must have theirs from.'),
  cert: required(path, 'PEM file with the own certificate; the `name` of this file must be in it.'),
  key: required(path, 'PEM file with the private key.')
})
export const metrics = optional(listenAddress,
  'Where `/metrics` is served in the text format of Prometheus. Left out: nowhere.')
export const logLevel = defaulted(choice(...logLevels), 'info', 'The least severe log lines that are '
  + 'written.')

const limits = table('table', {
  connections: defaulted(count(1, 1_000_000), '50000', 'Client connections over all guests; more are '
    + 'refused.'),
  held: defaulted(size('64KiB', '1TiB'), '64MiB',
    'Output of one guest that waits for its release; at the limit the gateway stops reading the guest.'),
  epoch: defaulted(size('4KiB', '16MiB'), '1MiB', 'The size at which an epoch leaves even if more could be '
    + 'gathered.'),
  in_flight: defaulted(size('64KiB', '1TiB'), '64MiB',
    'Input of one guest that its backup has not acknowledged; at the limit the gateway stops reading '
    + 'clients.'),
  client_buffer: defaulted(size('4KiB', '1GiB'), '256KiB',
    'What one side of one connection may have queued before the other side is paused.')
})

const timeouts = table('table', {
  connect: defaulted(duration('10ms', '10m'), '5s',
    'For the guest to take a connection, or to answer for one of before; then the client is reset.'),
  fence: defaulted(duration('10ms', '10m'), '30s', 'For a fence command; then it is killed and has failed.'),
  promote: defaulted(duration('10ms', '1h'), '60s',
    'For each step of a failover that waits for the backup, as restoring the guest; then it has failed.'),
  drain: defaulted(duration('0ms', '1h'), '10s', 'For connections to finish after SIGTERM; a second '
    + 'SIGTERM ends it.')
})

const host = table('host', {
  name: required(name, "The host's name: the name in its agent's certificate."),
  link: required(remoteAddress, 'Where its agent listens (`link` of the agent file).'),
  fence: many(list('list of words', text),
    'Program and arguments that cut the host off the network. Exit status 0 means that it is cut off, and '
    + 'nothing '
    + 'else may end with 0. Without one, failing over waits until the lease has run out.')
})

const heartbeat = table('table', {
  interval: defaulted(duration('10ms', '1m'), '100ms', 'How often an agent says that it and its guest are '
    + 'alive.'),
  misses: defaulted(count(2, 1000), '5', 'So many heartbeats in a row must fail to come before a host '
    + 'counts as dead.')
})

const replay = table('table', {
  order: defaulted(choice('output', 'arrival'), 'output',
    'Inputs that overlapped on different connections are replayed in the order of their first output, or '
    + 'as they came.'),
  timeout: defaulted(duration('10ms', '10m'), '2s',
    'A connection that makes no progress in the replay for so long has diverged.')
})

const log = table('table', {
  memory: defaulted(size('1MiB', '1TiB'), '256MiB', "What the backup's log may take in memory before it "
    + "spills to disk."),
  total: defaulted(size('1MiB', '1TiB'), '4GiB',
    'What it may take in memory and on disk together; at the limit the guest becomes unprotected.')
})

const service = table('service', {
  name: required(name, 'For logs, metrics and `status`.'),
  listen: required(listenAddress, 'Where clients connect.'),
  to: optional(remoteAddress,
    "Where the guest's service listens, the same wherever the guest runs. Required with attach `tcp`; not "
    + "allowed "
    + 'with `embedded`, where the agent says it.'),
  source: defaulted(choice('gateway', 'client'), 'gateway',
    'From which address the gateway connects to the guest. `client`: from that of the client, which the '
    + 'guest then sees (`source … usesrc client` in HAProxy); only with attach `tcp`, and with rules of '
    + 'the packet filter (REDIRECT.md).'),
  release: optional(choice('epoch', 'checkpoint', 'immediate'),
    'When output may leave. `epoch`: when the input it may depend on is committed; the default. '
    + '`checkpoint`: when a '
    + 'checkpoint that contains it counts. `immediate`: at once, so a failover can lose what clients were '
    + 'told; the '
    + 'only one for a guest without hosts, and its default.')
})

export const guest = table('guest', {
  name: required(name, 'For logs, metrics, `status` and `failover`; the name of the guest in the agent '
    + 'files.'),
  attach: defaulted(choice('tcp', 'embedded'), 'tcp',
    "How the guest's connections are joined. `embedded` only for the embedded guest, which knows its own "
    + "offsets."),
  resume: defaulted(choice('auto', 'off'), 'auto',
    'With attach `tcp` and hosts: `auto` joins the connections of a restored guest again where this machine '
    + 'has what that needs; `off` never does, so the guest is served and replicated but never protected.'),
  hosts: many(list('list of hosts', host),
    'The machines that may run the guest, in order of preference; the first is the first primary, the next '
    + 'one its '
    + 'backup. One: served, never protected. None: proxied without replication.'),
  durability: defaulted(choice('memory', 'disk'), 'memory',
    'When the backup acknowledges input: when it has it in memory, or on its disk. Checkpoints are kept in '
    + 'the same place.'),
  checkpoint_interval: defaulted(duration('10ms', '24h'), '5s',
    'From the beginning of one checkpoint to that of the next, which waits for the end of the one before. '
    + 'With Remus, how long the domain runs between two.'),
  heartbeat: section(heartbeat, "How a host's death is noticed."),
  lease: defaulted(duration('50ms', '10m'), '1s',
    "The guest's network shuts on its host when the gateway has not answered for so long. At least "
    + '`heartbeat.interval` times `heartbeat.misses`.'),
  on_link_loss: defaulted(choice('continue', 'stall'), 'continue',
    'While the backup is away: serve on unprotected, or hold all output until it is back.'),
  on_divergence: defaulted(choice('reset', 'reset-all', 'stop'), 'reset',
    'When a replayed guest answers differently: reset the connections concerned, reset all, or stop serving '
    + 'it: it counts as lost.'),
  replay: section(replay, 'How the tail is replayed.'),
  log: section(log, "Limits of the backup's log."),
  services: required(list('list of services', service), 'The ports of the guest that clients use; at least '
    + 'one.')
})

export const gatewaySchema = table('gateway file', {
  name: required(name, "The gateway's name on links: the name in its certificate."),
  state_dir: required(path, 'Directory of what must outlive the gateway: generation and active host of '
    + 'each guest.'),
  admin: optional(path,
    'Unix socket for `tailgate status` and `tailgate failover`. Left out: `admin.sock` in `state_dir`.'),
  metrics,
  log_level: logLevel,
  workers: defaulted(count(1, 64), '1', 'Processes that serve the guests, which are dealt to them in turn; '
    + 'at most one for each guest. 1: the gateway is one process.'),
  tls: optional(tls, 'Who the gateway is and whom it trusts on links. May be left out only if all links '
    + 'are loopback.'),
  limits: section(limits, 'Everything that grows has a limit.'),
  timeouts: section(timeouts, 'Every wait has a limit.'),
  guests: required(list('list of guests', guest), 'The guests; at least one.')
})

/** A gateway file with its defaults, in the notation of the file. */
export type GatewayFile = ValueOf<typeof gatewaySchema>
