import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { chooseSockets } from '../../src/net/choose-sockets.ts'
import { TcpState } from '../../src/net/tcp-info.ts'
import { inNamespace } from '../namespace.ts'
import { withFinSent, withFinTaken, type TcpImage } from '../net/tcp-image.ts'
import { Recorder } from './recorder.ts'
import { ResumeCase, testShield } from './resume-case.ts'
import { RewoundGuest } from './rewound-guest.ts'

/*
 * Every state that a connection can be in when its guest is saved, and everything that may come after, over a
 * real kernel's TCP: what the guest answers, and that both streams go on exactly from there.
 */

interface State {
  readonly name: string
  /** Brings an open connection there; what the guest's kernel then holds, or undefined for nothing. */
  readonly reach: (one: ResumeCase) => Promise<TcpImage | undefined>
  /** Which way can still be gone after it. */
  readonly clientOpen: boolean
  readonly guestOpen: boolean
}

async function established(one: ResumeCase): Promise<void> {
  one.input('hello ')
  await one.heard()
  await one.output('welcome ')
  await one.read()
}

const states: readonly State[] = [
  {
    name: 'established, nothing said yet', clientOpen: true, guestOpen: true,
    reach: (one) => one.mark()
  },
  {
    name: 'established idle', clientOpen: true, guestOpen: true,
    reach: async (one) => {
      await established(one)
      return one.mark()
    }
  },
  {
    name: 'with unread input', clientOpen: true, guestOpen: true,
    reach: async (one) => {
      await established(one)
      await one.guest.pause(one.at)
      one.input('unread ')
      await one.acknowledged()
      return one.mark()
    }
  },
  {
    name: 'with sent but unacknowledged output', clientOpen: true, guestOpen: true,
    reach: async (one) => {
      await established(one)
      const image = await one.mark()
      await one.output('under way ')
      await one.read()
      const unacknowledged = Buffer.from('under way ')
      return { ...image, unacknowledged, sendNext: (image.sendNext + 10) % 2 ** 32 }
    }
  },
  {
    name: 'with unsent output', clientOpen: true, guestOpen: true,
    reach: async (one) => {
      await established(one)
      const image = await one.mark()
      await one.output('not yet sent ')
      await one.read()
      return { ...image, unsent: Buffer.from('not yet sent '), sendNext: (image.sendNext + 13) % 2 ** 32 }
    }
  },
  {
    name: 'half-closed by the client', clientOpen: false, guestOpen: true,
    reach: async (one) => {
      await established(one)
      one.endInput()
      await one.guest.until(one.at, TcpState.closeWait)
      await one.heard()
      return one.mark()
    }
  },
  {
    name: 'half-closed by the guest, not acknowledged', clientOpen: true, guestOpen: false,
    reach: async (one) => {
      await established(one)
      const image = await one.mark()
      await one.endOutput()
      await one.read()
      return withFinSent(image, TcpState.finWait1)
    }
  },
  {
    name: 'half-closed by the guest', clientOpen: true, guestOpen: false,
    reach: async (one) => {
      await established(one)
      await one.endOutput()
      await one.read()
      await one.guest.until(one.at, TcpState.finWait2)
      return one.mark()
    }
  },
  {
    name: 'finished by the client, the last end not acknowledged', clientOpen: false, guestOpen: false,
    reach: async (one) => {
      await established(one)
      one.endInput()
      await one.guest.until(one.at, TcpState.closeWait)
      await one.heard()
      // The guest's FIN is lost with the guest: the gateway's kernel, had it seen it, would answer for ever.
      one.logged.outputEnded = true
      return withFinSent(await one.mark(), TcpState.lastAck)
    }
  },
  {
    name: 'both ends under way', clientOpen: false, guestOpen: false,
    reach: async (one) => {
      await established(one)
      const image = await one.mark()
      await one.endOutput()
      await one.read()
      one.endInput()
      return withFinTaken(withFinSent(image, TcpState.closing), TcpState.closing)
    }
  },
  {
    name: 'finished by the guest', clientOpen: false, guestOpen: false,
    reach: async (one) => {
      await established(one)
      await one.endOutput()
      await one.read()
      await one.guest.until(one.at, TcpState.finWait2)
      const image = await one.mark()
      one.endInput()
      return withFinTaken(image, TcpState.timeWait)
    }
  },
  {
    name: 'finished by the client', clientOpen: false, guestOpen: false,
    reach: async (one) => {
      await established(one)
      one.endInput()
      await one.heard()
      await one.endOutput()
      await one.read()
      one.markClosed()
      return undefined
    }
  }
]

