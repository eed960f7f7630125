import { execFileSync } from 'node:child_process'
import { constants, openSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { GuestNetwork } from '../../src/engine/guest-network.ts'
import { XenEngine } from '../../src/engine/xen.ts'
import { Xl } from '../../src/engine/xl.ts'
import { StandIn, remusScript } from './remus/stand-in.ts'

// What the engine makes of a domain that stands when its stream of checkpoints has ended. A script stands in
// for xl, and remus/xl.ts for its remus; what a real one does is tried on a real Xen (test/xen).

/** Who looks at the domain's state is told of in the journal, and answered by a line of the pipe `states`. */
const xlScript = `directory=$(dirname "$0")
case "$1" in
  domid)
    cat "$directory/domain-$2" 2>/dev/null && exit
    echo "$2 is an invalid domain identifier (rc=-6)" >&2
    exit 1 ;;
  list)
    [ "$2" = -l ] && exec cat "$directory/description"
    echo looked >"$directory/journal"
    read -r state <"$directory/states"
    echo "$state"
    echo answered >"$directory/journal" ;;
  destroy) rm -f "$directory/domain-$2" ;;
  -v) ${remusScript} ;;
esac
`
const stands = 'guest 3 128 1 ---s-- 1.0\n'
const runs = 'guest 3 128 1 -b---- 1.0\n'
/** Those of the stream that remus/xl.ts writes. */
const mac = '02:77:00:00:02:65'
const bridge = 'guests'
const card = { mac, bridge, ifname: 'guest0' }
const description = [{ config: { c_info: { type: 'pvh', name: 'guest' }, nics: [card] } }]

interface Host {
  readonly xl: StandIn
  readonly engine: XenEngine
  readonly failed: string[]
  readonly notices: string[]
  /** Answers the next look at the domain's state. */
  readonly answer: (line: string) => void
}

async function host(t: Test): Promise<Host> {
  const xl = new StandIn(t, xlScript)
  const at = (name: string): string => join(xl.directory, name)
  writeFileSync(at('domain-guest'), '3\n')
  writeFileSync(at('description'), JSON.stringify(description))
  writeFileSync(at('xenstore-watch'), '#!/bin/sh\nexec sleep infinity\n', { mode: 0o755 })
  execFileSync('mkfifo', [at('states')])
  const states = openSync(at('states'), constants.O_RDWR)
  const done = (): Promise<void> => Promise.resolve()
  const network: GuestNetwork = {
    device: 'guest0', onFailure: undefined, renewLease: () => undefined,
    prepare: done, layGate: done, adopt: done, open: done, shut: done, announce: done, close: done
  }
  const notices: string[] = []
  const engine = new XenEngine({
    domain: 'guest', config: undefined, network, bridge, mac, checkpoints: 'remus',
    directory: at('engine'), endpoints: ['10.0.0.9:6379'],
    notice: (text) => { notices.push(text) }
  })
  const failed: string[] = []
  engine.onFailure = (reason) => { failed.push(reason) }
  t.teardown(() => engine.stop())
  await engine.start()
  return { xl, engine, failed, notices, answer: (line) => { writeSync(states, line) } }
}

/** Begins a stream of checkpoints, of which nothing but its header was taken. */
async function begin({ engine }: Host): Promise<AsyncGenerator<Uint8Array, void>> {
  const pieces = engine.checkpoint(() => Promise.resolve(), { builds: false, periodMs: 100 })
  await pieces.next()
  return pieces
}

/** Begins one, whose xl has ended when this resolves, and the domain's state is being looked at. */
async function endedStream(t: Test, host: Host): Promise<void> {
  const pieces = await begin(host)
  host.xl.order('q')
  const taken = async (): Promise<void> => {
    for await (const piece of pieces) t.ok(piece.length > 0)
  }
  await t.rejects(taken(), { code: 'E_ENGINE', message: /xl remus has ended/ })
  await host.xl.until('looked')
}

/** Resolves when the answer was heard. */
async function answered(t: Test, host: Host): Promise<void> {
  host.answer(stands)
  await host.xl.until('answered')
  // Its xl is waited for after that of the answer.
  t.equal(await new Xl().domainId('guest'), 3)
}

void t.test('a domain that stands when its xl has ended has failed', async (t) => {
  const one = await host(t)
  await endedStream(t, one)
  await answered(t, one)
  t.match(one.failed, [/xl remus has ended while the domain stood/])
  t.equal(one.engine.condition, 'failed')
})

void t.test('...but not if it is the next xl for which it stands', async (t) => {
  const one = await host(t)
  await endedStream(t, one)
  const next = await begin(one)
  await answered(t, one)
  t.same(one.failed, [])
  t.equal(one.engine.condition, 'running')
  await next.return()
})

void t.test('a stream that ended between two images is told of with the next', async (t) => {
  const one = await host(t)
  const { xl, engine, notices } = one
  let pieces = 0
  for await (const piece of engine.checkpoint(() => Promise.resolve(), { builds: false, periodMs: 100 })) {
    // After the header comes the first pass, in one piece.
    if (piece.length > 0 && ++pieces === 2) xl.order('c')
  }
  xl.order('q')
  await xl.until('looked')
  one.answer(runs)
  const next = engine.checkpoint(() => Promise.resolve(), { builds: true, periodMs: 100 })
  await next.next()
  t.match(notices, [/ended between two images, .* all of the memory: xl remus has ended: Told to end$/])
  t.equal(engine.condition, 'running')
  await next.return()
})
