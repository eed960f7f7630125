import { ByteLog } from './byte-log.ts'
import { ms } from './clock.ts'
import { ClientStream, type ClientEnd } from './client-stream.ts'
import {
  encodeRequest, follow, foretold, join, newConversation, parseRequest, privateAnswerBytes, sharedAnswerBytes,
  type Operation
} from './protocol.ts'
import { noBytes } from './tcp.ts'
import type { World } from './world.ts'

type Expectation =
  | { readonly kind: 'bytes', readonly bytes: Uint8Array }
  | { readonly kind: 'private', readonly count: number, readonly hash: number }
  | { readonly kind: 'shared', readonly key: number }

/** What a client is going to do. */
export interface ClientPlan {
  readonly service: number
  /** Undefined: until the faults are over. */
  readonly requests: number | undefined
  /** How many answers may be outstanding. */
  readonly depth: number
  readonly thinkMicros: number
  /** Reads so slowly that bytes pile up. */
  readonly slow: boolean
  readonly nonces: boolean
  readonly shared: boolean
  readonly ending: 'half-close' | 'quit' | 'quit-and-talk' | 'reset'
}

/** One client and its one connection: knows what must be answered, and checks every byte. */
export class Client implements ClientEnd {
  readonly id: number
  readonly plan: ClientPlan
  state: 'waiting' | 'open' | 'complete' | 'reset' | 'left' = 'waiting'
  /** All input, as the client wrote it. */
  readonly sent = new ByteLog()
  /** Requests for a shared counter that were sent, and the values that came back. */
  raises = 0
  answers = 0
  readonly #world: World
  #stream: ClientStream | undefined
  readonly #conversation = newConversation()
  #nonce = 0
  readonly #expected: Expectation[] = []
  #got: Uint8Array = noBytes
  #made = 0
  #finished = false
  #reading = false

  constructor(world: World, id: number, plan: ClientPlan) {
    this.#world = world
    this.id = id
    this.plan = plan
  }

  get over(): boolean { return this.state === 'complete' || this.state === 'reset' || this.state === 'left' }
  /** The guest may answer what it says at the end with a reset. */
  get mayBeReset(): boolean { return this.plan.ending === 'quit-and-talk' }

  connect(): void {
    const { gateway } = this.#world
    if (!gateway.running) {
      this.state = 'reset'
      return
    }
    const stream = this.#stream = new ClientStream(this.#world, this.id, gateway.process, this)
    this.state = 'open'
    gateway.accept(this.plan.service, stream)
    this.#later(0, () => this.#go())
  }

