import { execFileSync } from 'node:child_process'
import { constants, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync }
  from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { partHeader } from '../../src/engine/xen-image.ts'
import { XenStandby } from '../../src/engine/xen-standby.ts'
import { Xl } from '../../src/engine/xl.ts'
import { libxcRecord, libxlRecord, recordAt, type StreamRecord } from '../xen/vectors/walk.ts'
import { inPieces } from './compliance.ts'

// The standby domain of a backup. A script stands in for xl, a file of its directory for each domain; what a
// real one does is tried on a real Xen (test/xen/cases/standby.ts).

/**
 * Answers for a domain wait for a line from the pipe `answers`, if there is one. What `migrate-receive` does
 * is the script `receiver`.
 */
const xlScript = `#!/bin/sh
cd "$(dirname "$0")"
case "$1" in
  domid)
    [ -p answers ] && read -r _ <answers
    cat "domain-$2" 2>/dev/null || { echo "$2 is an invalid domain identifier (rc=-6)" >&2; exit 1; } ;;
  destroy)
    [ -e undying ] && { echo 'it does not die' >&2; exit 1; }
    rm -f "domain-$2" ;;
  -v) . ./receiver ;;
esac
`
/** Takes all of its input, and lets the domain come up at its end. */
const takesAll = 'cat >taken; mv domain-guest--incoming domain-guest\n'

const vector = gunzipSync(readFileSync(new URL('../xen/vectors/pvh.stream.gz', import.meta.url)))

const records: readonly StreamRecord[] = (() => {
  const found: StreamRecord[] = []
  for (let one: StreamRecord | undefined; (one = recordAt(vector, one)) !== undefined;) found.push(one)
  return found
})()
/** Where each checkpoint of the stream ends. */
const ends = records.filter(({ layer, type }) => layer === 'libxl' && type === libxlRecord.checkpointEnd)
  .map(({ end }) => end)
const stream = '00112233445566778899aabbccddeeff'

/** The images of a stream: the first, and then one for each checkpoint. */
function image(index: number): AsyncIterable<Uint8Array> {
  const bytes = vector.subarray(index === 0 ? 0 : ends[index - 1], ends[index])
  return inPieces(Buffer.concat([partHeader({ stream, index }), bytes]))
}

class Backup {
  readonly directory = mkdtempSync(join(tmpdir(), 'tg-standby-'))
  /** What happened, in order. */
  readonly told: string[] = []
  readonly standby: XenStandby
  onLost: () => void = () => undefined
  layGate: () => Promise<void> = () => Promise.resolve()

  constructor(t: Test, receiver = takesAll, stallMsMax?: number) {
    this.write('xl', xlScript)
    this.write('receiver', receiver)
    // What takes a stream so short may have taken it before it has made the domain.
    this.write('domain-guest--incoming', '5\n')
    const { PATH } = process.env
    process.env.PATH = `${this.directory}:${PATH ?? ''}`
    this.standby = new XenStandby({
      xl: new Xl(), domain: 'guest', check: () => undefined, ownLock: () => Promise.resolve([]),
      ...stallMsMax === undefined ? {} : { stallMsMax },
      claim: (id) => {
        this.told.push(`claimed ${id}`)
        return Promise.resolve()
      },
      prepareNetwork: () => {
        this.told.push('network')
        return Promise.resolve()
      },
      layGate: () => {
        this.told.push('gate')
        return this.layGate()
      },
      lost: (reason) => {
        this.told.push(`lost: ${reason}`)
        this.onLost()
      }
    })
    t.teardown(async () => {
      rmSync(join(this.directory, 'undying'), { force: true })
      await this.standby.drop()
      process.env.PATH = PATH
      rmSync(this.directory, { recursive: true })
    })
  }

  write(name: string, text: string): void {
    writeFileSync(join(this.directory, name), text, { mode: 0o755 })
  }

  has(name: string): boolean { return existsSync(join(this.directory, name)) }
}

