/** The ways in which the load uses the service; each has rules of its own for what is right. */
export type Kind = 'pipelined' | 'transactions' | 'blocking' | 'published' | 'shared' | 'short'

export const kinds: readonly Kind[] = [
  'pipelined', 'transactions', 'blocking', 'published', 'shared', 'short'
]

/** What the clients have seen. */
export interface Figures {
  answered: number
  /** Replies that no execution of the requests could give, with what they were; the first few. */
  readonly wrong: string[]
  wrongCount: number
  /** Connections that ended though their client had not ended them, by kind. */
  readonly resets: Record<Kind, number>
  connections: number
  /** The longest that one request took, in milliseconds. */
  longestPauseMs: number
}

/** So many are told in words. */
const wrongTold = 20

export function newFigures(): Figures {
  return {
    answered: 0, wrong: [], wrongCount: 0, connections: 0, longestPauseMs: 0,
    resets: { pipelined: 0, transactions: 0, blocking: 0, published: 0, shared: 0, short: 0 }
  }
}

export function addWrong(figures: Figures, what: string): void {
  figures.wrongCount++
  if (figures.wrong.length < wrongTold) figures.wrong.push(what)
}
