import { join } from 'node:path'
import type { GuestKind } from '../lab/cluster.ts'
import { servicePort } from '../lab/cluster.ts'

/** The guest's own address in the lab's network of guests, wherever it runs. */
export const guestAddress = '10.77.2.101'
export const postgresqlPort = 5432
export const httpPort = 8080
const mac = '02:77:00:00:02:65'

export interface MachineImage {
  /** The directory of `vmlinuz` and `initrd`. */
  readonly image: string
  readonly memoryMiB: number
}

/** QEMU's words for the machine of the tests; its console goes to `/dev/null`. */
function machineWords({ image, memoryMiB }: MachineImage): readonly string[] {
  return [
    '-machine', 'pc-i440fx-7.2', '-accel', 'tcg,thread=multi', '-cpu', 'qemu64,+rdrand',
    '-m', String(memoryMiB),
    '-kernel', join(image, 'vmlinuz'), '-initrd', join(image, 'initrd'),
    '-append', `console=ttyS0 quiet tailgate.address=${guestAddress}/24`
  ]
}

function quoted(words: readonly string[]): string {
  return `[${words.map((word) => `'${word}'`).join(', ')}]`
}

/** A virtual machine with a Redis in memory, and nothing that is written. */
export function redisMachine(image: MachineImage): GuestKind {
  return {
    attach: 'tcp',
    services: [{ name: 'redis', port: servicePort, to: `${guestAddress}:6379` }],
    agentKeys: () => [
      'engine: qemu',
      `endpoints: ['${guestAddress}:6379']`,
      `arguments: ${quoted(machineWords(image))}`,
      `network: { tap: guest0, bridge: guests, mac: '${mac}' }`
    ]
  }
}

/** One with PostgreSQL and nginx, which write to a disk: what test/qemu/database/build.sh has made. */
export function databaseMachine(image: MachineImage): GuestKind {
  return {
    attach: 'tcp',
    services: [
      { name: 'postgresql', port: postgresqlPort, to: `${guestAddress}:5432` },
      { name: 'http', port: httpPort, to: `${guestAddress}:80` }
    ],
    agentKeys: () => [
      'engine: qemu',
      `endpoints: ['${guestAddress}:5432', '${guestAddress}:80']`,
      `arguments: ${quoted(machineWords(image))}`,
      `disks: [{ base: '${join(image.image, 'disk.qcow2')}' }]`,
      `network: { tap: guest0, bridge: guests, mac: '${mac}' }`
    ]
  }
}
