import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { GuestNetwork } from '../../src/engine/guest-network.ts'
import { XenClaim, type Claimed } from '../../src/engine/xen-claim.ts'
import { XenEngine } from '../../src/engine/xen.ts'
import { partHeader } from '../../src/engine/xen-image.ts'
import { inPieces } from './compliance.ts'

// A domain that is on a host before its agent. A script stands in for xl, a file of its directory for each
// domain; what a real one does is tried on a real Xen (test/xen/cases/found.ts).

const mac = '00:16:3e:00:00:09'

/** `xl`, of which everything that changes a domain is written down. */
const xlScript = `#!/bin/sh
cd "$(dirname "$0")"
case "$1" in
  domid) cat "domain-$2" 2>/dev/null || { echo "$2 is an invalid domain identifier (rc=-6)" >&2; exit 1; } ;;
  list) cat description ;;
  *) echo "$*" >> orders
     case "$1" in
       create)
         if [ "$2" = -q ]; then cat description; exit; fi
         cp claim claimed-by-then
         [ -e impossible ] && exit 1
         echo 7 > domain-guest ;;
       destroy) rm -f "domain-$2" ;;
     esac ;;
esac
`

function description(writableDisk: boolean): string {
  const disks = writableDisk ? [{ vdev: 'xvda', readwrite: 1 }] : []
  const card = { mac, bridge: 'lan', ifname: 'guest0' }
  return JSON.stringify([{ config: { c_info: { type: 'pvh', name: 'guest' }, nics: [card], disks } }])
}

class Host {
  readonly directory = mkdtempSync(join(tmpdir(), 'tg-found-'))
  /** What was ordered of the gate. */
  readonly gate: string[] = []
  engine: XenEngine
  readonly #before: XenEngine[] = []
  readonly #config: string | undefined

  constructor(t: Test, config?: string) {
    this.#config = config
    writeFileSync(join(this.directory, 'xl'), xlScript, { mode: 0o755 })
    writeFileSync(join(this.directory, 'xenstore-watch'), '#!/bin/sh\nexec sleep infinity\n', { mode: 0o755 })
    writeFileSync(join(this.directory, 'description'), description(false))
    const { PATH } = process.env
    process.env.PATH = `${this.directory}:${PATH ?? ''}`
    this.engine = this.#newEngine()
    t.teardown(async () => {
      for (const engine of [...this.#before, this.engine]) await engine.stop()
      process.env.PATH = PATH
      rmSync(this.directory, { recursive: true })
    })
  }

  runs(domain: string): this {
    writeFileSync(join(this.directory, `domain-${domain}`), '3\n')
    return this
  }

  async claims(domain: Claimed): Promise<this> {
    await new XenClaim(this.directory).take(domain)
    return this
  }

  /** The agent has died, and there is another one. */
  restart(): void {
    this.#before.push(this.engine)
    this.engine = this.#newEngine()
    this.gate.length = 0
  }

  has(domain: string): boolean { return existsSync(join(this.directory, `domain-${domain}`)) }

  /** What a file of the directory says; undefined if it is not there. */
  read(name: string): string | undefined {
    const path = join(this.directory, name)
    return existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined
  }

  get orders(): readonly string[] {
    return this.read('orders')?.split('\n') ?? []
  }

  #newEngine(): XenEngine {
    return new XenEngine({
      domain: 'guest', config: this.#config, network: this.#network(), bridge: 'lan', mac,
      checkpoints: 'remus', directory: this.directory, endpoints: ['10.0.0.9:6379']
    })
  }

  #network(): GuestNetwork {
    const told = (word: string) => (): Promise<void> => {
      this.gate.push(word)
      return Promise.resolve()
    }
    return {
      device: 'guest0', onFailure: undefined, renewLease: ms => { this.gate.push(`lease ${ms}`) },
      prepare: told('prepare'), layGate: told('gate'), adopt: told('adopt'),
      open: told('open'), shut: told('shut'), announce: told('announce'), close: told('close')
    }
  }
}

void t.test('a domain of somebody is left as it is', async (t) => {
  const host = new Host(t).runs('guest')
  await host.engine.prepare()
  t.equal(host.engine.condition, 'absent')
  t.same(host.gate, [], 'its network, too')
  await host.engine.stop()
  t.ok(host.has('guest'), 'when the agent ends, too')
  t.same(host.orders, [])
})

void t.test('...and taken when the guest is started here', async (t) => {
  const host = new Host(t).runs('guest')
  await host.engine.prepare()
  await host.engine.start()
  t.equal(host.engine.condition, 'running')
  t.same(host.gate, ['adopt', 'open'])
  t.same(host.orders, [], 'it is not made')
  await host.engine.stop()
  t.notOk(host.has('guest'), 'it is the guest from then on, and ends with its agent')
})

