import { readFileSync } from 'node:fs'

/** Whether there is a process of this number that has not ended; one that nobody has reaped has. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'))
  } catch {
    return false
  }
}
