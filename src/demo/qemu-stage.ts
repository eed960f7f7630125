import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { runSystemProgram } from '../engine/system-programs.ts'
import { addonBuildPackages, buildAddons, unloadableAddons } from './addons.ts'
import { installDebianPackages } from './debian-packages.ts'
import { runProgram } from './run-program.ts'
import type { Stage } from './stage.ts'

const packages = ['qemu-system-x86', 'cpio', 'iproute2', 'nftables', 'libpcap0.8'] as const

/** Where this program is: package.json, node_modules, deploy. */
const programRoot = join(import.meta.dirname, '../..')
/** For the guest's packages to come and be unpacked, in milliseconds. */
const imageMsMax = 30 * 60_000

const bridge = 'tailgate-demo'
const gatewayAddress = '10.88.0.1'
const guestAddress = '10.88.0.9'
const mac = '52:54:00:88:00:09'
const memoryMiB = 128

/**
 * Installs what a virtual machine needs here, builds the addons that this program in `root` lacks, and makes
 * the guest's kernel and its first file system, once. Each is said before. Rejects with E_ENGINE, or with
 * E_TIMEOUT where a step does not come to an end.
 */
export async function prepareVirtualMachine(say: (line: string) => void, root = programRoot): Promise<void> {
  const unloadable = await unloadableAddons(root)
  await installDebianPackages(unloadable.size === 0 ? packages : [...packages, ...addonBuildPackages], say)
  await buildAddons(root, say)
  say(`the guest's kernel and file system, from Debian packages: ${imageDirectory()}`)
  const script = join(root, 'deploy/demo-guest/build.sh')
  await runProgram({
    what: 'the guest cannot be made', program: script, args: [imageDirectory()], limitMs: imageMsMax,
    remedy: `mend that and run ${script} ${imageDirectory()}`
  })
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
  ]) await runSystemProgram("the demo's bridge cannot be made", 'ip', words)
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
