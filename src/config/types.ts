import type { HostName } from '../core/ids.ts'
import type { Durability } from '../core/message.ts'

/** `host` is a name or an address without brackets; '' in an address to listen on means every interface. */
export interface Address {
  readonly host: string
  /** 0 only in an address to listen on: the kernel chooses. */
  readonly port: number
}

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent'

/** Absolute paths of PEM files. */
export interface TlsFiles {
  readonly ca: string
  readonly cert: string
  readonly key: string
}

/** When output may leave: see the design's release modes. A plain guest's services are `immediate`. */
export type ReleaseMode = 'epoch' | 'checkpoint' | 'immediate'

/** How the gateway joins a guest's connections. */
export type AttachKind = 'embedded' | 'tcp'

export type ServiceSource = 'gateway' | 'client'

export interface ServiceConfig {
  readonly name: string
  readonly listen: Address
  /** Where the guest's service listens; undefined with attach `embedded`, where the agent says it. */
  readonly to: Address | undefined
  /** Whose address guest-facing connections come from. `client` only with attach `tcp`. */
  readonly source: ServiceSource
  readonly release: ReleaseMode
}

/** A machine that may run the guest: its agent's name and link address. */
export interface GuestHostConfig {
  readonly name: HostName
  readonly link: Address
  /** Program and arguments; exit status 0 means that the host can reach the network no more. Empty: none. */
  readonly fence: readonly string[]
}

/** The gateway's limits. Bytes, except where it says otherwise. */
export interface GatewayLimits {
  /** Client connections, over all guests. */
  readonly connections: number
  /** Output read from one guest and not yet released; at the limit the gateway stops reading the guest. */
  readonly heldBytes: number
  /** An epoch leaves when it has grown to this, even if events could still be gathered. */
  readonly epochBytes: number
  /** Input of one guest that its backup has not acknowledged; at the limit clients are not read. */
  readonly inFlightBytes: number
  /** What one side of one connection may have queued before the other side is paused. */
  readonly clientBufferBytes: number
}

/** How long the gateway waits, in milliseconds. */
export interface GatewayTimeouts {
  /** For the guest to take a connection, or to answer for one that it should know. */
  readonly connectMs: number
  /** For a fence command; then it is killed and counts as failed. */
  readonly fenceMs: number
  /** For each step of a failover that waits for the backup. */
  readonly promoteMs: number
  /** For connections to finish after SIGTERM. */
  readonly drainMs: number
}

export interface GuestConfig {
  readonly name: string
  readonly attach: AttachKind
  /** Whether TCP connections are joined again in a restored guest, where that can be done. */
  readonly resume: 'auto' | 'off'
  /** In order of preference; the first is the first primary. Empty: a plain guest. One: never protected. */
  readonly hosts: readonly GuestHostConfig[]
  readonly durability: Durability
  readonly checkpointIntervalMs: number
  /** A host is missed when `misses` heartbeats of `intervalMs` did not come. */
  readonly heartbeat: { readonly intervalMs: number, readonly misses: number }
  readonly leaseMs: number
  readonly onLinkLoss: 'continue' | 'stall'
  readonly onDivergence: 'reset' | 'reset-all' | 'stop'
  readonly replay: {
    /** What follows what among inputs that overlapped: as their first output came, or as they came. */
    readonly order: 'output' | 'arrival'
    /** A connection without progress for this long diverges. */
    readonly timeoutMs: number
  }
  /** What the backup's log may take in memory, and in memory and on disk together. */
  readonly log: { readonly memoryBytes: number, readonly totalBytes: number }
  readonly services: readonly ServiceConfig[]
}

/** A gateway file, checked, with every default filled in. Deeply frozen. Paths are absolute. */
export interface GatewayConfig {
  readonly kind: 'gateway'
  /** The gateway's name on links: the name in its certificate. */
  readonly name: string
  readonly stateDir: string
  /** Path of the admin socket. */
  readonly admin: string
  readonly metrics: Address | undefined
  readonly logLevel: LogLevel
  /** Processes that serve the guests; 1: the gateway's own process does. */
  readonly workers: number
  /** Undefined only where every link is a loopback one. */
  readonly tls: TlsFiles | undefined
  readonly limits: GatewayLimits
  readonly timeouts: GatewayTimeouts
  readonly guests: readonly GuestConfig[]
}

