#!/usr/bin/env bash
# Makes a guest with a writable disk: OUTDIR/vmlinuz, OUTDIR/initrd and OUTDIR/disk.qcow2, a Debian cloud kernel
# and a root file system with PostgreSQL and nginx. Everything is taken from Debian packages, which are downloaded and
# unpacked, not installed. What was made is kept until this directory or one of the packages changes. The disk is
# a base for overlays: nobody writes to it.
#
# The guest reads its kernel command line:
#   tailgate.address=ADDRESS/LENGTH   its address, IPv4 or IPv6; may be given more than once
#   tailgate.gateway=ADDRESS          where everything else is reached; may be given more than once
# PostgreSQL listens on port 5432, for everybody as user postgres without a password, and nginx on port 80, with
# a file of 48 MiB, /download. When both answer, the console says "tailgate: ready".
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
readonly postgresql=15
# In the order in which they are loaded.
readonly modules=(
  virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci
  failover net_failover virtio_net virtio_blk pvpanic pvpanic-pci
)
readonly disk_bytes=$((512 << 20)) download_bytes=$((48 << 20))

fail() {
  echo "build.sh: $*" >&2
  exit 1
}

(($# == 1)) || fail 'usage: build.sh OUTDIR'
for program in apt-get apt-cache dpkg-deb cpio gzip sha256sum flock mke2fs qemu-img openssl chroot; do
  command -v "$program" >/dev/null || fail "$program is missing; this runs on Debian with cpio, e2fsprogs, openssl and qemu-utils"
done
[[ $(dpkg --print-architecture) == amd64 ]] || fail 'the guest is an amd64 one, so this needs a Debian of that architecture'
((EUID == 0)) || fail 'the database is made by a program that asks for a user of its own, so this needs root'
mkdir -p "$1" || fail "the directory $1 cannot be made"
out=$(cd "$1" && pwd)
readonly out

# Two tests that want the image at once make it once.
exec 9>"$out/.lock"
flock --timeout 300 9 || fail "another build has held $out/.lock for five minutes"

# The package of the newest 6.1 kernel for clouds, as the package that follows it depends on it.
kernel_package() {
  apt-cache depends linux-image-cloud-amd64 2>/dev/null \
    | sed -n 's/^ *Depends: \(linux-image-6\.1\.[0-9.-]*-cloud-amd64\)$/\1/p' | sort -V | tail -n 1
}

# A server and the libraries that it may need at run time; virtual packages, which stand in <>, have no file.
server_packages() {
  apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
    "$1" 2>/dev/null | grep -E "^($1|lib[a-z0-9.+-]*|zlib1g)$" | grep -vE '^lib(llvm|z3|perl|.*-perl$)' | sort -u
}

kernel=$(kernel_package)
if [[ -z $kernel ]]; then
  apt-get update -q >/dev/null || fail 'the lists of packages cannot be loaded; run apt-get update as root'
  kernel=$(kernel_package)
fi
[[ -n $kernel ]] || fail 'no linux-image-6.1 for clouds is known to apt; the sources must name Debian 12'
mapfile -t packages < <({
  printf '%s\n' "$kernel" busybox-static tzdata nginx-common
  server_packages "postgresql-$postgresql"
  server_packages nginx
} | sort -u)
((${#packages[@]} > 10)) || fail "postgresql-$postgresql and nginx are not known to apt; the sources must name Debian 12"

versions=$(apt-cache show --no-all-versions "${packages[@]}" | grep -E '^(Package|Version):') \
  || fail 'apt does not know the versions of the packages'
key=$({ cat "$here"/*; echo "$versions"; } | sha256sum | cut -d ' ' -f 1)
if [[ -r $out/key && $(<"$out/key") == "$key" && -r $out/vmlinuz && -r $out/initrd && -r $out/disk.qcow2 ]]; then
  echo "$out"
  exit 0
fi

work=$(mktemp -d)
readonly work
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{debs,unpacked,root,start}/
# apt's own user cannot write into a directory of root's, and says so for every file.
(cd "$work/debs" && apt-get download -q -o APT::Sandbox::User=root "${packages[@]}" >"$work/log" 2>&1) \
  || { tail -n 5 "$work/log" >&2; fail 'the packages cannot be downloaded'; }
for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$work/unpacked" || fail "$(basename "$deb") is damaged"; done

readonly unpacked=$work/unpacked root=$work/root start=$work/start
readonly libraries=$unpacked/lib/x86_64-linux-gnu:$unpacked/usr/lib/x86_64-linux-gnu
readonly loader=$unpacked/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2

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

# The loader of the same packages says which libraries the programs need; none of this machine's gets in.
for program in "$bin/postgres" "$bin/initdb" "$root/usr/sbin/nginx" \
  "$root/usr/lib/postgresql/$postgresql/lib"/*.so; do
  "$loader" --inhibit-cache --library-path "$libraries" --list "$program" >>"$work/needed" 2>/dev/null || true
done
while read -r library; do
  [[ $library == "$unpacked"/* ]] || fail "the library $library is in none of the packages"
  cp -Ln "$library" "$root/lib64/"
done < <(sed -nE 's/^.* => (\/[^ ]*) .*$/\1/p' "$work/needed" | sort -u)
cp -L "$loader" "$root/lib64/"
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
  --pgdata=/var/lib/postgresql/data --auth=trust --username=postgres --no-locale --encoding=UTF8 >"$work/log" 2>&1 \
  || { tail -n 5 "$work/log" >&2; fail 'the database cannot be made'; }
cat "$here/postgresql.conf" >>"$root/var/lib/postgresql/data/postgresql.conf"
printf 'host all all 0.0.0.0/0 trust\nhost all all ::/0 trust\n' >>"$root/var/lib/postgresql/data/pg_hba.conf"
rm "$root/dev/null"

truncate -s "$disk_bytes" "$work/disk"
mke2fs -q -t ext4 -d "$root" "$work/disk" >"$work/log" 2>&1 || { cat "$work/log" >&2; fail 'the disk cannot be made'; }
qemu-img convert -f raw -O qcow2 "$work/disk" "$out/disk.part" || fail 'the disk cannot be written'

# What finds the disk.
mkdir -p "$start"/{bin,dev,proc,sys,modules,root}
cp "$unpacked/bin/busybox" "$start/bin/busybox"
cp "$here/start" "$start/init"
chmod 755 "$start/init"
for module in "${modules[@]}"; do
  file=$(find "$unpacked/lib/modules" -name "$module.ko" -print -quit)
  [[ -n $file ]] || fail "$kernel has no module $module"
  cp "$file" "$start/modules/"
done
printf '%s\n' "${modules[@]}" >"$start/modules/order"
(cd "$start" && find . -print0 | sort -z | cpio --null --create --format=newc --owner=0:0 --quiet) \
  | gzip -1 >"$out/initrd.part"
cp "$unpacked"/boot/vmlinuz-* "$out/vmlinuz.part"

rm -f "$out/key"
for part in vmlinuz initrd; do mv "$out/$part.part" "$out/$part"; done
mv "$out/disk.part" "$out/disk.qcow2"
echo "$key" >"$out/key"
echo "$out"
