import { join } from 'node:path'
import type { ReleaseMode } from '../../src/config/types.ts'
import { addressText } from '../../src/net/address.ts'
import type { GuestKind } from '../lab/cluster.ts'
import { servicePort } from '../lab/cluster.ts'

/** The guest's own address in the lab's network of guests, wherever it runs. */
export const guestAddress = '10.77.2.101'
export const postgresqlPort = 5432
export const httpPort = 8080
const guestAddresses = { 4: guestAddress, 6: 'fd77:2::101' } as const
const prefixBits = { 4: 24, 6: 64 } as const
const redisPort = 6379
const mac = '02:77:00:00:02:65'

export interface MachineImage {
  /** The directory of `vmlinuz` and `initrd`. */
  readonly image: string
  readonly memoryMiB: number
}

/** How the gateway serves the Redis of a machine. */
export interface RedisService {
  readonly name: string
  /** Of the gateway. */
  readonly port: number
  readonly release?: ReleaseMode
}

export interface RedisMachineOptions extends MachineImage {
  /** The one family of addresses that clients, gateway and guest use. IPv4 if it is left out. */
  readonly family?: 4 | 6 | undefined
  /** All of them lead to the same Redis. One of the usual name and port if they are left out. */
  readonly services?: readonly RedisService[] | undefined
}

/** QEMU's words for the machine of the tests; its console goes to `/dev/null`. */
function machineWords({ image, memoryMiB }: MachineImage, family: 4 | 6): readonly string[] {
  return [
    '-machine', 'pc-i440fx-7.2', '-accel', 'tcg,thread=multi', '-cpu', 'qemu64,+rdrand',
    '-m', String(memoryMiB),
    '-kernel', join(image, 'vmlinuz'), '-initrd', join(image, 'initrd'),
    '-append', `console=ttyS0 quiet tailgate.address=${guestAddresses[family]}/${prefixBits[family]}`
  ]
}

function quoted(words: readonly string[]): string {
  return `[${words.map((word) => `'${word}'`).join(', ')}]`
}

const usual: readonly RedisService[] = [{ name: 'redis', port: servicePort }]

/** A virtual machine with a Redis in memory, and nothing that is written. */
export function redisMachine({ family = 4, services = usual, ...image }: RedisMachineOptions): GuestKind {
  const to = addressText(guestAddresses[family], redisPort)
  return {
    attach: 'tcp',
    services: services.map((service) => ({ ...service, to, family })),
    agentKeys: () => [
      'engine: qemu',
      `endpoints: ${quoted(services.map(() => to))}`,
      `arguments: ${quoted(machineWords(image, family))}`,
      `network: { tap: guest0, bridge: guests, mac: '${mac}' }`
    ]
  }
}

/** What test/qemu/database/build.sh has made. */
export const databaseServices = [
  { name: 'postgresql', port: postgresqlPort, to: `${guestAddress}:5432` },
  { name: 'http', port: httpPort, to: `${guestAddress}:80` }
] as const

/** One with PostgreSQL and nginx, which write to a disk. */
export function databaseMachine(image: MachineImage): GuestKind {
  return {
    attach: 'tcp',
    services: databaseServices,
    agentKeys: () => [
      'engine: qemu',
      `endpoints: ${quoted(databaseServices.map(({ to }) => to))}`,
      `arguments: ${quoted(machineWords(image, 4))}`,
      `disks: [{ base: '${join(image.image, 'disk.qcow2')}' }]`,
      `network: { tap: guest0, bridge: guests, mac: '${mac}' }`
    ]
  }
}