void t.test('a standby takes each image, and comes up when it is told to', async (t) => {
  const { standby, directory, told } = new Backup(t)
  await standby.absorb(image(0))
  await standby.absorb(image(1))
  await t.rejects(standby.absorb(image(3)), { code: 'E_IMAGE' }, 'an image that does not follow')
  await t.rejects(standby.release({ stream, index: 0 }), { code: 'E_IMAGE' }, 'it is further')
  t.equal(await standby.release({ stream, index: 1 }), 5)
  const taken = readFileSync(join(directory, 'taken'))
  t.ok(taken.equals(vector.subarray(0, taken.length)) && taken.length === ends[1], 'all of both')
  t.same(told, ['network', 'claimed 5', 'gate'])
})

void t.test('no standby comes up before its gate is laid once more', async (t) => {
  const backup = new Backup(t)
  await backup.standby.absorb(image(0))
  const came = { before: backup.has('domain-guest'), after: false }
  backup.layGate = () => Promise.reject(new Error('no gate'))
  await t.rejects(backup.standby.release({ stream, index: 0 }), { message: 'no gate' })
  t.same(backup.told, ['network', 'claimed 5', 'gate'], 'it is not lost')
  backup.layGate = () => {
    came.before = backup.has('domain-guest')
    return Promise.resolve()
  }
  t.equal(await backup.standby.release({ stream, index: 0 }), 5)
  came.after = backup.has('domain-guest')
  t.same(came, { before: false, after: true })
})

void t.test('an image does not count whose xl ends while its domain is looked up', async (t) => {
  const receiver = `head -c ${ends[0] ?? 0} >/dev/null; echo 'it cannot be restored' >&2; exit 1\n`
  const backup = new Backup(t, receiver)
  const answers = join(backup.directory, 'answers')
  execFileSync('mkfifo', [answers])
  const answering = openSync(answers, constants.O_RDWR)
  // The first is for the domain that must not be there.
  writeSync(answering, 'answer\n')
  backup.onLost = () => {
    backup.onLost = () => undefined
    writeSync(answering, 'answer\n'.repeat(9))
  }
  await t.rejects(backup.standby.absorb(image(0)), {
    code: 'E_ENGINE', message: 'xl migrate-receive has ended: it cannot be restored'
  })
  t.ok(backup.told.includes('lost: the standby domain has gone: it cannot be restored'))
})

void t.test('nor does one of which xl makes no domain', async (t) => {
  const backup = new Backup(t)
  rmSync(join(backup.directory, 'domain-guest--incoming'))
  await t.rejects(backup.standby.absorb(image(0)), {
    code: 'E_ENGINE', message: 'xl migrate-receive has made no domain guest--incoming'
  })
})

void t.test('a standby that failed is told of even if its domain cannot be ended', async (t) => {
  const backup = new Backup(t)
  backup.write('undying', '')
  const cutOff = inPieces(Buffer.concat([partHeader({ stream, index: 0 }), vector.subarray(0, 9999)]))
  await t.rejects(backup.standby.absorb(cutOff), { code: 'E_IMAGE', message: /within a checkpoint/ })
  t.same(backup.told, ['network', 'lost: the image ends within a checkpoint'])
})

void t.test('...and so is one whose place is taken', async (t) => {
  const backup = new Backup(t)
  await backup.standby.absorb(image(0))
  backup.write('undying', '')
  await t.rejects(backup.standby.absorb(image(0)), { code: 'E_ENGINE', message: /does not die/ })
  const lost = 'lost: a new stream of checkpoints takes the place of the standby'
  t.same(backup.told, ['network', 'claimed 5', lost])
})

void t.test('a receiver that does not read is ended', async (t) => {
  const { standby, told } = new Backup(t, 'exec sleep infinity\n', 1)
  const pages = records.find(({ layer, type }) => layer === 'libxc' && type === libxcRecord.pageData)
  const { at = 0, end = 0 } = pages ?? {}
  // More than any pipe takes.
  const many = Array<Buffer>(600).fill(vector.subarray(at, end))
  const bytes = Buffer.concat([partHeader({ stream, index: 0 }), vector.subarray(0, at), ...many])
  const message = 'xl migrate-receive has made no headway for 0.001 s'
  await t.rejects(standby.absorb(inPieces(bytes)), { code: 'E_ENGINE', message })
  t.same(told, ['network', `lost: ${message}`])
})
