import { join, resolve } from 'node:path'
import type { AgentFile } from './agent-schema.ts'
import { checkProgram, type Checking } from './checks.ts'
import type { Path, Problems } from './problems.ts'
import { attachedStreamSocket, ownStreamSocket, socketPathMax } from './qemu-sockets.ts'
import type { Loose } from './shape.ts'

type LooseGuest = Loose<AgentFile['guests'][number]>

/** Options of QEMU that the engine gives itself, or that would take the guest out of its hands. */
const ownOptions: ReadonlyMap<string, string> = new Map([
  ...['netdev', 'nic', 'net'].map((word) => [word, 'the network is described by `network`'] as const),
  ...['qmp', 'qmp-pretty', 'S', 'incoming', 'loadvm', 'daemonize', 'pidfile', 'snapshot', 'preconfig']
    .map((word) => [word, 'the agent decides that'] as const)
])

/** Reports what does not fit together in a guest of the engine `qemu`. */
export function checkQemu(
  guest: LooseGuest, path: Path, checking: Checking, dataDir: string | undefined
): void {
  const { problems, directory } = checking
  checkDevice(guest, path, problems, 'tap', 'vif')
  if (!problems.given([...path, 'arguments']) && !problems.given([...path, 'qmp'])) {
    problems.report(path, 'engine `qemu` needs `arguments`, with which the machine is started, or `qmp`, '
      + 'where it runs already')
  }
  if (problems.given([...path, 'disks']) && !problems.given([...path, 'arguments'])) {
    problems.report([...path, 'disks'],
      '`disks` are added to `arguments`; a machine that runs already has its own')
  }
  for (const [i, word] of (guest.arguments ?? []).entries()) {
    if (word === undefined || !word.startsWith('-')) continue
    const why = ownOptions.get(word.replace(/^--?/, ''))
    if (why !== undefined) problems.report([...path, 'arguments', i], `'${word}' has no place here: ${why}`)
  }
  checkProgram(checking, [...path, 'qemu'], guest.qemu ?? [])
  const socket = streamSocketOf(guest, directory, dataDir)
  if (socket === undefined) return
  const length = Buffer.byteLength(socket)
  if (length <= socketPathMax) return
  const chosen = guest.qmp === undefined ? 'data_dir' : 'qmp'
  problems.report(path, `QEMU sends checkpoints to the socket ${socket}, and the path of one may have `
    + `${socketPathMax} bytes, not ${length}: choose a shorter \`${chosen}\``)
}

/** The network of a virtual machine has a device of the engine's kind, and not of another's. */
export function checkDevice(
  { engine = 'qemu' }: LooseGuest, path: Path, problems: Problems, device: 'tap' | 'vif', other: 'tap' | 'vif'
): void {
  const network = [...path, 'network']
  if (!problems.given(network)) {
    problems.report(path, `engine \`${engine}\` needs \`network\`: how the guest is joined to the network`)
    return
  }
  if (!problems.given([...network, device])) {
    problems.report(network, `engine \`${engine}\` needs \`${device}\`: the name of the guest's device`)
  }
  if (problems.given([...network, other])) {
    problems.report([...network, other], `\`${other}\` has no place with engine \`${engine}\``)
  }
}

/** Undefined where what it is made of is missing. */
function streamSocketOf(
  { name, qmp }: LooseGuest, directory: string, dataDir: string | undefined
): string | undefined {
  if (qmp !== undefined) return attachedStreamSocket(resolve(directory, qmp))
  if (dataDir === undefined || name === undefined) return undefined
  return ownStreamSocket(join(resolve(directory, dataDir), encodeURIComponent(name), 'qemu'))
}
