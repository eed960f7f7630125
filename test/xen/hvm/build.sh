#!/usr/bin/env bash
# Makes what an HVM domain of the tests starts from: OUTDIR/disk.img.gz, a disk, packed, with the guest of
# deploy/demo-guest and a boot loader. Xen's firmware could be given the kernel without a disk, but has it byte by byte
# then, which takes an emulated processor half an hour. It reads this disk by DMA, as one at `vdev=sda`: Xen makes no
# others read-only. What was made is kept until what it is made of changes.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
readonly demo_guest=$here/../../../deploy/demo-guest
# shellcheck source=deploy/demo-guest/image.sh
source "$demo_guest/image.sh"
readonly disk_bytes=$((40 << 20)) command_line='console=hvc0 quiet panic=-1 tailgate.address=10.77.2.101/24'

(($# == 1)) || fail 'usage: build.sh OUTDIR'
require_programs mke2fs mount umount
((EUID == 0)) || fail 'a boot loader is put into a disk that is mounted, so this needs root'
mkdir -p "$1" || fail "the directory $1 cannot be made"
guest=$("$demo_guest/build.sh" "$1/guest") || fail 'the guest cannot be built'
readonly guest
take_directory "$1"

key=$(cat "$here/build.sh" "$demo_guest/image.sh" "$guest/key" | key_of extlinux)
if is_made "$key" disk.img.gz; then
  echo "$out"
  exit 0
fi
unpack extlinux

# No partitions: the firmware reads the first sector, which is the loader's. It knows no newer features of ext4.
readonly disk=$work/disk mounted=$work/mounted
truncate -s "$disk_bytes" "$disk"
mke2fs -q -t ext4 -m 0 -O '^64bit,^has_journal,^metadata_csum' "$disk" >"$work/log" 2>&1 \
  || { cat "$work/log" >&2; fail 'the disk cannot be made'; }
mkdir "$mounted"
mount -o loop "$disk" "$mounted" || fail 'the disk cannot be mounted; are there loop devices?'
trap 'umount "$mounted" 2>/dev/null || true; rm -rf "$work"' EXIT
cp "$guest"/{vmlinuz,initrd} "$mounted/"
printf 'default guest\nlabel guest\n  kernel vmlinuz\n  append initrd=initrd %s\n' "$command_line" \
  >"$mounted/extlinux.conf"
"$unpacked/usr/bin/extlinux" --install "$mounted" >"$work/log" 2>&1 \
  || { cat "$work/log" >&2; fail 'the boot loader cannot be installed'; }
umount "$mounted"
gzip -c "$disk" >"$out/disk.img.gz.part"
finish "$key" disk.img.gz
