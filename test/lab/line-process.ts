import { Line, type LineCounts, type Shape } from './line.ts'

// Carries the frames of all lines of a lab, in a process of its own, so that they keep their times while the
// test is busy.

export type LineOrder =
  | { readonly type: 'open', readonly near: string, readonly far: string, readonly seed: number }
  | { readonly type: 'shape', readonly near: string, readonly shape: Shape }
  | { readonly type: 'count', readonly near: string }
  | { readonly type: 'close', readonly near: string }

const lines = new Map<string, Line>()

function obey(order: LineOrder): LineCounts {
  if (order.type === 'open') lines.set(order.near, new Line(order.near, order.far, order.seed))
  const line = lines.get(order.near)
  if (line === undefined) throw new Error(`there is no line ${order.near}`)
  if (order.type === 'shape') line.shape(order.shape)
  if (order.type === 'close') {
    line.close()
    lines.delete(order.near)
  }
  return line.counts
}

process.on('message', (order: LineOrder) => { process.send?.(obey(order)) })
process.on('disconnect', () => process.exit())