/** The guest that is one Node process of ours. */
export interface EmbeddedGuestConfig {
  readonly engine: 'embedded'
  readonly name: string
  /** Where its services listen, in the order of the gateway's list. Port 0: the kernel chooses. */
  readonly listen: readonly Address[]
}

/** Ordinary processes that stand still for checkpoints which cannot be restored. Never protected. */
export interface BlackholeGuestConfig {
  readonly engine: 'blackhole'
  readonly name: string
  /** Where its services listen already, in the order of the gateway's list. */
  readonly endpoints: readonly Address[]
  /** Every process that must stand still; children are not followed. */
  readonly pids: readonly number[]
  /** A file with a process id, read at each checkpoint. */
  readonly pidFile: string | undefined
}

/** A guest without checkpoints: its backup holds the input, and nothing can be restored. */
export interface BareGuestConfig {
  readonly engine: 'none'
  readonly name: string
  readonly endpoints: readonly Address[]
}

/** A virtual machine under QEMU. */
export interface QemuGuestConfig {
  readonly engine: 'qemu'
  readonly name: string
  /** The guest's own addresses, the same on every host, in the order of the gateway's list. */
  readonly endpoints: readonly Address[]
  /** The program, with words that come before everything else. */
  readonly program: readonly string[]
  /** The machine, without its network and control. Undefined: this host cannot restore the guest. */
  readonly arguments: readonly string[] | undefined
  /** The control socket of a guest that runs without us. */
  readonly attach: string | undefined
  readonly network: TapConfig
  readonly disks: readonly { readonly base: string, readonly format: 'qcow2' | 'raw' }[]
}

/** A QEMU guest's way onto the wire on one host. */
export interface TapConfig {
  /** The device that the guest's card is joined to; made by the agent, or adopted with the machine. */
  readonly tap: string
  /** The bridge that it is put on. */
  readonly bridge: string
  /** The card's address, the same on every host. */
  readonly mac: string
  /** More properties of the card, as `addr=0x2`. */
  readonly card: readonly string[]
}

/** A domain of Xen. */
export interface XenGuestConfig {
  readonly engine: 'xen'
  readonly name: string
  /** The domain's own addresses, the same on every host, in the order of the gateway's list. */
  readonly endpoints: readonly Address[]
  /** The domain's name, the same on every host. */
  readonly domain: string
  /** The file from which it is created. Undefined: it is created elsewhere. */
  readonly config: string | undefined
  /** How it is checkpointed: by `xl remus`, or whole, by `xl save`. */
  readonly checkpoints: 'remus' | 'save'
  readonly network: VifConfig
}

/** A domain's way onto the wire on one host; Xen makes the device. */
export interface VifConfig {
  readonly vif: string
  readonly bridge: string
  /** The card's address, the same on every host. */
  readonly mac: string
}

export type AgentGuestConfig =
  | XenGuestConfig | QemuGuestConfig | EmbeddedGuestConfig | BlackholeGuestConfig | BareGuestConfig

/** An agent file, checked, with every default filled in. Deeply frozen. Paths are absolute. */
export interface AgentConfig {
  readonly kind: 'agent'
  /** This host's name on links: the name in its certificate. */
  readonly name: HostName
  /** Where gateways and other agents connect to. */
  readonly link: Address
  readonly dataDir: string
  readonly metrics: Address | undefined
  readonly logLevel: LogLevel
  readonly tls: TlsFiles | undefined
  /** Names of the gateways that may command this agent. */
  readonly gateways: readonly string[]
  /** Names of the agents that may send checkpoints. */
  readonly peers: readonly HostName[]
  readonly limits: {
    /** The largest checkpoint image that is stored. */
    readonly imageBytes: number
    /** Checkpoint data that waits at the primary for a slow link. */
    readonly spoolBytes: number
  }
  readonly guests: readonly AgentGuestConfig[]
}

export type Config = GatewayConfig | AgentConfig
