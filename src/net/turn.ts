/** Something that has gathered writes and sends them at the end of the turn. */
export interface Flushable {
  /** The next one in the turn's list; the list's own, so that gathering makes no object. */
  nextInTurn: Flushable | undefined
  flush(): void
}

let first: Flushable | undefined
let last: Flushable | undefined
let insideCallback = false
let scheduled = false

/** Asks for `flush` at the end of this turn. The caller asks once until it has been flushed. */
export function flushAtTurnEnd(item: Flushable): void {
  if (last === undefined) first = item
  else last.nextInTurn = item
  last = item
  if (insideCallback || scheduled) return
  scheduled = true
  process.nextTick(flushTurn)
}

/** Before a callback out of the event loop runs the owner's code. */
export function enterTurn(): void {
  insideCallback = true
}

/** When the owner's code has returned or thrown. */
export function leaveTurn(): void {
  insideCallback = false
}

/**
 * Sends what was gathered. Callbacks of ours call it when they have left the turn, which spares them the
 * cost of Node's tick queue; writes made elsewhere come here through that queue.
 */
export function flushTurn(): void {
  scheduled = false
  while (first !== undefined) {
    const item = first
    first = item.nextInTurn
    if (first === undefined) last = undefined
    item.nextInTurn = undefined
    item.flush()
  }
}
