import { getSystemErrorName } from 'node:util'
import { TailgateError } from '../base/errors.ts'
import { installedPackage, optionalPackage, type LoadPackage } from './optional-package.ts'

/*
 * The calls of the C library that Node does not offer. The one file that knows koffi.
 */

type Call = (...parameters: readonly (number | Uint8Array)[]) => number

interface Koffi {
  load(name: null): { func(definition: string): unknown }
  errno(): number
}

/** Calls by their names in the C library; each returns what that does, -1 for a failure. */
export interface Libc {
  readonly socket: Call
  readonly bind: Call
  readonly connect: Call
  readonly dup: Call
  readonly close: Call
  readonly shutdown: Call
  readonly send: Call
  readonly recv: Call
  readonly ioctl: Call
  readonly getsockname: Call
  readonly getpeername: Call
  readonly getsockopt: Call
  readonly setsockopt: Call
  readonly fcntl: (descriptor: number, command: number, type: 'int', value: number) => number
  /** The system's error name of the last failure, as `EPERM`. */
  lastError(): string
}

let loaded: Libc | undefined

/** The C library of this process, loaded when it is first wanted. Throws E_ATTACH without koffi. */
export function libc(load: LoadPackage = installedPackage): Libc {
  if (load !== installedPackage) return loadLibc(load)
  return loaded ??= loadLibc(load)
}

function loadLibc(load: LoadPackage): Libc {
  const koffi = optionalPackage('koffi', load) as Koffi
  // Node itself is linked against it, whatever the system calls its file.
  const own = koffi.load(null)
  const call = (definition: string): Call => own.func(definition) as Call
  return {
    socket: call('int socket(int, int, int)'),
    bind: call('int bind(int, const void *, uint32_t)'),
    connect: call('int connect(int, const void *, uint32_t)'),
    dup: call('int dup(int)'),
    close: call('int close(int)'),
    shutdown: call('int shutdown(int, int)'),
    send: call('long send(int, const void *, size_t, int)'),
    recv: call('long recv(int, void *, size_t, int)'),
    ioctl: call('int ioctl(int, unsigned long, void *)'),
    getsockname: call('int getsockname(int, void *, void *)'),
    getpeername: call('int getpeername(int, void *, void *)'),
    getsockopt: call('int getsockopt(int, int, int, void *, void *)'),
    setsockopt: call('int setsockopt(int, int, int, const void *, uint32_t)'),
    fcntl: own.func('int fcntl(int, int, ...)') as Libc['fcntl'],
    lastError: () => getSystemErrorName(-koffi.errno())
  }
}

/** A call that was refused: E_ATTACH, with the system's own name for why in its context. */
export function callFailed(what: string, code: string = libc().lastError()): TailgateError {
  return new TailgateError('E_ATTACH', `${what}: ${code}${remedyOf(code)}`, { context: { code } })
}

function remedyOf(code: string): string {
  if (code === 'EPERM' || code === 'EACCES') return ' (the right is missing: give cap_net_admin,cap_net_raw)'
  if (code === 'EAFNOSUPPORT') return ' (this kernel has no IPv6, or was booted with ipv6.disable=1)'
  if (code === 'EMFILE') return ' (raise the limit of open files)'
  return ''
}

/** The system's error name in an error of {@link callFailed}. */
export function codeOfCall(error: unknown): string | undefined {
  const code = error instanceof TailgateError ? error.context.code : undefined
  return typeof code === 'string' ? code : undefined
}

/** Closes a descriptor of which nothing in Node knows. */
export function closeDescriptor(descriptor: number): void {
  libc().close(descriptor)
}

/** A second descriptor for the same socket. Throws E_ATTACH. */
export function duplicate(descriptor: number): number {
  const copy = libc().dup(descriptor)
  if (copy < 0) throw callFailed('a socket cannot be held on to')
  return copy
}

const stopWriting = 1

/** Ends this direction of a socket, as after its last byte. Does nothing to one that is over. */
export function shutdownWriting(descriptor: number): void {
  libc().shutdown(descriptor, stopWriting)
}

/** Commands of fcntl(2) for a pipe, which Linux has since 2.6.35. */
const setPipeSize = 1031
const getPipeSize = 1032

/** How many bytes a pipe takes without being read. Throws E_ATTACH. */
export function pipeBytes(descriptor: number): number {
  return sizeOrThrow(libc().fcntl(descriptor, getPipeSize, 'int', 0))
}

/** Gives a pipe room for so many bytes at least. Throws E_ATTACH. */
export function growPipe(descriptor: number, bytes: number): void {
  sizeOrThrow(libc().fcntl(descriptor, setPipeSize, 'int', bytes))
}

/** Takes room from a pipe down to so many bytes, unless it holds more. Throws E_ATTACH. */
export function shrinkPipe(descriptor: number, bytes: number): void {
  const result = libc().fcntl(descriptor, setPipeSize, 'int', bytes)
  if (result < 0 && libc().lastError() !== 'EBUSY') sizeOrThrow(result)
}

function sizeOrThrow(result: number): number {
  if (result < 0) throw callFailed('the size of a pipe cannot be chosen')
  return result
}
