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
readonly modules=(
  virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci
  failover net_failover virtio_net virtio_blk pvpanic pvpanic-pci
)

fail() {
  echo "build.sh: $*" >&2
  exit 1
}

(($# == 1)) || fail 'usage: build.sh OUTDIR'
for program in apt-get apt-cache dpkg-deb cpio gzip sha256sum flock; do
  command -v "$program" >/dev/null || fail "$program is missing; this runs on Debian with cpio installed"
done
[[ $(dpkg --print-architecture) == amd64 ]] || fail 'the guest is an amd64 one, so this needs a Debian of that architecture'
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

# What redis-server needs at run time, itself included; virtual packages, which stand in <>, have no file.
redis_packages() {
  apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
    redis-server 2>/dev/null | grep -E '^(redis-server|redis-tools|lib[a-z0-9.+-]*|lua-[a-z]*)$' | sort -u
}

kernel=$(kernel_package)
if [[ -z $kernel ]]; then
  apt-get update -q >/dev/null || fail 'the lists of packages cannot be loaded; run apt-get update as root'
  kernel=$(kernel_package)
fi
[[ -n $kernel ]] || fail 'no linux-image-6.1 for clouds is known to apt; the sources must name Debian 12'
mapfile -t packages < <(echo "$kernel"; echo busybox-static; redis_packages)
((${#packages[@]} > 5)) || fail 'redis-server is not known to apt; the sources must name Debian 12'

versions=$(apt-cache show --no-all-versions "${packages[@]}" | grep -E '^(Package|Version):') \
  || fail 'apt does not know the versions of the packages'
key=$({ cat "$here"/build.sh "$here"/init; echo "$versions"; } | sha256sum | cut -d ' ' -f 1)
if [[ -r $out/key && $(<"$out/key") == "$key" && -r $out/vmlinuz && -r $out/initrd ]]; then
  echo "$out"
  exit 0
fi

work=$(mktemp -d)
readonly work
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{debs,unpacked,root}/
# apt's own user cannot write into a directory of root's, and says so for every file.
(cd "$work/debs" && apt-get download -q -o APT::Sandbox::User=root "${packages[@]}" >"$work/log" 2>&1) \
  || { tail -n 5 "$work/log" >&2; fail 'the packages cannot be downloaded'; }
for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$work/unpacked" || fail "$(basename "$deb") is damaged"; done

readonly unpacked=$work/unpacked root=$work/root
mkdir -p "$root"/{bin,dev,proc,sys,tmp,run,data,modules,lib64}
cp "$unpacked/bin/busybox" "$root/bin/busybox"
cp -L "$unpacked/usr/bin/redis-check-rdb" "$root/bin/redis-server"
cp "$here/init" "$root/init"
chmod 755 "$root/init"

# The loader of the same packages says which libraries the program needs; none of this machine's gets in.
readonly libraries=$unpacked/lib/x86_64-linux-gnu:$unpacked/usr/lib/x86_64-linux-gnu
readonly loader=$unpacked/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
"$loader" --inhibit-cache --library-path "$libraries" --list "$root/bin/redis-server" >"$work/needed" \
  || fail 'the libraries of redis-server cannot be found'
while read -r library; do
  [[ $library == "$unpacked"/* ]] || fail "the library $library is in none of the packages"
  cp -L "$library" "$root/lib64/"
done < <(sed -nE 's/^.* => (\/[^ ]*) .*$/\1/p' "$work/needed")
cp -L "$loader" "$root/lib64/"

for module in "${modules[@]}"; do
  file=$(find "$unpacked/lib/modules" -name "$module.ko" -print -quit)
  [[ -n $file ]] || fail "$kernel has no module $module"
  cp "$file" "$root/modules/"
done
printf '%s\n' "${modules[@]}" >"$root/modules/order"

(cd "$root" && find . -print0 | sort -z | cpio --null --create --format=newc --owner=0:0 --quiet) \
  | gzip -1 >"$out/initrd.part"
cp "$unpacked"/boot/vmlinuz-* "$out/vmlinuz.part"
rm -f "$out/key"
mv "$out/initrd.part" "$out/initrd"
mv "$out/vmlinuz.part" "$out/vmlinuz"
echo "$key" >"$out/key"
echo "$out"