  #later(delay: number, run: () => void): void {
    this.#world.clock.after(delay, () => { if (!this.over) run() })
  }

  get #wantsMore(): boolean {
    const { requests } = this.plan
    return requests === undefined ? !this.#world.healed : this.#made < requests
  }

  /** Sends requests as long as its depth allows. */
  #go(): void {
    if (this.#finished || this.over) return
    while (this.#wantsMore && this.#expected.length < this.plan.depth) {
      this.#request()
      if (this.plan.thinkMicros > 0) {
        return this.#later(this.#world.random.below(this.plan.thinkMicros + 1), () => this.#go())
      }
      if (this.#stream !== undefined && this.#stream.sendBacklog > 4096) return this.#later(ms(1),
        () => this.#go())
    }
    if (!this.#wantsMore) this.#finish()
  }

  #request(): void {
    const { random, scenario } = this.#world
    const operation = this.#operation()
    const payload = operation === 'S' ? Uint8Array.of(random.below(scenario.sharedKeys))
      : operation === 'B' ? Uint8Array.of(random.below(256), random.below(scenario.bigMax >> 8))
        : random.bytes(random.below(operation === 'P' ? 4 : scenario.echoMax))
    this.#say(operation, payload)
  }

  #operation(): Operation {
    const roll = this.#world.random.below(10)
    if (this.plan.shared && roll < 4) return 'S'
    return roll < 6 ? 'P' : roll < 7 ? 'E' : roll < 8 ? 'I' : roll < 9 ? 'B' : 'P'
  }

  #say(operation: Operation, payload: Uint8Array): void {
    this.#made++
    const bytes = encodeRequest(operation, payload)
    follow(this.#conversation, bytes)
    const request = parseRequest(bytes)
    if (request === undefined) return
    const answer = foretold(this.#conversation, request)
    const { count, hash } = this.#conversation
    if (operation === 'S') {
      this.raises++
      this.#expected.push({ kind: 'shared', key: payload[0] ?? 0 })
    } else if (answer === undefined) this.#expected.push({ kind: 'private', count, hash })
    else if (answer.length > 0) this.#expected.push({ kind: 'bytes', bytes: answer })
    this.#write(bytes)
  }

  /** Cut anywhere, so that requests come in pieces. */
  #write(bytes: Uint8Array): void {
    const cut = this.#world.random.chance(0.3) ? this.#world.random.below(bytes.length + 1) : bytes.length
    for (const part of [bytes.subarray(0, cut), bytes.subarray(cut)]) {
      if (part.length === 0) continue
      this.sent.push(part)
      this.#stream?.send(part)
    }
  }

  #finish(): void {
    this.#finished = true
    switch (this.plan.ending) {
      case 'half-close': return this.#stream?.finish()
      case 'quit': case 'quit-and-talk':
        this.#say('Q', noBytes)
        if (this.plan.ending === 'quit-and-talk') this.#write(encodeRequest('I', this.#world.random.bytes(5)))
        return
      case 'reset':
        this.#later(this.#world.random.below(ms(3)), () => {
          this.state = 'left'
          this.#stream?.drop()
        })
    }
  }

  // ---- what comes back

  readable(): void {
    if (this.#reading || this.over) return
    this.#reading = true
    const { random } = this.#world
    this.#later(this.plan.slow ? random.below(ms(30)) : random.below(50), () => {
      this.#reading = false
      this.#read()
    })
  }

  #read(): void {
    const stream = this.#stream
    if (stream === undefined) return
    const available = stream.readableBytes
    if (available > 0) {
      this.#got = join(this.#got, stream.read(this.plan.slow ? Math.min(available, 64) : available))
      this.#match()
    } else if (stream.downEnded) return this.#ended()
    if (stream.readableBytes > 0 || stream.downEnded) this.readable()
  }

  #match(): void {
    const before = this.answers
    for (let next = this.#expected[0]; next !== undefined; next = this.#expected[0]) {
      const length = next.kind === 'bytes' ? next.bytes.length
        : next.kind === 'private' ? privateAnswerBytes : sharedAnswerBytes
      if (this.#got.length < length) break
      this.#check(next, this.#got.subarray(0, length))
      this.#got = this.#got.slice(length)
      this.#expected.shift()
      this.answers++
    }
    if (this.#expected.length === 0 && this.#got.length > 0) this.#wrong('an answer to nothing')
    if (this.answers > before) this.#go()
  }

  #check(expected: Expectation, got: Uint8Array): void {
    const view = new DataView(got.buffer, got.byteOffset)
    if (expected.kind === 'bytes') {
      if (!expected.bytes.every((byte, i) => got[i] === byte)) this.#wrong('other bytes than the answer')
    } else if (expected.kind === 'private') {
      const [count, hash, before, now] = [1, 5, 9, 13].map(at => view.getUint32(at, true))
      if (got[0] !== 0x50 || count !== expected.count) {
        this.#wrong(`count ${count} instead of ${expected.count}`)
      }
      if (hash !== expected.hash) this.#wrong('the guest has other input than was sent')
      if (before !== this.#nonce && !this.#world.checks.isUnverified(this.id)) {
        this.#wrong('the guest does not know what it had answered before')
      }
      this.#nonce = now ?? 0
      if (!this.plan.nonces && now !== 0) this.#wrong('a nonce from a guest that has none')
    } else {
      if (got[0] !== 0x53 || got[5] !== expected.key) this.#wrong('an answer about another counter')
      this.#world.checks.sharedValue(this.id, expected.key, view.getUint32(1, true))
    }
  }

  #wrong(what: string): void {
    this.#world.fail(3, `client ${this.id}, answer ${this.answers}: ${what}`)
  }

  #ended(): void {
    if (this.#expected.length > 0 || this.#got.length > 0) {
      this.#wrong(`the end came while ${this.#expected.length} answers were missing`)
    }
    if (this.#finished && this.plan.ending !== 'half-close') this.#stream?.finish()
    this.state = 'complete'
  }

  /** Another gateway serves the guest from now on: whoever still waits for an answer gives it up. */
  leave(): void {
    if (this.state !== 'open') return
    this.state = 'left'
    this.#stream?.leave()
  }

  reset(): void {
    if (this.over) return
    this.state = 'reset'
    this.#world.checks.clientReset(this)
  }
}
