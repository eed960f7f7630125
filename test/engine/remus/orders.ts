/**
 * What is ordered of the stand-in for `xl remus`. `c`: a checkpoint; `m`: one that no pipe takes, `l`: a
 * large one, and `h`: a huge one; `t`: one without a page; `e`: such a one with much of an emulator; `q`: the
 * end.
 */
export type Order = 'c' | 'm' | 'l' | 'h' | 't' | 'e' | 'q'

/** So many bytes of pages, and a little more, are in checkpoints that were ordered to be longer. */
export const grownBytes = { m: 1 << 20, l: 16 << 20, h: 80 << 20 } as const
