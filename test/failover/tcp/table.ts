import type { TcpCase } from './tcp-case.ts'

/*
 * Every state that a connection can be in at a checkpoint, and everything that may come after it. Each pair
 * is run with the mark before the state, between both, and after both (tcp-matrix.test.ts).
 */

/** What is true in the state, which decides what may come after it. */
export type Fact =
  /** There is no connection that anything could be said on. */
  | 'unconnected'
  /** The guest has not seen the connection whole. */
  | 'half-open'
  /** The guest owes an answer, or has one on its way. */
  | 'owing'
  /** What the guest sends does not arrive. */
  | 'held'
  /** The guest does not read. */
  | 'unread'
  | 'client-ended' | 'guest-ended'

export interface State {
  readonly name: string
  readonly facts: readonly Fact[]
  /** Comes from a connection on which one request was answered, where there is one. */
  readonly reach: (one: TcpCase) => Promise<void>
}

const answeringHeld = async (one: TcpCase, request: string): Promise<void> => {
  await one.holdAnswers(true)
  one.say(request)
  await one.heard()
  await one.holdNetwork()
  await one.holdAnswers(false)
}

const endedByClient = async (one: TcpCase): Promise<void> => {
  await one.holdAnswers(true)
  one.say('b')
  one.end()
  await one.heard()
  await one.until('told the end', ({ inputEnded }) => inputEnded)
}

export const states: readonly State[] = [
  { name: 'not yet there', facts: ['unconnected'], reach: () => Promise.resolve() },
  { name: 'SYN seen', facts: ['half-open'], reach: (one) => one.connectHalf() },
  { name: 'established idle', facts: [], reach: () => Promise.resolve() },
  {
    name: 'with unread input', facts: ['unread', 'owing'],
    reach: async (one) => {
      await one.read(false)
      one.say('b')
      await one.until('full of unread input', ({ unread }) => unread > 0)
    }
  },
  {
    name: 'with an answer owed', facts: ['owing'],
    reach: async (one) => {
      await one.holdAnswers(true)
      one.say('b')
      await one.heard()
    }
  },
  {
    name: 'with unsent output', facts: ['owing', 'held'],
    reach: async (one) => {
      await answeringHeld(one, 'big')
      await one.until('full of output', ({ unsent, unacknowledged }) => unsent > 0 && unacknowledged > 0)
    }
  },
  {
    name: 'with sent but unacknowledged output', facts: ['owing', 'held'],
    reach: async (one) => {
      await answeringHeld(one, 'b')
      await one.until('waiting for an acknowledgement', ({ unacknowledged }) => unacknowledged > 0)
    }
  },
  {
    name: 'half-closed by the client', facts: ['client-ended', 'owing'], reach: endedByClient
  },
  {
    name: 'half-closed by the guest', facts: ['guest-ended'],
    reach: async (one) => {
      one.say('quit')
      await one.answered()
      await one.told()
      await one.inState('finWait2')
    }
  },
  {
    name: 'half-closed by the guest, not acknowledged', facts: ['guest-ended', 'owing', 'held'],
    reach: async (one) => {
      await answeringHeld(one, 'quit')
      await one.inState('finWait1')
    }
  },
  {
    name: 'ended by the client, then by the guest, not acknowledged',
    facts: ['client-ended', 'guest-ended', 'owing', 'held'],
    reach: async (one) => {
      await endedByClient(one)
      await one.holdNetwork()
      await one.holdAnswers(false)
      await one.inState('lastAck')
    }
  },
  {
    name: 'ended by both at once', facts: ['client-ended', 'guest-ended', 'owing', 'held'],
    reach: async (one) => {
      await answeringHeld(one, 'quit')
      await one.inState('finWait1')
      one.end()
      await one.inState('closing')
    }
  },
  {
    name: 'finished, the client first', facts: ['client-ended', 'guest-ended'],
    reach: async (one) => {
      one.say('b')
      one.end()
      await one.answered()
      await one.told()
      await one.inState('close')
    }
  },
  {
    name: 'finished, the guest first', facts: ['client-ended', 'guest-ended'],
    reach: async (one) => {
      one.say('quit')
      await one.answered()
      await one.told()
      await one.inState('finWait2')
      await one.part()
      one.end()
      await one.inState('close')
    }
  }
]

export interface After {
  readonly name: string
  /** Why it cannot come after a state of which these facts are true; undefined if it can. */
  readonly impossible: (facts: ReadonlySet<Fact>) => string | undefined
  readonly happen: (one: TcpCase, facts: ReadonlySet<Fact>) => Promise<void>
}

const mute = (facts: ReadonlySet<Fact>): string | undefined =>
  facts.has('client-ended') ? 'the client has said that it says no more' : undefined

const over = (facts: ReadonlySet<Fact>): string | undefined =>
  facts.has('client-ended') && facts.has('guest-ended') && !facts.has('held') ? 'it is over' : undefined

/** What was kept from the guest, or from the gateway, gets there. */
async function letGo(one: TcpCase, facts: ReadonlySet<Fact>): Promise<void> {
  if (facts.has('unconnected')) await one.connect()
  if (facts.has('held') || facts.has('half-open')) one.letNetworkGo()
  if (facts.has('unread')) await one.read(true)
  else if (facts.has('owing') && !facts.has('held')) await one.holdAnswers(false)
  if (facts.has('owing')) await one.answered()
}

export const afters: readonly After[] = [
  {
    name: 'nothing',
    impossible: (facts) => facts.has('unconnected') ? 'there is no connection' : undefined,
    happen: () => Promise.resolve()
  },
  {
    name: 'more input', impossible: mute,
    happen: async (one, facts) => {
      if (facts.has('unconnected') || facts.has('half-open')) {
        await letGo(one, facts)
        one.say('a')
        await one.answered()
      }
      if (facts.has('unread')) {
        const { unread } = await one.until('known', () => true)
        one.say('c')
        await one.until('fuller of unread input', (look) => look.unread > unread)
        return
      }
      if (!facts.has('guest-ended') && !facts.has('held')) await one.holdAnswers(true)
      one.say('c')
      await one.heard()
    }
  },
  {
    name: 'more output',
    impossible: (facts) => facts.has('owing') ? undefined : 'the guest says nothing unless it is asked',
    happen: letGo
  },
  {
    name: 'both',
    impossible: (facts) => mute(facts) ?? (facts.has('guest-ended') ? 'the guest says no more' : undefined),
    happen: async (one, facts) => {
      await letGo(one, facts)
      one.say('c')
      await one.answered()
    }
  },
  {
    name: 'closed', impossible: over,
    happen: async (one, facts) => {
      await letGo(one, facts)
      if (facts.has('unconnected') || facts.has('half-open')) one.say('a')
      if (one.mayEnd) {
        if (one.mayAsk) one.say('d')
        one.end()
      }
      await one.answered()
      await one.told()
    }
  },
  {
    name: 'reset', impossible: over,
    happen: async (one, facts) => {
      if (facts.has('unconnected')) {
        await one.connect()
        one.say('a')
        await one.answered()
      }
      one.reset()
      // Of a client that has ended its direction no reset is noticed before something is written to it.
      if (!facts.has('half-open') && !facts.has('client-ended')) await one.inState('close')
    }
  }
]
