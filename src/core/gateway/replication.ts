import { noHistory, type CheckpointId, type HistoryId, type HostName, type Lsn, type Millis } from '../ids.ts'
import type { AgentMessage, Envelope, GatewayMessage, LogPosition } from '../message.ts'
import { RecordKind } from '../record.ts'
import type { DataPath } from './data-path.ts'
import type { Host, Hosts } from './hosts.ts'
import type { LogWriter } from './log-writer.ts'
import type { GatewayPort } from './port.ts'
import type { Protection } from './protection.ts'
import type { GuestSettings } from './settings.ts'

/** After a backup's log failed, how many windows pass before it is tried again. */
const failedBackupWindows = 10

/** Marks remembered of checkpoints that neither count nor will; a late word of an older one is ignored. */
const marksMax = 16

export interface ReplicationContext {
  readonly settings: GuestSettings
  readonly port: GatewayPort
  readonly writer: LogWriter
  readonly dataPath: DataPath
  readonly hosts: Hosts
  send(host: HostName, message: GatewayMessage): void
  /** The host whose guest is the active one, or undefined while there is none that runs. */
  primary(): Host | undefined
  /** Tells the primary where its checkpoints go. */
  assignPrimary(): void
  assignBackup(host: Host): void
  setProtection(protection: Protection): void
  /** A message that only a faulty peer can send. */
  refuse(host: HostName, reason: string): void
}

/**
 * Keeps the backup supplied: which host it is, the history of its log, the marks of checkpoints, and from
 * these how well the guest is protected.
 */
export class Replication {
  readonly #context: ReplicationContext
  #backup: Host | undefined
  /** The backup has said what it holds since its link came up. */
  #backupAnswered = false
  #backupCanRestore = false
  /** When the link to the backup was lost; undefined while it is there. */
  #lostAt: Millis | undefined
  /** Marks given in this history to checkpoints that do not count yet. */
  readonly #marks = new Map<CheckpointId, Lsn>()
  #counted: { readonly checkpoint: CheckpointId, readonly mark: Lsn } | undefined
  #failedUntil: Millis | undefined
  #failure: string | undefined

  constructor(context: ReplicationContext) {
    this.#context = context
  }

