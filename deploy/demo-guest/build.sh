#!/usr/bin/env bash
# Makes the guest that the tests of the QEMU engine run: OUTDIR/vmlinuz and OUTDIR/initrd, a Debian cloud kernel with
# busybox and redis-server in memory. Everything is taken from Debian packages, which are downloaded and unpacked, not
# installed. What was made is kept until this directory or one of the packages changes.
#
# The guest reads its kernel command line:
#   tailgate.address=ADDRESS/LENGTH   its address, IPv4 or IPv6; may be given more than once
#   tailgate.gateway=ADDRESS          where everything else is reached; may be given more than once
# Redis listens on port 6379, and a shell on port 7000. When Redis answers, the console says "tailgate: ready".
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
# shellcheck source=deploy/demo-guest/image.sh
source "$here/image.sh"

(($# == 1)) || fail 'usage: build.sh OUTDIR'
require_programs cpio
take_directory "$1"
find_kernel cloud-amd64
mapfile -t packages < <({
  printf '%s\n' "$kernel" busybox-static
  needed_packages redis-server | grep -E '^(redis-server|redis-tools|lib[a-z0-9.+-]*|lua-[a-z]*)$'
} | sort -u)
((${#packages[@]} > 5)) || fail 'redis-server is not known to apt; the sources must name Debian 12'

key=$(cat "$here"/{build.sh,image.sh,init} | key_of "${packages[@]}")
if is_made "$key" vmlinuz initrd; then
  echo "$out"
  exit 0
fi
unpack "${packages[@]}"

readonly root=$work/root
mkdir -p "$root"/{bin,dev,proc,sys,tmp,run,data}
cp "$unpacked/bin/busybox" "$root/bin/busybox"
cp -L "$unpacked/usr/bin/redis-check-rdb" "$root/bin/redis-server"
cp "$here/init" "$root/init"
chmod 755 "$root/init"
copy_libraries "$root" "$root/bin/redis-server"
write_start "$root"
finish "$key" vmlinuz initrd
