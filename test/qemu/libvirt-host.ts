import { execFileSync, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { Machine } from '../lab/machine.ts'

const deploy = new URL('../../deploy/', import.meta.url)

/**
 * Directories of a machine's own where libvirt keeps what it has, and where a domain's kernel is; and
 * Debian's user for QEMU, which the package of libvirt's service would have made. No control groups: they
 * would be those of the real machine, and stay behind.
 */
const furnish = `set -e
umount -a -l -t cgroup,cgroup2
mkdir -p /var/lib/libvirt /var/cache/libvirt /var/log/libvirt
for each in /run /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt; do
  mount -t tmpfs none "$each"
done
for file in passwd group; do
  cp "/etc/$file" "/run/$file"
  mount --bind "/run/$file" "/etc/$file"
done
grep -q '^libvirt-qemu:' /etc/group || echo 'libvirt-qemu:x:64055:' >>/run/group
grep -q '^kvm:' /etc/group || echo 'kvm:x:64056:' >>/run/group
grep -q '^libvirt-qemu:' /etc/passwd || echo 'libvirt-qemu:x:64055:64055::/:/usr/sbin/nologin' >>/run/passwd
mkdir /var/lib/libvirt/images
cp "$1/vmlinuz" "$1/initrd" /var/lib/libvirt/images
install -d -m 0755 -o libvirt-qemu /run/tailgate`

/** Gives a machine of the lab what its libvirt, or a QEMU with the words of one, needs of a host. */
export function furnishForLibvirt(machine: Machine, image: string): void {
  machine.run(['sh', '-c', furnish, 'sh', image])
}

/** A libvirtd on a machine of the lab, with which it ends. It sees no systemd and no bus, and needs none. */
export class LibvirtHost {
  readonly #machine: Machine

  private constructor(machine: Machine) {
    this.#machine = machine
  }

  static start(machine: Machine): LibvirtHost {
    // They go into the background when their sockets take connections, and answer them when they are ready.
    machine.run(['virtlogd', '-d'])
    machine.run(['libvirtd', '-d'])
    return new LibvirtHost(machine)
  }

  /** Starts the domain of deploy/libvirt-domain.xml. */
  startExample(): void {
    this.#machine.run(['virsh', 'define', fileURLToPath(new URL('libvirt-domain.xml', deploy))])
    this.virsh('start', 'redis')
  }

  virsh(...words: readonly string[]): string {
    return this.#machine.run(['virsh', '--quiet', ...words]).trim()
  }

  /** Resolves when libvirt has seen a domain pause, and run on after that. */
  async pausesAndResumes(t: Test, domain: string): Promise<void> {
    // Not through a pipe's buffer, which would keep the first events until there are many.
    const words = ['stdbuf', '-oL', 'virsh', 'event', '--domain', domain, '--event', 'lifecycle', '--loop']
    const [program, ...args] = [...this.#machine.enter, ...words]
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    t.teardown(() => child.kill('SIGKILL'))
    let paused = false
    for await (const line of createInterface({ input: child.stdout })) {
      paused ||= line.includes('Suspended')
      if (paused && line.includes('Resumed')) {
        child.kill('SIGKILL')
        return
      }
    }
    throw new Error(`virsh ended before it saw ${domain} pause and run on`)
  }

  /** What deploy/libvirt-arguments.sh says of a domain. */
  argumentsOf(domain: string): string {
    const input = this.virsh('domxml-to-native', 'qemu-argv', '--domain', domain)
    return execFileSync(fileURLToPath(new URL('libvirt-arguments.sh', deploy)), { input, encoding: 'utf8' })
  }
}
