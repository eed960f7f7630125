import { execFileSync } from 'node:child_process'
import { constants, existsSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import type { Test } from 'tap'
import type { GuestNetwork } from '../../../src/engine/guest-network.ts'
import { XenEngine } from '../../../src/engine/xen.ts'
import { libxcRecord, recordAt, type StreamRecord } from '../../xen/vectors/walk.ts'
import { remusScript, StandIn } from '../remus/stand-in.ts'

/**
 * An `xl` whose domains are files: `domain-NAME` has the number, and `memory` what the guest remembers, which
 * goes through the streams in a page. In a restored domain is what the last such page had.
 */
const xlScript = `directory=$(dirname "$0")
boot() {
  echo $(($(cat "$directory/number") + 1)) >"$directory/number"
  cp "$directory/number" "$directory/domain-$1"
}
remember() {
  grep -a -o 'tailgate-memory=[a-z]*; *' "$directory/taken" | tail -n 1 | tr -d '\\n' >"$directory/memory"
}
case "$1" in
  domid)
    cat "$directory/domain-$2" 2>/dev/null && exit
    echo "$2 is an invalid domain identifier (rc=-6)" >&2
    exit 1 ;;
  list) if [ "$2" = -l ]; then cat "$directory/description"; else echo 'guest 3 128 1 -b---- 1.0'; fi ;;
  create) if [ "$2" = -q ]; then cat "$directory/description"; else boot guest; fi ;;
  destroy) rm -f "$directory/domain-$2" ;;
  save) cat "$directory/before" "$directory/memory" "$directory/after" >"$4" ;;
  restore)
    # Its end is in the stream: the pipe stays open.
    bytes=$(cat "$directory/before" "$directory/memory" "$directory/after" | wc -c)
    head -c "$bytes" "$3" >"$directory/taken" && remember && boot guest ;;
  -v)
    if [ "$2" = migrate-receive ]; then
      boot guest--incoming
      cat >"$directory/taken"
      remember
      exec mv "$directory/domain-guest--incoming" "$directory/domain-guest"
    fi
    ${remusScript} ;;
esac
`
/** Those of the stream that remus/xl.ts writes. */
const mac = '02:77:00:00:02:65'
const bridge = 'guests'
const card = { mac, bridge, ifname: 'guest0' }
const description = [{ config: { c_info: { type: 'pvh', name: 'guest' }, nics: [card] } }]
const memoryBytes = 64
/** More than a pipe takes: whoever is to read it has come by its end. */
const pageRecords = 30

/** A host of Xen that is none, and its engine. */
export class ToyHost {
  readonly engine: XenEngine
  readonly #directory: string
  readonly #events: number
  #gateIsOpen = false

  constructor(t: Test, checkpoints: 'remus' | 'save') {
    this.#directory = new StandIn(t, xlScript).directory
    process.env.STAND_IN_PERIOD = 'as it is told'
    for (const [name, text] of [['number', '2\n'], ['description', JSON.stringify(description)]] as const) {
      writeFileSync(this.#at(name), text)
    }
    const [before, after] = savedStream()
    writeFileSync(this.#at('before'), before)
    writeFileSync(this.#at('after'), after)
    this.write('')
    execFileSync('mkfifo', [this.#at('events')])
    this.#events = openSync(this.#at('events'), constants.O_RDWR)
    const watch = `#!/bin/sh\necho @releaseDomain\nexec cat ${this.#at('events')}\n`
    writeFileSync(this.#at('xenstore-watch'), watch, { mode: 0o755 })
    this.engine = new XenEngine({
      domain: 'guest', config: '/etc/xen/guest.cfg', network: this.#network(), bridge, mac, checkpoints,
      directory: this.#at('engine'), endpoints: ['10.77.2.101:6379']
    })
    t.teardown(() => this.engine.stop())
  }

  get isOpen(): boolean { return this.#gateIsOpen && existsSync(this.#at('domain-guest')) }

  write(value: string): void {
    writeFileSync(this.#at('memory'), `tailgate-memory=${value};`.padEnd(memoryBytes))
  }

  read(): string {
    return /=(.*);/.exec(readFileSync(this.#at('memory'), 'utf8'))?.[1] ?? ''
  }

  /** The domain ends by itself, of which Xen tells. */
  kill(): void {
    rmSync(this.#at('domain-guest'))
    writeSync(this.#events, '@releaseDomain\n')
  }

  #at(name: string): string { return join(this.#directory, name) }

  #network(): GuestNetwork {
    const gate = (isOpen: boolean) => (): Promise<void> => {
      this.#gateIsOpen = isOpen
      return Promise.resolve()
    }
    const done = (): Promise<void> => Promise.resolve()
    return {
      device: 'guest0', onFailure: undefined, renewLease: () => undefined, prepare: gate(false),
      layGate: gate(false), adopt: gate(false), open: gate(true), shut: gate(false), announce: done,
      close: gate(false)
    }
  }
}

/** What an `xl save` would write before the memory and after it. */
function savedStream(): readonly [before: Buffer, after: Buffer] {
  const vector = gunzipSync(readFileSync(new URL('../../xen/vectors/pvh.stream.gz', import.meta.url)))
  let pages: StreamRecord | undefined
  for (let one: StreamRecord | undefined; pages === undefined;) {
    one = recordAt(vector, one)
    if (one === undefined) throw new Error('the vector has no pages')
    if (one.layer === 'libxc' && one.type === libxcRecord.pageData) pages = one
  }
  const record = vector.subarray(pages.at, pages.end)
  const before = [vector.subarray(0, pages.at), ...Array<Buffer>(pageRecords).fill(record)]
  // An END of libxc and one of libxl, which have no contents.
  return [Buffer.concat(before).subarray(0, -memoryBytes), Buffer.alloc(16)]
}
