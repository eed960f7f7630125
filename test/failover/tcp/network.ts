import { spawnSync } from 'node:child_process'
import { run } from '../../namespace.ts'

export const guestAddress = { 4: '10.78.0.2', 6: 'fd78::2' } as const
export const gatewayAddress = { 4: '10.78.0.1', 6: 'fd78::1' } as const
export const servicePort = 7800
/** The card's address, the same on every host. */
const guestMac = '02:00:00:00:78:02'
/** Chosen, or it would change as ports come and go. */
const bridgeMac = '02:00:00:00:78:01'

/** Longer packets carry data: an answer is longer, an acknowledgement with all its options is not. */
const bareLengthMax = 150

const bridge = 'tgbr'
const table = 'tailgate_test_hold'

/**
 * The network between the gateway and the machines that a guest may run on, in this process's namespace. It
 * can keep answers of the guest from arriving, of which nobody is told.
 *
 *     gateway ── bridge ─┬─ port a ── eth0 of machine a
 *                        └─ port b ── eth0 of machine b     a port that is shut is not on the bridge
 */
export const network = {
  prepare(): void {
    run('ip', 'link', 'add', bridge, 'type', 'bridge', 'mcast_snooping', '0')
    run('ip', 'link', 'set', bridge, 'address', bridgeMac)
    run('ip', 'addr', 'add', `${gatewayAddress[4]}/24`, 'dev', bridge)
    run('ip', 'addr', 'add', `${gatewayAddress[6]}/64`, 'dev', bridge, 'nodad')
    run('ip', 'link', 'set', bridge, 'up')
    nft(`table inet ${table} {
      set held { type inet_service; }
      chain arriving {
        type filter hook prerouting priority raw; policy accept;
        iifname "${bridge}" tcp dport @held tcp flags & (fin | syn) != 0 drop
        iifname "${bridge}" tcp dport @held meta length > ${bareLengthMax} drop
      }
      chain opening {
        type filter hook prerouting priority raw; policy accept;
      }
    }`)
  },

  /** A port for the machine whose namespace is that of process `pid`, shut; the commands for its own end. */
  addPort(port: string, pid: number): readonly (readonly string[])[] {
    run('ip', 'link', 'add', port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(pid))
    run('ip', 'link', 'set', port, 'up')
    return [
      ['ip', 'link', 'set', 'eth0', 'address', guestMac],
      ['ip', 'addr', 'add', `${guestAddress[4]}/24`, 'dev', 'eth0'],
      ['ip', 'addr', 'add', `${guestAddress[6]}/64`, 'dev', 'eth0', 'nodad'],
      ['ip', 'link', 'set', 'eth0', 'up']
    ]
  },

  open(port: string): void { run('ip', 'link', 'set', port, 'master', bridge) },
  shut(port: string): void { run('ip', 'link', 'set', port, 'nomaster') },

  /** For a machine that is gone: the kernel may have taken the port away with its namespace. */
  removePort(port: string): void { spawnSync('ip', ['link', 'del', port]) },

  /** What the guest says to these ports of the gateway does not arrive; what it acknowledges does. */
  hold(ports: readonly number[]): void {
    if (ports.length > 0) nft(`add element inet ${table} held { ${ports.join(', ')} }`)
  },

  letGo(ports: readonly number[]): void {
    if (ports.length > 0) nft(`delete element inet ${table} held { ${ports.join(', ')} }`)
  },

  /** No connection that is being made gets its answer; those of a port that is held stay without. */
  holdOpenings(): void {
    nft(`add rule inet ${table} opening iifname "${bridge}" tcp flags & (syn | ack) == syn | ack drop`)
  },

  letOpeningsGo(): void { nft(`flush chain inet ${table} opening`) },

  letAllGo(): void {
    nft(`flush set inet ${table} held`)
    network.letOpeningsGo()
  }
}

function nft(rules: string): void {
  const { status, stderr, error } = spawnSync('nft', ['-f', '-'], { input: rules, encoding: 'utf8' })
  if (status !== 0) throw new Error(`nft: ${error?.message ?? stderr}`)
}
