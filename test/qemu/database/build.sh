#!/usr/bin/env bash
# Makes a guest with a disk: OUTDIR/vmlinuz and OUTDIR/initrd, a Debian cloud kernel; and a root file system with
# PostgreSQL and nginx, as OUTDIR/disk.qcow2, a base for overlays, for a guest that may write to its disk; and as
# OUTDIR/root.img.gz, a raw one, packed, for a guest that may only read it, and copies /var and /tmp into memory.
# Everything is taken from Debian packages, which are downloaded and unpacked, not installed. What was made is kept
# until this directory or one of the packages changes.
#
# The guest reads its kernel command line:
#   tailgate.address=ADDRESS/LENGTH   its address, IPv4 or IPv6; may be given more than once
#   tailgate.gateway=ADDRESS          where everything else is reached; may be given more than once
# PostgreSQL listens on port 5432, for everybody as user postgres without a password, and nginx on port 80, with
# a file of 48 MiB, /download, which root.img.gz does not have. When both answer, the console says "tailgate: ready".
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
readonly shared=$here/../../../deploy/demo-guest/image.sh
# shellcheck source=deploy/demo-guest/image.sh
source "$shared"
readonly postgresql=15
readonly disk_bytes=$((512 << 20)) root_bytes=$((128 << 20)) download_bytes=$((48 << 20))

(($# == 1)) || fail 'usage: build.sh OUTDIR'
require_programs cpio mke2fs qemu-img openssl chroot
((EUID == 0)) || fail 'the database is made by a program that asks for a user of its own, so this needs root'
take_directory "$1"
find_kernel cloud-amd64

# A server and the libraries that it may need at run time.
server_packages() {
  needed_packages "$1" | grep -E "^($1|lib[a-z0-9.+-]*|zlib1g)$" | grep -vE '^lib(llvm|z3|perl|.*-perl$)'
}

mapfile -t packages < <({
  printf '%s\n' "$kernel" busybox-static tzdata nginx-common
  server_packages "postgresql-$postgresql"
  server_packages nginx
} | sort -u)
((${#packages[@]} > 10)) || fail "postgresql-$postgresql and nginx are not known to apt; the sources must name Debian 12"

key=$(cat "$here"/* "$shared" | key_of "${packages[@]}")
if is_made "$key" vmlinuz initrd disk.qcow2 root.img.gz; then
  echo "$out"
  exit 0
fi
unpack "${packages[@]}"

readonly root=$work/root start=$work/start

# The root file system.
mkdir -p "$root"/{bin,dev,etc,proc,sys,tmp,run,lib64,var/lib/postgresql,var/lib/nginx,var/log/nginx,usr/share,srv}
chmod 1777 "$root/tmp"
cp "$unpacked/bin/busybox" "$root/bin/busybox"
"$root/bin/busybox" --list | grep -vx busybox | while read -r applet; do ln -sf busybox "$root/bin/$applet"; done
mkdir -p "$root/usr/lib/postgresql/$postgresql"
cp -a "$unpacked/usr/lib/postgresql/$postgresql/." "$root/usr/lib/postgresql/$postgresql"
rm -rf "$root/usr/lib/postgresql/$postgresql/lib/bitcode" "$root/usr/lib/postgresql/$postgresql/lib"/llvmjit*
mkdir -p "$root/usr/share/postgresql" "$root/usr/sbin"
cp -a "$unpacked/usr/share/postgresql/$postgresql" "$root/usr/share/postgresql/"
cp -a "$unpacked/usr/share/zoneinfo" "$root/usr/share/"
cp -a "$unpacked/usr/sbin/nginx" "$root/usr/sbin/"
readonly bin=$root/usr/lib/postgresql/$postgresql/bin

copy_libraries "$root" "$bin/postgres" "$bin/initdb" "$root/usr/sbin/nginx" \
  "$root/usr/lib/postgresql/$postgresql/lib"/*.so
cp "$here/init" "$root/init"
cp "$here/nginx.conf" "$root/etc/nginx.conf"
chmod 755 "$root/init"
printf 'root:x:0:0::/:/bin/sh\npostgres:x:70:70::/var/lib/postgresql:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\npostgres:x:70:\n' >"$root/etc/group"
# The same bytes at every build, and nothing that packs well.
head -c "$download_bytes" /dev/zero \
  | openssl enc -aes-128-ctr -nosalt -K "$(printf '%032d' 7)" -iv "$(printf '%032d' 0)" >"$root/srv/download"

chown 70:70 "$root/var/lib/postgresql"
mknod -m 666 "$root/dev/null" c 1 3
chroot --userspec=70:70 "$root" /bin/env LD_LIBRARY_PATH=/lib64 "/usr/lib/postgresql/$postgresql/bin/initdb" \
  --pgdata=/var/lib/postgresql/data --auth=trust --username=postgres --no-locale --encoding=UTF8 --wal-segsize=1 \
  >"$work/log" 2>&1 || { tail -n 5 "$work/log" >&2; fail 'the database cannot be made'; }
cat "$here/postgresql.conf" >>"$root/var/lib/postgresql/data/postgresql.conf"
printf 'host all all 0.0.0.0/0 trust\nhost all all ::/0 trust\n' >>"$root/var/lib/postgresql/data/pg_hba.conf"
rm "$root/dev/null"

# make_disk BYTES OPTION...: a file system of the root's files, in $work/disk.
make_disk() {
  local bytes=$1
  shift
  rm -f "$work/disk"
  truncate -s "$bytes" "$work/disk"
  mke2fs -q -t ext4 "$@" -d "$root" "$work/disk" >"$work/log" 2>&1 \
    || { cat "$work/log" >&2; fail 'the disk cannot be made'; }
}
make_disk "$disk_bytes"
qemu-img convert -f raw -O qcow2 "$work/disk" "$out/disk.qcow2.part" || fail 'the disk cannot be written'
# This one is brought to where it is read, over a slow network: it has neither what packs badly nor room for more.
rm "$root/srv/download"
make_disk "$root_bytes" -m 0 -O '^has_journal'
gzip -c "$work/disk" >"$out/root.img.gz.part"

# What finds the disk.
mkdir -p "$start"/{bin,dev,proc,sys,root}
cp "$unpacked/bin/busybox" "$start/bin/busybox"
cp "$here/start" "$start/init"
chmod 755 "$start/init"
write_start "$start"
finish "$key" vmlinuz initrd disk.qcow2 root.img.gz
