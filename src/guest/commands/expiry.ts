import type { Application } from '../application.ts'
import { integerOf } from '../command.ts'
import { ReplyError } from '../reply-error.ts'

/** Milliseconds since 1970 beyond which no expiry may lie: what a 64-bit integer holds. */
const momentMax = 2 ** 63

const units: Readonly<Record<string, { readonly scale: number, readonly absolute: boolean }>> = {
  EX: { scale: 1000, absolute: false },
  PX: { scale: 1, absolute: false },
  EXAT: { scale: 1000, absolute: true },
  PXAT: { scale: 1, absolute: true }
}

/** Whether `option` (in capitals) is one of EX, PX, EXAT and PXAT. */
export function isExpiryOption(option: string): boolean {
  return Object.hasOwn(units, option)
}

/**
 * The moment that an option names, in milliseconds of the guest's clock. Throws what Redis answers otherwise.
 */
export function momentOf(
  app: Application, option: string, text: string, commandName: string, positive: boolean
): number {
  const unit = units[option] ?? { scale: 1, absolute: false }
  const amount = integerOf(text)
  const invalid = new ReplyError(`ERR invalid expire time in '${commandName}' command`)
  if (positive && amount <= 0) throw invalid
  const moment = amount * unit.scale + (unit.absolute ? 0 : app.clock.now())
  if (Math.abs(moment) >= momentMax || Math.abs(amount * unit.scale) >= momentMax) throw invalid
  return moment
}
