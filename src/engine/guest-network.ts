/**
 * A guest's way onto the wire on one host, owned by its engine: a device on a bridge, behind a gate in the
 * packet filter that lets the frames of the guest pass in both directions, or none. The device is made here
 * (a tap), or the hypervisor makes it (a vif of Xen): that one comes and goes, and the gate is there before.
 *
 * The gate is shut unless something says otherwise, whoever dies: it is an element of a set that expires by
 * itself ({@link renewLease}; design, rule 7).
 */
export interface GuestNetwork {
  /** The device that the guest's virtual network card is to be joined to. */
  readonly device: string
  /**
   * Makes the gate, shut, and the device if it is made here, whatever was left of them by a process before.
   * Rejects with E_ENGINE.
   */
  prepare(): Promise<void>
  /** Lays the gate, shut, once more, for somebody may have taken it away. Rejects with E_ENGINE. */
  layGate(): Promise<void>
  /**
   * Lays the gate, shut, before a device that is there already, with somebody's guest behind it. A tap is
   * only then put on the bridge, and {@link close} takes it off again; a vif must be on it. Rejects with
   * E_ENGINE.
   */
  adopt(): Promise<void>
  /**
   * Opens the gate: for good where no lease was ever given, for what remains of the lease otherwise. Rejects
   * with E_ENGINE.
   */
  open(): Promise<void>
  /** Resolves when no frame passes any more. Rejects with E_ENGINE. */
  shut(): Promise<void>
  /** An open gate shuts by itself after so many milliseconds, unless this is called again; 0: now. */
  renewLease(remainingMs: number): void
  /**
   * Says to the network that the guest's address is here (gratuitous ARP, RFC 5227; unsolicited neighbour
   * advertisement, RFC 4861). Resolves when it was sent. Rejects with E_ENGINE.
   */
  announce(): Promise<void>
  /** Called when the gate cannot be kept as ordered: the owner must end its guest. */
  onFailure: ((reason: string) => void) | undefined
  /**
   * Removes gate and device. An adopted tap stays, off the bridge; a vif stays as it is, and its gate with
   * it, shut. Rejects with E_ENGINE.
   */
  close(): Promise<void>
}
