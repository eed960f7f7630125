/** What V8's profiler says, as far as it is read here. Times in microseconds. */
export interface CpuProfile {
  readonly nodes: readonly ProfileNode[]
  /** The node that was found running, each time that it was looked at. */
  readonly samples: readonly number[]
  /** How long each of these looks came after the one before. */
  readonly timeDeltas: readonly number[]
}

export interface ProfileNode {
  readonly id: number
  readonly callFrame: CallFrame
}

export interface CallFrame {
  readonly functionName: string
  /** Of the module; '' for what is not JavaScript. */
  readonly url: string
  /** From 0. */
  readonly lineNumber: number
}

/** Where the time goes, in an order that does not depend on it. */
const firstGroups = [
  'system calls', 'reads and waits', 'src/net', 'src/core', 'src/link', 'src/log', 'src/observe'
]
const lastGroups = ['garbage collection', 'node internals', 'native code', 'other']

/**
 * System calls that JavaScript makes, by the names of Node's functions for them. Reads of sockets are not
 * among them: libuv makes those itself while it polls, which V8 takes for idle time.
 */
const systemCalls = new Set([
  'writeBuffer', 'writev', 'writeUtf8String', 'writeLatin1String', 'writeAsciiString', 'writeUcs2String',
  'writeBuffers', 'writeString', 'read', 'readStart', 'readStop', 'shutdown', 'close', 'reset', 'connect',
  'open', 'open6', 'bind', 'bind6', 'listen', 'setNoDelay', 'setKeepAlive', 'getsockname', 'getpeername',
  'fsync', 'fdatasync', 'fstat', 'ftruncate'
])

/** The group that a function's own time counts to; undefined while the process waits for something to do. */
export function groupOf({ functionName, url }: CallFrame): string | undefined {
  if (functionName === '(idle)') return undefined
  if (functionName === '(garbage collector)') return 'garbage collection'
  if (functionName === '(program)') return 'native code'
  if (url.startsWith('node:')) return 'node internals'
  const ours = /^.*\/(?:dist|src)\/(\w+)\/.*$/.exec(url)?.[1]
  if (ours !== undefined && !url.includes('/node_modules/')) return `src/${ours}`
  return url === '' && systemCalls.has(functionName) ? 'system calls' : 'other'
}

export interface Part {
  readonly name: string
  readonly us: number
}

export interface Attribution {
  readonly busyUs: number
  /** What V8 takes for idle: libuv reads sockets in it, and waits. */
  readonly idleUs: number
  /** Groups with any time in them; their sum is `busyUs`. */
  readonly groups: readonly Part[]
  /** Functions by their own time, the most first. */
  readonly functions: readonly Part[]
}

/**
 * The whole of the CPU time that the kernel counted: what the profile does not know of is what libuv does
 * while V8 thinks that it is idle. Of use only where the process had its processor for itself, because the
 * profiler counts by the clock on the wall.
 */
export function withReads({ groups, busyUs, idleUs, functions }: Attribution, cpuUs: number): Attribution {
  const reads = Math.min(idleUs, Math.max(0, cpuUs - busyUs))
  const sums = new Map(groups.map(({ name, us }) => [name, us]))
  addTo(sums, 'reads and waits', reads)
  return { groups: inOrder(sums), busyUs: busyUs + reads, idleUs: idleUs - reads, functions }
}

/** Sums up a profile. A look counts for the time until the next one. */
export function attribute(profile: CpuProfile): Attribution {
  const frames = new Map(profile.nodes.map(({ id, callFrame }) => [id, callFrame]))
  const groups = new Map<string, number>()
  const functions = new Map<string, number>()
  let [busyUs, idleUs] = [0, 0]
  for (const [at, id] of profile.samples.entries()) {
    const us = Math.max(0, profile.timeDeltas[at + 1] ?? 0)
    const frame = frames.get(id)
    if (frame === undefined) throw new Error(`the profile has no node ${id}`)
    const group = groupOf(frame)
    if (group === undefined) {
      idleUs += us
      continue
    }
    busyUs += us
    addTo(groups, group, us)
    addTo(functions, nameOf(frame), us)
  }
  return { busyUs, idleUs, groups: inOrder(groups), functions: largestFirst(functions) }
}

function addTo(sums: Map<string, number>, name: string, us: number): void {
  sums.set(name, (sums.get(name) ?? 0) + us)
}

function nameOf({ functionName, url, lineNumber }: CallFrame): string {
  const name = functionName === '' ? '(anonymous)' : functionName
  if (url === '') return name
  const file = /(?:dist|src|bench|node_modules)\/.*$/.exec(url)?.[0] ?? url
  return `${name}  ${file}:${lineNumber + 1}`
}

function largestFirst(sums: ReadonlyMap<string, number>): Part[] {
  return [...sums].map(([name, us]) => ({ name, us })).toSorted((a, b) => b.us - a.us)
}

/** The groups that are always looked for, then other parts of src by their time, then the rest. */
function inOrder(sums: ReadonlyMap<string, number>): Part[] {
  const all = largestFirst(sums).filter(({ us }) => us > 0)
  const place = ({ name }: Part): number => {
    const [first, last] = [firstGroups.indexOf(name), lastGroups.indexOf(name)]
    if (first >= 0) return first
    return firstGroups.length + (last < 0 ? 0 : 1 + last)
  }
  return all.toSorted((a, b) => place(a) - place(b))
}
