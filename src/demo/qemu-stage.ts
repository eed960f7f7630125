import { execFile } from 'node:child_process'
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { TailgateError, messageOf } from '../base/errors.ts'
import { installDebianPackages } from './debian-packages.ts'
import type { Stage } from './stage.ts'

const run = promisify(execFile)

const packages = [
  'qemu-system-x86', 'cpio', 'iproute2', 'nftables', 'libpcap0.8'
] as const

const bridge = 'tailgate-demo'
const gatewayAddress = '10.88.0.1'
const guestAddress = '10.88.0.9'
const mac = '52:54:00:88:00:09'
const memoryMiB = 128

/** Installs what a virtual machine needs here, and makes its kernel and its first file system, once. */
export async function prepareVirtualMachine(say: (line: string) => void): Promise<void> {
  await installDebianPackages(packages, say)
  say(`the guest's kernel and file system, from Debian packages: ${imageDirectory()}`)
  const script = join(import.meta.dirname, '../../deploy/demo-guest/build.sh')
  try {
    await run(script, [imageDirectory()])
  } catch (cause) {
    throw new TailgateError('E_ENGINE', `the guest cannot be made: ${messageOf(cause)}`, { cause })
  }
}

/**
 * A virtual machine under QEMU with a Redis in it, on a bridge that both hosts share. To be called in a
 * network namespace of the demo's own. Rejects with E_ENGINE.
 */
export async function qemuStage(): Promise<Stage> {
  const image = imageDirectory()
  await access(join(image, 'vmlinuz'))
  for (const words of [
    ['link', 'set', 'lo', 'up'],
    ['link', 'add', bridge, 'type', 'bridge'],
    ['address', 'add', `${gatewayAddress}/24`, 'dev', bridge],
    ['link', 'set', bridge, 'up']
  ]) await ip(words)
  return {
    about: 'gateway, agents on host-a and host-b, and a bridge between them: all in a network of their own',
    gatewayKeys: [
      'attach: tcp', 'checkpoint_interval: 3s', 'heartbeat: { interval: 100ms, misses: 5 }', 'lease: 600ms'
    ],
    serviceAddress: `${guestAddress}:6379`,
    agentKeys: (letter) => [
      'engine: qemu',
      `endpoints: ['${guestAddress}:6379']`,
      `arguments: [${machineWords(image).map((word) => `'${word}'`).join(', ')}]`,
      `network: { tap: demo-${letter}, bridge: ${bridge}, mac: '${mac}' }`
    ]
  }
}

function imageDirectory(): string {
  return join(process.env.XDG_CACHE_HOME ?? join(process.env.HOME ?? '/tmp', '.cache'), 'tailgate-demo-guest')
}

/** Emulated, so that it runs wherever QEMU does; with `accel=kvm` a real machine is many times as fast. */
function machineWords(image: string): readonly string[] {
  return [
    '-machine', 'pc-i440fx-7.2', '-accel', 'tcg,thread=multi', '-cpu', 'qemu64,+rdrand',
    '-m', String(memoryMiB), '-kernel', join(image, 'vmlinuz'), '-initrd', join(image, 'initrd'),
    '-append', `console=ttyS0 quiet tailgate.address=${guestAddress}/24`
  ]
}

async function ip(words: readonly string[]): Promise<void> {
  try {
    await run('ip', words)
  } catch (cause) {
    throw new TailgateError('E_ENGINE', `ip ${words.join(' ')}: ${messageOf(cause)}`, { cause })
  }
}
