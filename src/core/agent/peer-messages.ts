import type { CheckpointId, Generation, HistoryId, Millis } from '../ids.ts'
import type { Envelope, Message } from '../message.ts'
import type { CheckpointCycle } from './checkpoint-cycle.ts'
import type { Images } from './images.ts'
import { isCheckpointMessage } from './message-kinds.ts'
import type { AgentPort, LinkId } from './port.ts'
import type { AgentVoice } from './voice.ts'

export interface PeerMessagesContext {
  readonly port: AgentPort
  readonly voice: AgentVoice
  readonly cycle: CheckpointCycle
  readonly images: Images
  /** This host is a backup of the guest, and is not being promoted. */
  isBackup(): boolean
}

/** What agents say to each other: a primary's checkpoints on their way in, and a backup's answers. */
export class PeerMessages {
  readonly #context: PeerMessagesContext

  constructor(context: PeerMessagesContext) {
    this.#context = context
  }

  /** A message of another agent, over whichever link it came. */
  take(now: Millis, link: LinkId, envelope: Envelope, message: Message): void {
    const { port, cycle, images } = this.#context
    if (!isCheckpointMessage(message)) {
      port.report({ type: 'refused', reason: `an agent sent ${message.type}` })
      return
    }
    const { checkpoint } = message
    const { history, generation } = envelope
    switch (message.type) {
      case 'checkpoint-begin': return this.#begin(link, checkpoint, history, generation)
      case 'checkpoint-data': return images.data(link, checkpoint, history, message.bytes)
      case 'checkpoint-end': return images.end(link, checkpoint, history, message)
      case 'checkpoint-abort': return images.aborted(link, checkpoint, message.reason)
      case 'checkpoint-stored': return cycle.stored(link, checkpoint)
      case 'checkpoint-refused': return cycle.refused(now, link, checkpoint, message.reason)
    }
  }

  /** A link to another agent ended, whoever opened it. */
  down(now: Millis, link: LinkId): void {
    this.#context.cycle.peerDown(now, link)
    this.#context.images.peerDown(link)
  }

  #begin(link: LinkId, checkpoint: CheckpointId, history: HistoryId, generation: Generation): void {
    const { port, voice, images } = this.#context
    const reason = this.#cannotStore(generation)
    if (reason === undefined) return images.begin(link, checkpoint, history, generation)
    port.report({ type: 'image-refused', checkpoint, reason })
    voice.toPeer(link, history, { type: 'checkpoint-refused', checkpoint, reason })
  }

  #cannotStore(generation: Generation): string | undefined {
    const known = this.#context.voice.state.generation
    if (generation !== known) return `the checkpoint is of generation ${generation}, this host knows ${known}`
    return this.#context.isBackup() ? undefined : 'this host is no backup of the guest'
  }
}
