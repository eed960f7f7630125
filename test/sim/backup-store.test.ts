import t from 'tap'
import { connectionId, generation, historyId, lsn } from '../../src/core/ids.ts'
import { encodeRecord } from '../../src/core/record-codec.ts'
import { RecordKind } from '../../src/core/record.ts'
import type { LogSettings, OpenLogOutcome } from '../../src/core/agent/port.ts'
import { BackupStore } from './backup-store.ts'
import { Process } from './process.ts'
import { World } from './world.ts'

const settings: LogSettings = { durability: 'disk', memoryBytes: 1 << 20, totalBytes: 1 << 24 }
const history = historyId('00000000000000a1')
const epochs = 8

interface Loss {
  readonly world: World
  readonly store: BackupStore
  /** The last lsn that had been acknowledged. */
  readonly acknowledged: number
  /** What the next life of the agent finds. */
  readonly found: OpenLogOutcome
}

function begin(world: World, store: BackupStore): void {
  let begun = false
  store.begin(history, generation(1), lsn(1), () => { begun = true })
  while (!begun && world.clock.step(Infinity)) { /* the disk works */ }
}

/** The power goes while the disk writes what came during the first write, which it has acknowledged. */
function losePower(seed: number): Loss {
  const world = new World(seed)
  const store = new BackupStore(world, 'h2', new Process(world, 'agent'))
  store.open(settings)
  begin(world, store)
  let acknowledged = 0
  for (let next = 1; next <= epochs; next++) {
    const record = encodeRecord(
      { kind: RecordKind.open, connection: connectionId(next), service: 0, client: `c${next}:1` })
    store.append(lsn(next), lsn(next), [record], outcome => { if (outcome.ok) acknowledged = outcome.lsn })
  }
  while (acknowledged === 0 && world.clock.step(Infinity)) { /* the disk works */ }
  store.crash(true)
  return { world, store, acknowledged, found: store.open(settings) }
}

void t.test('a power loss leaves what was durable, and of the write under way all or nothing', t => {
  let torn = 0
  for (let seed = 1; seed <= 300; seed++) {
    const { world, acknowledged, found } = losePower(seed)
    if (world.counts.has('damaged')) continue
    torn += world.counts.get('torn') ?? 0
    t.equal(acknowledged, 1, 'the others wait for the next write')
    if (!found.ok) t.fail(`seed ${seed}: ${found.reason}`)
    else if (found.log.lastLsn !== acknowledged) t.equal(found.log.lastLsn, epochs, `seed ${seed}`)
  }
  t.ok(torn > 100, `${torn} writes were torn`)
  t.end()
})

void t.test('damage to what was durable is told, and a new history heals it', t => {
  let unreadable = 0
  let cut = 0
  for (let seed = 1; seed <= 600; seed++) {
    const { world, store, acknowledged, found } = losePower(seed)
    if (!world.counts.has('damaged')) continue
    if (found.ok) {
      // The last block's damage looks like a torn write: the position says what is missing.
      t.ok(found.log.lastLsn < acknowledged, `seed ${seed}`)
      cut++
    } else {
      t.match(found.reason, /checksum|not a file of a log|header|longer|cut short/)
      t.strictSame(store.open(settings), found, 'it stays so until a history begins')
      unreadable++
    }
    begin(world, store)
    const healed = store.open(settings)
    t.ok(healed.ok && healed.log.history === history && healed.log.lastLsn === 0, `seed ${seed}`)
  }
  t.ok(unreadable > 5 && cut > 5, `unreadable ${unreadable}, cut ${cut}`)
  t.end()
})
