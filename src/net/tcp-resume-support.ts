import { messageOf } from '../base/errors.ts'
import { openCapture } from './capture.ts'
import { closeDescriptor, codeOfCall, libc } from './libc.ts'
import { installedPackage, type LoadPackage } from './optional-package.ts'
import { RawSender } from './raw-sender.ts'
import { RstShield } from './rst-shield.ts'
import { markOf, originalDestination, setMark, setTransparent } from './socket-options.ts'
import { tcpInfo } from './tcp-info.ts'
import {
  enterRepair, leaveRepair, newSocket, selectQueue, sendQueue, setQueueSequence
} from './tcp-repair.ts'

const unjoined = 'guests are served and their input is replicated, but they are not protected: '
  + 'connections of a restored guest cannot be joined'

/** What is tried, and what can and cannot be done without it. */
const consequences = {
  calls: unjoined,
  info: unjoined,
  mark: unjoined,
  repair: unjoined,
  probe: unjoined,
  capture: unjoined,
  shield: unjoined,
  redirect: 'clients that a REDIRECT rule brought are told apart by the ports that they came to, one for '
    + 'each service, not by where they wanted to go',
  transparent: "guests see the gateway's address in place of their clients': services cannot have the source "
    + "'client'"
} as const

export type SupportPartName = keyof typeof consequences

/** One part, and in a sentence each why it does not work and what can still be done. */
export type SupportPart =
  | { readonly part: SupportPartName, readonly ok: true }
  | { readonly part: SupportPartName, readonly ok: false, readonly missing: string, readonly without: string }

export interface TcpResumeSupport {
  readonly parts: readonly SupportPart[]
  /** Connections of a restored guest with an address of this family can be joined. */
  readonly resumes: boolean
}

/** Without these, no connection is resumed. */
const needed: readonly SupportPartName[] = ['calls', 'info', 'mark', 'repair', 'probe', 'capture', 'shield']

export interface SupportOptions {
  /** Of the guest's addresses. A kernel may have one and not the other. */
  readonly family: 4 | 6
  /** Where packages come from. */
  readonly load?: LoadPackage
  /** The program of nftables. */
  readonly nft?: string
  readonly mark: number
  /** Whose shield is tried on; see {@link RstShield}. */
  readonly shieldName: string
}

/**
 * Tries each part of TCP resume on this kernel with the rights of this process: a socket in repair mode, a
 * mark, a raw socket, a capture, a table of nftables. Leaves nothing behind.
 */
export async function checkTcpResume(options: SupportOptions): Promise<TcpResumeSupport> {
  const { family, load = installedPackage } = options
  const withSocket = (attempt: (socket: number) => void): void => tryWithSocket(family, load, attempt)
  const parts: SupportPart[] = [
    tried('calls', () => { libc(load) }),
    tried('info', () => withSocket((socket) => { tcpInfo(socket) })),
    tried('mark', () => withSocket((socket) => tryMark(socket, options.mark))),
    tried('repair', () => withSocket(tryRepair)),
    tried('probe', () => tryProbe(family, load)),
    tried('capture', () => tryCapture(load)),
    await triedShield(options),
    tried('redirect', () => withSocket((socket) => tryRedirect(socket, family))),
    tried('transparent', () => withSocket((socket) => setTransparent(socket, family)))
  ]
  return { parts, resumes: parts.every(({ part, ok }) => ok || !needed.includes(part)) }
}

/** What does not work and why, for people; empty if everything does. Parts with the same reason share it. */
export function missingText({ parts }: TcpResumeSupport): string {
  const named = new Map<string, SupportPartName[]>()
  for (const part of parts) {
    if (!part.ok) named.set(part.missing, [...named.get(part.missing) ?? [], part.part])
  }
  return [...named].map(([missing, names]) => `${names.join(', ')}: ${missing}`).join('; ')
}

/** What can still be done without that, for people; empty if everything works. */
export function withoutText({ parts }: TcpResumeSupport): string {
  return [...new Set(parts.flatMap((part) => part.ok ? [] : [part.without]))].join('; ')
}

function tried(part: SupportPartName, attempt: () => void): SupportPart {
  try {
    attempt()
    return { part, ok: true }
  } catch (error) {
    return { part, ok: false, missing: messageOf(error), without: consequences[part] }
  }
}

async function triedShield({ family, nft, mark, shieldName }: SupportOptions): Promise<SupportPart> {
  const shield = new RstShield({ name: shieldName, mark, ...nft === undefined ? {} : { nft } })
  try {
    await shield.arm([family === 4 ? '127.0.0.1' : '::1'])
    await shield.disarm()
    return { part: 'shield', ok: true }
  } catch (error) {
    return { part: 'shield', ok: false, missing: messageOf(error), without: consequences.shield }
  }
}

function tryWithSocket(family: 4 | 6, load: LoadPackage, attempt: (socket: number) => void): void {
  libc(load)
  const socket = newSocket(family)
  try {
    attempt(socket)
  } finally {
    closeDescriptor(socket)
  }
}

function tryMark(socket: number, mark: number): void {
  setMark(socket, mark)
  if (markOf(socket) !== mark) throw new Error('SO_MARK is not kept by this kernel')
}

function tryRepair(socket: number): void {
  enterRepair(socket)
  selectQueue(socket, sendQueue)
  setQueueSequence(socket, 1)
  leaveRepair(socket)
}

function tryProbe(family: 4 | 6, load: LoadPackage): void {
  const sender = new RawSender(load)
  try {
    sender.open(family)
  } finally {
    sender.close()
  }
}

function tryCapture(load: LoadPackage): void {
  openCapture({ filter: 'tcp and port 1', load }, () => undefined).close()
}

/** A kernel with address translation finds none for this socket; one without does not know the question. */
function tryRedirect(socket: number, family: 4 | 6): void {
  try {
    originalDestination(socket, family)
  } catch (error) {
    const code = codeOfCall(error)
    if (code === 'ENOENT' || code === 'ENOTCONN') return
    const what = 'SO_ORIGINAL_DST is not known: load nf_conntrack and nf_nat into the kernel'
    throw new Error(`${what} (${String(code)})`, { cause: error })
  }
}