  get backup(): Host | undefined { return this.#backup }
  /** A checkpoint counts in the present history, and could be restored. */
  get protected(): boolean { return this.#counted !== undefined && this.#whyNever() === undefined }
  get lastCounted(): { readonly checkpoint: CheckpointId, readonly mark: Lsn } | undefined {
    return this.#counted
  }

  // ---- the backup comes and goes

  /** A host's link is up, or the guest has just become ready: perhaps there is a backup to be had. */
  look(now: Millis): void {
    const { hosts, settings } = this.#context
    const primary = this.#context.primary()
    if (primary === undefined) return
    if (this.#failedUntil !== undefined && now < this.#failedUntil) return
    if (this.#backup?.linked === true && this.#backup !== primary) return
    if (this.#backup !== undefined && this.#lostAt !== undefined && this.#context.writer.running) return
    for (const host of hosts.all()) {
      if (host === primary || !host.linked || host.refuses) continue
      this.#choose(host)
      return
    }
    if (settings.hosts.length < 2) {
      this.#context.setProtection({ state: 'unprotected', reason: 'it has no second host' })
    }
  }

  #choose(host: Host): void {
    this.#backup = host
    this.#backupAnswered = false
    this.#lostAt = undefined
    this.#failedUntil = undefined
    this.#context.assignBackup(host)
  }

  linkUp(host: Host, now: Millis): void {
    if (host !== this.#backup) {
      this.look(now)
      return
    }
    this.#lostAt = undefined
    this.#backupAnswered = false
    this.#context.assignBackup(host)
  }

  linkDown(host: Host, now: Millis): void {
    if (host !== this.#backup) return
    this.#backupAnswered = false
    this.#lostAt = now
    this.#context.writer.unlink()
    if (!this.#context.writer.running) this.#backup = undefined
  }

  /** The host obeys another gateway: it will hold nothing of this one's. */
  refused(host: Host, now: Millis): void {
    const reason = `${host.name} obeys another gateway in this generation; make sure that no other one is `
      + 'given this guest, then start this one again without its state'
    const { writer, settings } = this.#context
    if (writer.running && host === this.#backup) {
      if (settings.onLinkLoss === 'stall') return this.linkDown(host, now)
      this.#giveUp(reason)
    } else if (host === this.#backup) this.#backup = undefined
    this.look(now)
    if (this.#backup === undefined) this.#context.setProtection({ state: 'unprotected', reason })
  }

  /** The backup said what it holds: go on from there, or begin a new history. */
  position(host: Host, envelope: Envelope, message: AgentMessage & { readonly type: 'position' }): void {
    if (host !== this.#backup) return
    const { writer, port } = this.#context
    const { lastLsn: held, canRestore } = message
    this.#backupAnswered = true
    this.#backupCanRestore = canRestore
    if (writer.running && envelope.history === writer.history && writer.resume(held)) {
      port.report({ type: 'link-resumed', host: host.name, lsn: held })
      this.acknowledge(held)
      this.tell()
      return
    }
    this.#begin(host)
  }

  #begin(host: Host): void {
    const { writer, port, dataPath } = this.#context
    this.#forgetMarks()
    const history = port.newHistory()
    const firstLsn = writer.begin(history)
    this.#context.send(host.name, { type: 'begin', firstLsn })
    dataPath.adoptAll()
    writer.flush()
    port.report({ type: 'history', history, backup: host.name })
    this.#context.assignPrimary()
    this.tell()
    dataPath.gate.releaseCheckpointMode()
  }

  acknowledge(upTo: Lsn): void {
    const { writer, dataPath, port } = this.#context
    writer.acknowledge(upTo)
    dataPath.committed(writer.committed)
    // At the end of the turn: what other clients have sent meanwhile is read in this one and goes along.
    port.flushSoon()
  }

  /** The backup cannot take more. */
  logFailed(host: Host, reason: string, now: Millis): void {
    if (host !== this.#backup) return
    this.#failedUntil = this.#retryAt(now)
    this.#failure = `the backup's log failed: ${reason}`
    this.#context.writer.unlink()
    if (this.#context.settings.onLinkLoss === 'continue') this.#giveUp(this.#failure)
    else this.#lostAt = now
    this.tell()
  }

  #retryAt(now: Millis): Millis {
    return now + this.#context.hosts.windowMs * failedBackupWindows as Millis
  }

  /** Serves on without a backup: nothing is held, and the next backup begins a new history. */
  #giveUp(reason: string): void {
    const { writer, dataPath, port } = this.#context
    writer.stop()
    this.#forgetMarks()
    this.#backup = undefined
    this.#lostAt = undefined
    // Said before anything is released that no backup holds.
    this.#context.setProtection({ state: 'unprotected', reason })
    dataPath.committed(writer.committed)
    dataPath.gate.releaseCheckpointMode()
    port.report({ type: 'history', history: noHistory, backup: '' as HostName })
    this.#context.assignPrimary()
  }

  tick(now: Millis): void {
    const { settings, hosts } = this.#context
    if (this.#failedUntil !== undefined && now >= this.#failedUntil) {
      this.#failedUntil = undefined
      const backup = this.#backup
      if (backup === undefined) this.look(now)
      else if (backup.linked) this.linkUp(backup, now)
    }
    if (this.#lostAt === undefined || now - this.#lostAt <= hosts.windowMs) return
    if (settings.onLinkLoss === 'continue') {
      this.#giveUp(`the link to the backup ${this.#backup?.name ?? ''} is lost`)
      this.look(now)
    } else this.tell()
  }

  /** A failover ended or a guest is lost: nothing of the old history is of use. */
  reset(): void {
    this.#context.writer.stop()
    this.#forgetMarks()
    this.#backup = undefined
    this.#lostAt = undefined
    this.#failedUntil = undefined
  }

  #forgetMarks(): void {
    this.#marks.clear()
    this.#counted = undefined
  }

  // ---- marks

  /** The guest stands still for a checkpoint (design, "Marks"). */
  markRequest(host: Host, envelope: Envelope, checkpoint: CheckpointId): void {
    const refusal = this.#markRefusal(envelope.history)
    const { writer, dataPath, port, settings } = this.#context
    if (refusal !== undefined) {
      this.#context.send(host.name, { type: 'mark-refused', checkpoint, reason: refusal })
      port.report({ type: 'mark-refused', checkpoint, reason: refusal })
      return
    }
    if (settings.floorsFromBacklog) dataPath.floors.noteFromBacklog()
    dataPath.floors.log(Number.MAX_SAFE_INTEGER)
    const lsn = writer.append({ kind: RecordKind.mark, checkpoint })
    this.#remember(checkpoint, lsn)
    dataPath.gate.holdForCheckpoint()
    this.#context.send(host.name, { type: 'mark', checkpoint, lsn })
    writer.flush()
    port.report({ type: 'mark', checkpoint, lsn })
  }

  #remember(checkpoint: CheckpointId, lsn: Lsn): void {
    this.#marks.set(checkpoint, lsn)
    for (const oldest of this.#marks.keys()) {
      if (this.#marks.size <= marksMax) return
      this.#marks.delete(oldest)
    }
  }

  #markRefusal(history: HistoryId): string | undefined {
    const { writer, dataPath, settings } = this.#context
    if (!writer.running) return 'no history is running'
    if (history !== writer.history) return `the history is ${writer.history}`
    if (settings.floorsFromBacklog) dataPath.floors.noteFromBacklog()
    const behind = dataPath.floors.unacknowledgedBefore()
    if (behind === undefined) return undefined
    return `connection ${behind.id} has input from before this history that the guest has not acknowledged`
  }

  counted(host: Host, envelope: Envelope, message: AgentMessage & { readonly type: 'counted' }): void {
    const { writer, dataPath, port } = this.#context
    const { checkpoint, mark, bytes } = message
    if (host !== this.#backup || envelope.history !== writer.history || !writer.running) return
    if (this.#counted?.checkpoint === checkpoint) return
    const given = this.#marks.get(checkpoint)
    if (given === undefined) return
    if (given !== mark) {
      const what = `checkpoint ${checkpoint} counts with the mark ${mark}, which was never given`
      this.#context.refuse(host.name, what)
      return
    }
    this.#counted = { checkpoint, mark }
    for (const [other, lsn] of this.#marks) if (lsn <= mark) this.#marks.delete(other)
    port.report({ type: 'checkpoint-counted', checkpoint, mark, bytes })
    this.tell()
    dataPath.floors.counted(mark)
    dataPath.gate.checkpointCounted(mark)
  }

  /** It will not count. One before it of which the end had gone to the backup still may. */
  checkpointFailed(checkpoint: CheckpointId, reason: string): void {
    const { port, dataPath } = this.#context
    port.report({ type: 'checkpoint-failed', checkpoint, reason })
    if (!this.#marks.delete(checkpoint)) return
    if (this.#counted === undefined && this.#marks.size === 0) dataPath.gate.releaseCheckpointMode()
  }

  /**
   * The backup tells in a heartbeat what it holds. Where images build on one another it may lose the one that
   * counted while its log goes on: what was pruned stays so, and the next checkpoint that counts makes up for
   * it. A log that failed is another matter ({@link logFailed}), and holds nothing either.
   */
  holds(host: Host, envelope: Envelope, log: LogPosition | undefined): void {
    const { writer, port, dataPath } = this.#context
    if (host !== this.#backup || envelope.history !== writer.history || !writer.running) return
    if (this.#lostAt !== undefined || log === undefined || log.checkpoint !== 0) return
    if (this.#counted === undefined) return
    const { checkpoint } = this.#counted
    this.#counted = undefined
    port.report({ type: 'checkpoint-lost', checkpoint, reason: `${host.name} cannot restore it any more` })
    this.tell()
    if (this.#marks.size === 0) dataPath.gate.releaseCheckpointMode()
  }

  /** What keeps a checkpoint from ever being of use. */
  #whyNever(): string | undefined {
    if (!this.#backupCanRestore) return 'no engine can restore it'
    return this.#context.settings.floorsFromBacklog ? 'its connections could not be joined again' : undefined
  }

  /** Says how well the guest is protected now. */
  tell(): void {
    const { writer } = this.#context
    const backup = this.#backup
    if (backup === undefined || !writer.running || this.#context.primary() === undefined) return
    const never = this.#whyNever()
    if (never !== undefined) {
      const reason = `its input is replicated to ${backup.name}, but ${never}`
      this.#context.setProtection({ state: 'unprotected', reason })
      return
    }
    if (this.#counted === undefined) {
      this.#context.setProtection({ state: 'syncing', history: writer.history, backup: backup.name })
      return
    }
    const stalled = this.#lostAt !== undefined || !this.#backupAnswered
    this.#context.setProtection({ state: 'protected', backup: backup.name, ...this.#counted, stalled })
  }
}