void t.test('...and one that does not fit is refused, and goes on', async (t) => {
  const host = new Host(t).runs('guest')
  writeFileSync(join(host.directory, 'description'), description(true))
  await host.engine.prepare()
  await t.rejects(host.engine.start(), { code: 'E_ENGINE', message: /xvda/ })
  t.equal(host.engine.condition, 'absent')
  await host.engine.stop()
  t.ok(host.has('guest'))
  t.notOk(host.gate.includes('adopt'))
})

void t.test('...and keeps a host from being the backup', async (t) => {
  const host = new Host(t).runs('guest')
  await host.engine.prepare()
  const image = Buffer.concat([partHeader({ stream: '0'.repeat(32), index: 0 }), Buffer.alloc(100)])
  const { absorb } = host.engine
  if (absorb === undefined) throw new Error('this engine absorbs')
  await t.rejects(absorb(inPieces(image)), {
    code: 'E_ENGINE', message: /^a domain guest is on this host .* end it with xl destroy guest$/
  })
  await t.rejects(host.engine.restore(inPieces(image)), { code: 'E_IMAGE' }, 'there is no standby')
  t.ok(host.has('guest'), 'and is not ended for what failed')
})

void t.test('the guest of an agent before this one is taken, behind a gate that is shut', async (t) => {
  const host = await new Host(t).runs('guest').runs('guest--incoming').claims(3)
  await host.engine.prepare()
  t.equal(host.engine.condition, 'running')
  t.same(host.gate, ['prepare', 'lease 0', 'open'])
  t.same(host.orders, ['destroy guest--incoming'], 'a standby is not: nobody knows how far it is')
  await host.engine.stop()
  t.notOk(host.has('guest'))
  host.runs('guest').restart()
  await host.engine.prepare()
  t.equal(host.engine.condition, 'absent', 'what comes after it is not')
})

void t.test('...and so is one that was being made when that agent died', async (t) => {
  const host = await new Host(t).runs('guest').claims('any')
  await host.engine.prepare()
  t.equal(host.engine.condition, 'running')
  host.restart()
  await host.engine.prepare()
  t.equal(host.engine.condition, 'running', 'by every agent')
})

void t.test('...but no other domain of its name', async (t) => {
  const host = await new Host(t).runs('guest').claims(2)
  await host.engine.prepare()
  t.equal(host.engine.condition, 'absent', 'with another number')
  await host.claims(3)
  writeFileSync(join(host.directory, 'claim'), `of-another-boot ${host.read('claim')?.split(' ')[1] ?? ''}\n`)
  await host.engine.prepare()
  t.equal(host.engine.condition, 'absent', 'of another boot')
  t.same([...host.gate, ...host.orders], [])
})

void t.test('...and where there was none, none that comes is taken', async (t) => {
  const host = await new Host(t).claims('any')
  await host.engine.prepare()
  host.runs('guest').restart()
  await host.engine.prepare()
  t.equal(host.engine.condition, 'absent')
})

void t.test('a guest is claimed before it is made, and no more when that fails', async (t) => {
  const host = new Host(t, '/etc/xen/guest.cfg')
  const impossible = join(host.directory, 'impossible')
  writeFileSync(impossible, '')
  await t.rejects(host.engine.start(), { code: 'E_ENGINE', message: /could not be created/ })
  t.match(host.read('claimed-by-then'), / any$/)
  t.equal(host.read('claim'), undefined)
  rmSync(impossible)
  await host.engine.start()
  t.match(host.read('claim'), / 7$/)
})

void t.test('a guest that is made here ends when it does not fit', async (t) => {
  const host = new Host(t, '/etc/xen/guest.cfg')
  await host.engine.prepare()
  t.same(host.gate, ['prepare'])
  writeFileSync(join(host.directory, 'description'), description(true))
  await t.rejects(host.engine.start(), { code: 'E_ENGINE', message: /xvda/ })
  t.same(host.orders, ['create -q -n /etc/xen/guest.cfg'], 'it is not even made')
  writeFileSync(join(host.directory, 'description'), description(false))
  await host.engine.start()
  t.ok(host.has('guest'))
})

void t.test('the guest that was found runs on when its agent lets go of it, behind its gate', async (t) => {
  const host = await new Host(t).runs('guest').claims(3)
  await host.engine.prepare()
  t.equal(host.engine.condition, 'running')
  await host.engine.release()
  t.equal(host.engine.condition, 'absent')
  t.same(host.gate, ['prepare', 'lease 0', 'open', 'close'])
  await host.engine.stop()
  t.ok(host.has('guest'))
  t.same(host.orders, [])
})