interface After {
  readonly name: string
  readonly client?: 'input' | 'end' | 'input and end' | 'reset'
  readonly guest?: 'output' | 'end' | 'output and end'
}

const afters: readonly After[] = [
  { name: 'nothing' },
  { name: 'more input', client: 'input' },
  { name: 'more output', guest: 'output' },
  { name: 'both', client: 'input', guest: 'output' },
  { name: 'closed', client: 'input and end', guest: 'output and end' },
  { name: 'closed by the guest first', client: 'end', guest: 'end' },
  { name: 'reset', client: 'reset' }
]

function possible(state: State, after: After): boolean {
  return (after.client === undefined || after.client === 'reset' || state.clientOpen)
    && (after.guest === undefined || state.guestOpen)
}

/** What came after the mark, in the life that is lost. */
async function goOn(one: ResumeCase, { client, guest }: After): Promise<void> {
  if (guest?.includes('output') === true) await one.output('more output ')
  if (guest?.includes('end') === true) await one.endOutput()
  if (guest !== undefined) await one.read()
  if (client?.includes('input') === true) one.input('more input ')
  if (client?.includes('end') === true) one.endInput()
  if (client === 'reset') one.side.reset()
}

/** What the restored guest's process does again. */
async function doAgain(one: ResumeCase, { guest }: After): Promise<void> {
  if (guest?.includes('output') === true) await one.guest.write(one.at, 'more output ')
  if (guest?.includes('end') === true) await one.guest.end(one.at)
}

async function runCase(
  t: Test, one: ResumeCase, endpoint: string, state: State, after: After
): Promise<void> {
  await one.open(endpoint)
  const image = await state.reach(one)
  await goOn(one, after)
  await one.cut()
  const events = new Recorder()
  if (image === undefined) {
    t.same(await one.join(endpoint, events), { known: false })
    return
  }
  await one.restore(image)
  const answer = await one.join(endpoint, events)
  if (!answer.known) throw new Error('the guest does not know the connection')
  const { input, output, resumesAt } = answer
  const endsThere = one.logged.outputEnded && resumesAt === one.logged.output.length + 1
  t.ok(resumesAt - (endsThere ? 1 : 0) <= one.received, 'what had not been read at the mark comes again')
  t.equal(input, one.inputPlace(image), 'where the input stands')
  t.equal(output, one.outputPlace(image), 'where the output stands')
  answer.side.resume()
  one.replay(input)
  await doAgain(one, after)
  if (image.state !== TcpState.timeWait) await one.checkInput(t)
  await one.checkOutput(t, events, resumesAt)
  if (after.client === 'reset') {
    answer.side.reset()
    // A process that has read the end of its input waits for no more, and is not told.
    if (state.clientOpen) await one.guest.told(one.at, 'reset')
    else if (state.guestOpen) await one.guest.until(one.at, TcpState.close)
  }
}

if (inNamespace(t, fileURLToPath(import.meta.url))) {
  const { sockets } = await chooseSockets()
  const shield = testShield()
  const guest = await RewoundGuest.start()
  t.teardown(() => guest.stop())
  // Before the first case: where nothing is under way between two of them, the test counts as over.
  const endpoints = { 4: await guest.listen(4), 6: await guest.listen(6) }
  for (const family of [4, 6] as const) {
    const endpoint = endpoints[family]
    for (const state of states) {
      for (const after of afters.filter((one) => possible(state, one))) {
        await t.test(`IPv${family}: ${state.name}, then ${after.name}`, async (t) => {
          const one = new ResumeCase(guest, sockets, shield)
          t.teardown(() => one.close())
          await runCase(t, one, endpoint, state, after)
        })
      }
    }
  }
}
