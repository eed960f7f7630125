#!/usr/bin/env bash
# Makes a Xen host for the laboratory, which QEMU runs: OUTDIR/xen, the hypervisor; OUTDIR/vmlinuz and OUTDIR/initrd,
# a Debian kernel as dom0 with Xen's tools, this machine's Node and a guest with Redis in memory. Everything but Node
# is taken from Debian packages, which are downloaded and unpacked, not installed. What was made is kept until what it
# is made of changes. The file init says what the host reads and where it listens.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
readonly deploy=$here/../../../deploy
readonly demo_guest=$deploy/demo-guest
# shellcheck source=deploy/demo-guest/image.sh
source "$demo_guest/image.sh"
readonly xen=4.17

(($# == 1)) || fail 'usage: build.sh OUTDIR'
require_programs cpio node
node=$(node -p 'process.execPath')
readonly node
mkdir -p "$1" || fail "the directory $1 cannot be made"
guest=$("$demo_guest/build.sh" "$1/guest") || fail 'the guest cannot be built'
readonly guest
take_directory "$1"
find_kernel amd64

# libraries_of PACKAGE: the packages of libraries that it may need at run time.
libraries_of() {
  needed_packages "$1" | grep -E '^(lib[a-z0-9.+-]*|zlib1g)$' | grep -vE '^lib(llvm|perl|python)|-(perl|stdlib|common)$'
}

mapfile -t packages < <({
  printf '%s\n' "$kernel" busybox-static "xen-hypervisor-$xen-amd64" "xen-utils-$xen" xen-utils-common \
    xenstore-utils qemu-system-xen qemu-system-data seabios iproute2 nftables ncurses-base util-linux \
    libstdc++6 libpcap0.8
  for package in "xen-utils-$xen" qemu-system-xen iproute2 nftables util-linux libpcap0.8; do libraries_of "$package"; done
} | sort -u)
((${#packages[@]} > 20)) || fail "xen-utils-$xen is not known to apt; the sources must name Debian 12"

key=$({ cat "$here"/* "$deploy/xen/vif-tailgate" "$demo_guest/image.sh" "$guest/key"; sha256sum <"$node"; } | key_of "${packages[@]}")
if is_made "$key" xen vmlinuz initrd; then
  echo "$out"
  exit 0
fi
unpack "${packages[@]}"

readonly root=$work/root tools=$unpacked/usr/lib/xen-$xen
mkdir -p "$root"/{bin,dev,etc/{default,systemd/system,xen/scripts},proc,sys,tmp,run,var/{lib/xen,lib/xenstored,log/xen/console,lock}} \
  "$root"/usr/{bin,local/bin,sbin,share}
ln -s /run "$root/var/run"
chmod 1777 "$root/tmp"
cp "$unpacked/bin/busybox" "$root/bin/busybox"
cp "$here/init" "$root/init"
cp "$deploy/xen/vif-tailgate" "$here/block" "$root/etc/xen/scripts/"
# Xen's own wants bash and udev.
ln -s vif-tailgate "$root/etc/xen/scripts/vif-bridge"
cp "$unpacked/etc/xen/xl.conf" "$root/etc/xen/"
cp "$unpacked/etc/default/xendomains" "$root/etc/default/"
printf 'root:x:0:0::/root:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\n' >"$root/etc/group"

# Programs are where Xen's tools look for each other.
mkdir -p "$root/usr/lib/xen-$xen"/{bin,boot} "$root/usr/libexec"
readonly from_tools=(xl libxl-save-helper xenstored xenconsoled xenconsole xen-init-dom0 xentop xenctx xen-lowmemd)
for program in "${from_tools[@]}"; do cp "$tools/bin/$program" "$root/usr/lib/xen-$xen/bin/"; done
cp "$tools/boot/hvmloader" "$root/usr/lib/xen-$xen/boot/"
for command in read write rm ls list watch exists; do
  cp "$unpacked/usr/bin/xenstore-$command" "$root/usr/bin/"
done
cp "$unpacked"/usr/libexec/xen-qemu-system-i386 "$root/usr/libexec/"
cp "$unpacked"/{sbin/ip,usr/sbin/nft} "$root/usr/sbin/"
cp "$unpacked"/usr/bin/{setpriv,flock} "$root/usr/bin/"
cp "$node" "$root/usr/bin/node"
# What the kernel says that the first program's terminal is: nft complains if it knows nothing of that.
mkdir -p "$root/lib/terminfo/l"
cp "$unpacked/lib/terminfo/l/linux" "$root/lib/terminfo/l/"
for program in xl xenstored xenconsoled xen-init-dom0; do
  ln -s "/usr/lib/xen-$xen/bin/$program" "$root/usr/sbin/$program"
done
# What an emulated machine starts with, where Debian's QEMU looks for it.
mkdir -p "$root/usr/share"/{qemu/keymaps,seabios}
cp "$unpacked/usr/share/qemu/keymaps/en-us" "$root/usr/share/qemu/keymaps/"
for file in linuxboot_dma.bin linuxboot.bin kvmvapic.bin; do
  find "$unpacked/usr/share" -name "$file" -exec cp -L {} "$root/usr/share/qemu/" \; -quit
done
cp -L "$unpacked/usr/share/seabios"/bios-256k.bin "$root/usr/share/seabios/"

mapfile -t programs < <(find "$root/usr" -type f -perm -100 ! -name '*.bin' ! -name hvmloader)
copy_libraries "$root" "${programs[@]}" "$unpacked"/usr/lib/x86_64-linux-gnu/libpcap.so.0.8
cp -L "$unpacked"/usr/lib/x86_64-linux-gnu/libpcap.so.0.8 "$root/lib64/"

# The kernel's modules, with what they need.
modules_from=$(echo "$unpacked"/lib/modules/*)
modules_to=$root/lib/modules/${modules_from##*/}
readonly modules_from modules_to
for part in drivers/{xen,virtio,net/xen-netback,block/xen-blkback,net/virtio_net.ko,net/net_failover.ko,block/loop.ko,net/tun.ko} \
  net/{bridge,netfilter,llc,802,core} lib/libcrc32c.ko crypto/crc32c_generic.ko; do
  mkdir -p "$(dirname "$modules_to/kernel/$part")"
  cp -r "$modules_from/kernel/$part" "$modules_to/kernel/$part"
done
"$root/bin/busybox" depmod -b "$root" "${modules_from##*/}" || fail 'the modules cannot be listed'

mkdir -p "$root/srv/guest"
cp "$guest"/{vmlinuz,initrd} "$root/srv/guest/"
pack "$root" >"$out/initrd.part"
cp "$unpacked"/boot/vmlinuz-* "$out/vmlinuz.part"
gzip -dc "$unpacked/boot/xen-$xen-amd64.gz" >"$out/xen.part"
finish "$key" xen vmlinuz initrd
