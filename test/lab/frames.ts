/** IEEE 802's EtherType for local experiments: no kernel answers such a frame. */
const experiment = 0x88b5
const frameBytes = 60

export const everybody = 'ff:ff:ff:ff:ff:ff'

/** A frame with a number in it, which nobody but a test sends. */
export function numbered(from: string, to: string, number: number): Buffer {
  const frame = Buffer.alloc(frameBytes)
  frame.write(to.replaceAll(':', '') + from.replaceAll(':', ''), 'hex')
  frame.writeUInt16BE(experiment, 12)
  frame.writeUInt32BE(number, 14)
  return frame
}

/** The sender and number of such a frame; undefined for every other one. */
export function numberOf(frame: Buffer): { readonly from: string, readonly number: number } | undefined {
  if (frame.length < frameBytes || frame.readUInt16BE(12) !== experiment) return undefined
  const from = frame.toString('hex', 6, 12).replace(/..(?!$)/g, '$&:')
  return { from, number: frame.readUInt32BE(14) }
}
