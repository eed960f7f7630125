/** What a client reads: an error is an Error, a map of RESP3 a Map, a set a Set, nil is null. */
export type Reply = string | number | null | Error | Reply[] | Map<Reply, Reply> | Set<Reply>

/** Reads replies out of any portions, as an independent client would. */
export class ReplyReader {
  #bytes: Buffer = Buffer.alloc(0)
  #at = 0

  /** The replies that are whole now. */
  feed(bytes: Uint8Array): Reply[] {
    this.#bytes = Buffer.concat([this.#bytes.subarray(this.#at), bytes])
    this.#at = 0
    const replies: Reply[] = []
    for (;;) {
      const before = this.#at
      const reply = this.#reply()
      if (reply === undefined) {
        this.#at = before
        return replies
      }
      replies.push(reply)
    }
  }

  get rest(): number {
    return this.#bytes.length - this.#at
  }

  #line(): string | undefined {
    const end = this.#bytes.indexOf('\r\n', this.#at)
    if (end < 0) return undefined
    const line = this.#bytes.toString('latin1', this.#at, end)
    this.#at = end + 2
    return line
  }

  #reply(): Reply | undefined {
    const line = this.#line()
    if (line === undefined) return undefined
    const body = line.slice(1)
    switch (line.charAt(0)) {
      case '+': return body
      case '-': return new Error(body)
      case ':': return Number(body)
      case '_': return null
      case '$': return this.#bulk(Number(body))
      case '*': case '>': return Number(body) < 0 ? null : this.#many(Number(body))
      case '~': return asSet(this.#many(Number(body)))
      case '%': return asMap(this.#many(Number(body) * 2))
      default: throw new Error(`a reply that begins with ${line}`)
    }
  }

  #bulk(length: number): string | null | undefined {
    if (length < 0) return null
    if (this.#at + length + 2 > this.#bytes.length) return undefined
    const text = this.#bytes.toString('latin1', this.#at, this.#at + length)
    this.#at += length + 2
    return text
  }

  #many(count: number): Reply[] | undefined {
    const replies: Reply[] = []
    for (let n = 0; n < count; n++) {
      const reply = this.#reply()
      if (reply === undefined) return undefined
      replies.push(reply)
    }
    return replies
  }
}

function asSet(replies: Reply[] | undefined): Set<Reply> | undefined {
  return replies === undefined ? undefined : new Set(replies)
}

function asMap(replies: Reply[] | undefined): Map<Reply, Reply> | undefined {
  if (replies === undefined) return undefined
  const map = new Map<Reply, Reply>()
  for (let at = 0; at < replies.length; at += 2) map.set(replies[at] ?? null, replies[at + 1] ?? null)
  return map
}

/** A command as clients send it. */
export function encodeCommand(args: readonly string[]): Buffer {
  const parts = args.map((arg) => `$${Buffer.byteLength(arg, 'latin1')}\r\n${arg}\r\n`)
  return Buffer.from(`*${args.length}\r\n${parts.join('')}`, 'latin1')
}
