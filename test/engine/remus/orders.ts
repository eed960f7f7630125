/**
 * What is ordered of the stand-in for `xl remus`. `c`: a checkpoint; `t`: one without a page; `e`: such a one
 * with much of an emulator; `l`: a large one, and `h`: a huge one; `q`: the end.
 */
export type Order = 'c' | 't' | 'e' | 'l' | 'h' | 'q'

/** So many bytes of pages, and a little more, are in a large checkpoint, and in a huge one. */
export const largeBytes = 16 << 20
export const hugeBytes = 80 << 20
