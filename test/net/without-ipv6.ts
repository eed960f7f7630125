import koffi from 'koffi'

// Takes IPv6 from the process that loads this, and from all that it starts: socket(2) fails as on a kernel
// that has none. A filter of system calls does that (prctl(2), seccomp(2), linux/filter.h).

/** The number of socket(2) on each machine. */
const socketCalls: Readonly<Record<string, number>> = { x64: 41, arm64: 198 }
const socketCall = socketCalls[process.arch]
if (socketCall === undefined) throw new Error(`the number of socket(2) on ${process.arch} is not known here`)

const inet6 = 10
const noSuchFamily = 97
const [setSeccomp, setNoNewPrivileges, filterMode] = [22, 38, 2]
/** Offsets in struct seccomp_data: the number of the call, the low half of its first argument. */
const [numberAt, familyAt] = [0, 16]
const [load, skipUnless, answer] = [0x20, 0x15, 0x06]
const [allow, fail] = [0x7fff_0000, 0x0005_0000]

/** Code, how much is skipped if it is not equal, value. */
const program: readonly (readonly [code: number, skipped: number, value: number])[] = [
  [load, 0, numberAt],
  [skipUnless, 3, socketCall],
  [load, 0, familyAt],
  [skipUnless, 1, inet6],
  [answer, 0, fail | noSuchFamily],
  [answer, 0, allow]
]

const filter = Buffer.alloc(program.length * 8)
for (const [n, [code, skipped, value]] of program.entries()) {
  filter.writeUInt16LE(code, n * 8)
  filter.writeUInt8(skipped, n * 8 + 3)
  filter.writeUInt32LE(value, n * 8 + 4)
}

const own = koffi.load(null)
koffi.struct('sock_fprog', { len: 'uint16_t', filter: 'void *' })
const prctl = 'int prctl(int, unsigned long, sock_fprog *, unsigned long, unsigned long)'
const call = own.func(prctl)
if (call(setNoNewPrivileges, 1, null, 0, 0) !== 0
  || call(setSeccomp, filterMode, { len: program.length, filter }, 0, 0) !== 0) {
  throw new Error(`no filter of system calls can be had: errno ${koffi.errno()}`)
}
