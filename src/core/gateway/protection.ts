import type { CheckpointId, HistoryId, HostName, Lsn } from '../ids.ts'

export type FailoverPhase =
  | 'fence' | 'drain' | 'commit' | 'persist' | 'restore' | 'open-network' | 'attach' | 'replay'

/** How well a guest is protected (design, "Protection states"). */
export type Protection =
  | { readonly state: 'unprotected', readonly reason: string }
  | { readonly state: 'syncing', readonly history: HistoryId, readonly backup: HostName }
  | {
    readonly state: 'protected', readonly backup: HostName
    readonly checkpoint: CheckpointId, readonly mark: Lsn
    /** The link to the backup is gone and `on_link_loss: stall` holds everything until it is back. */
    readonly stalled: boolean
  }
  | {
    readonly state: 'failing-over', readonly phase: FailoverPhase, readonly reason: string
    /** Why it cannot go on by itself; undefined while it can. */
    readonly blocked: string | undefined
  }
  | { readonly state: 'lost', readonly reason: string }
