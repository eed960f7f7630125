import { logLevel, metrics, tls } from './gateway-schema.ts'
import {
  choice, count, device, flag, listenAddress, mac, name, path, remoteAddress, size, text
} from './scalars.ts'
import { defaulted, list, many, optional, required, section, table, type ValueOf } from './shape.ts'

// Every key of an agent file. What must hold between keys is in agent.ts.

const limits = table('table', {
  image: defaulted(size('64KiB', '1TiB'), '16GiB', 'The largest checkpoint that is stored; larger ones are '
    + 'refused.'),
  spool: defaulted(size('64KiB', '1TiB'), '4GiB',
    'Checkpoint data that may wait here in memory for a slow link; at the limit the engine waits, and may '
    + 'give the checkpoint up.')
})

const network = table('table', {
  tap: optional(device, "With `qemu`: the device that the guest's network card is joined to. The agent "
    + 'makes it; that of a machine to which it attaches is there already.'),
  vif: optional(device, "With `xen`: the device of the domain's network card in dom0, by the name that "
    + '`vifname` in its configuration gives it.'),
  bridge: required(device, "The bridge that it is put on, which leads to the gateway and the other hosts."),
  mac: required(mac, "The card's address: the same on every host, and no other machine's."),
  card: many(list('list of properties', text), 'More properties of the card (`-device virtio-net-pci,…`): '
    + '`bus` and `addr` where another program has put it, in a machine that the agent attaches to elsewhere.')
})

const disk = table('disk', {
  base: required(path, 'A file that is never written to: the same contents on every host.'),
  format: defaulted(choice('qcow2', 'raw'), 'qcow2', 'What kind of file it is.')
})

const guest = table('guest', {
  name: required(name, 'The name of the guest in the gateway file.'),
  engine: required(choice('xen', 'qemu', 'embedded', 'blackhole', 'none'),
    'What checkpoints and restores the guest. `xen`: a domain of Xen, by Remus. `qemu`: a virtual '
    + 'machine under QEMU. `embedded`: a small '
    + 'Redis-like server of our own. `blackhole`: ordinary '
    + 'processes that stand still for checkpoints which cannot be restored, to measure with. `none`: no '
    + 'checkpoints; '
    + 'a guest that is only proxied and logged.'),
  listen: many(list('list of addresses', listenAddress),
    "With `embedded`: where its services listen, in the order of the gateway's list. Port 0: the kernel "
    + "chooses."),
  endpoints: many(list('list of addresses', remoteAddress),
    "With the other engines: where the guest's services listen, in the order of the gateway's list."),
  qemu: many(list('list of words', text),
    'With `qemu`: the program, with words that come before all others. Left out: `qemu-system-x86_64`.'),
  arguments: many(list('list of words', text),
    'With `qemu`: the machine, in the words of its command line: type, processor, memory, kernel, read-only '
    + 'disks. Not its network, its writable disks or its control, which are added. The same on every host.'),
  qmp: optional(path,
    'With `qemu`: a QMP socket of a machine that runs without the agent. To start the guest is then to '
    + 'attach to it; `arguments` are for restoring, and may be left out where that is never to happen.'),
  domain: optional(text, "With `xen`: the domain's name, the same on every host. Left out: the guest's."),
  config: optional(path,
    'With `xen`: the configuration of the domain (xl.cfg(5)), from which it is created. Left out: somebody '
    + 'else creates it, and it is only found here.'),
  checkpoints: optional(choice('remus', 'save'),
    'With `xen`: `remus`, at first all of the memory and then what has changed since; or `save`, all of it '
    + 'each time, and the domain stands meanwhile. Left out: `remus`. The same on every host.'),
  network: optional(network, 'With `qemu` and `xen`: how the guest is joined to the network on this host.'),
  disks: many(list('list of disks', disk),
    'With `qemu`: the disks that the guest may write to, as /dev/vda, /dev/vdb and so on. What it writes is '
    + 'in the checkpoints, and in files in `data_dir`.'),
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
  data_dir: required(path, 'Directory of the input log, of checkpoints, and of what the agent knows.'),
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
