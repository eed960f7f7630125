import { logLevel, metrics, tls } from './gateway-schema.ts'
import { choice, count, flag, listenAddress, name, path, remoteAddress, size } from './scalars.ts'
import { defaulted, list, many, optional, required, section, table, type ValueOf } from './shape.ts'

// Every key of an agent file. What must hold between keys is in agent.ts.

const limits = table('table', {
  image: defaulted(size('64KiB', '1TiB'), '16GiB', 'The largest checkpoint that is stored; larger ones are '
    + 'refused.'),
  spool: defaulted(size('64KiB', '1TiB'), '4GiB',
    'Checkpoint data that may wait here for a slow link; at the limit the checkpoint is dropped.')
})

const guest = table('guest', {
  name: required(name, 'The name of the guest in the gateway file.'),
  engine: required(choice('embedded', 'blackhole', 'none'),
    'What checkpoints and restores the guest. `embedded`: a small Redis-like server of our own. '
    + '`blackhole`: ordinary '
    + 'processes that stand still for checkpoints which cannot be restored, to measure with. `none`: no '
    + 'checkpoints; '
    + 'a guest that is only proxied and logged.'),
  listen: many(list('list of addresses', listenAddress),
    "With `embedded`: where its services listen, in the order of the gateway's list. Port 0: the kernel "
    + "chooses."),
  endpoints: many(list('list of addresses', remoteAddress),
    "With the other engines: where the guest's services listen, in the order of the gateway's list."),
  pids: many(list('list of process ids', count(2, 4_194_304)),
    'With `blackhole`: the processes that stand still. Children are not followed: name each.'),
  pid_file: optional(path,
    'With `blackhole`, instead of `pids`, for a single process: a file with its id, read each time.'),
  unsafe: optional(flag, 'With `blackhole`: must be true, because such a guest is never protected.')
})

export const agentSchema = table('agent file', {
  name: required(name, "This host's name on links: the name in its certificate, and in the gateway's list "
    + "of hosts."),
  link: required(listenAddress, 'Where gateways and other agents connect to.'),
  data_dir: required(path, 'Directory of the input log, the checkpoints and the spool.'),
  metrics,
  log_level: logLevel,
  tls: optional(tls, 'Who this agent is and whom it trusts on links. May be left out only if `link` is '
    + 'loopback.'),
  gateways: required(list('list of names', name), 'The gateways that may command this agent; at least one.'),
  peers: many(list('list of names', name), 'The other hosts: agents that may send checkpoints here.'),
  limits: section(limits, 'Everything that grows has a limit.'),
  guests: required(list('list of guests', guest), 'The guests that may run here or be backed up here; at '
    + 'least one.')
})

/** An agent file with its defaults, in the notation of the file. */
export type AgentFile = ValueOf<typeof agentSchema>
