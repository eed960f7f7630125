# shellcheck shell=bash
# What building a guest from Debian packages takes; build.sh and the tests' other guests source it. It sets:
#   out       the directory of the image, whose lock is held
#   kernel    the package of the kernel
#   work      a temporary directory; unpacked, in it, has the contents of the packages

# In the order in which they are loaded.
readonly modules=(
  virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci
  failover net_failover virtio_net virtio_blk pvpanic pvpanic-pci
)
# Likewise, under Xen; the others find nothing there.
readonly xen_modules=(xen-netfront xen-blkfront)

fail() {
  echo "build.sh: $*" >&2
  exit 1
}

# require_programs PROGRAM...: what the build needs of this machine, besides what every build does.
require_programs() {
  local program
  for program in apt-get apt-cache dpkg-deb gzip sha256sum flock "$@"; do
    command -v "$program" >/dev/null || fail "$program is missing; this runs on a Debian that has it installed"
  done
  [[ $(dpkg --print-architecture) == amd64 ]] \
    || fail 'the guest is an amd64 one, so this needs a Debian of that architecture'
}

# take_directory OUTDIR: two builds of one image make it once.
take_directory() {
  mkdir -p "$1" || fail "the directory $1 cannot be made"
  out=$(cd "$1" && pwd)
  readonly out
  exec 9>"$out/.lock"
  flock --timeout 300 9 || fail "another build has held $out/.lock for five minutes"
}

# kernel_package FLAVOUR: the package of its newest 6.1 kernel, as the package that follows it depends on it.
kernel_package() {
  apt-cache depends "linux-image-$1" 2>/dev/null \
    | sed -n "s/^ *Depends: \\(linux-image-6\\.1\\.[0-9.-]*-$1\\)\$/\\1/p" | sort -V | tail -n 1
}

# find_kernel FLAVOUR: cloud-amd64 is for guests, amd64 for real machines too.
find_kernel() {
  local flavour=$1
  kernel=$(kernel_package "$flavour")
  if [[ -z $kernel ]]; then
    apt-get update -q >/dev/null || fail 'the lists of packages cannot be loaded; run apt-get update as root'
    kernel=$(kernel_package "$flavour")
  fi
  [[ -n $kernel ]] || fail "no linux-image-6.1 for $flavour is known to apt; the sources must name Debian 12"
  readonly kernel
}

# needed_packages PACKAGE: it and all that it depends on; virtual packages, which stand in <>, have no file.
needed_packages() {
  apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
    "$1" 2>/dev/null | grep -E '^[a-z0-9]' | sort -u
}

# key_of PACKAGE... <SOURCES: stands for the packages' versions and for what makes the image of them.
key_of() {
  local versions
  versions=$(apt-cache show --no-all-versions "$@" | grep -E '^(Package|Version):') \
    || fail 'apt does not know the versions of the packages'
  { cat; echo "$versions"; } | sha256sum | cut -d ' ' -f 1
}

# is_made KEY FILE...: whether the image was made of just that before.
is_made() {
  local key=$1 file
  shift
  [[ -r $out/key && $(<"$out/key") == "$key" ]] || return 1
  for file in "$@"; do [[ -r $out/$file ]] || return 1; done
}

# unpack PACKAGE...
unpack() {
  local deb
  work=$(mktemp -d)
  readonly work unpacked=$work/unpacked
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$work"/{debs,unpacked}
  # apt's own user cannot write into a directory of root's, and says so for every file.
  (cd "$work/debs" && apt-get download -q -o APT::Sandbox::User=root "$@" >"$work/log" 2>&1) \
    || { tail -n 5 "$work/log" >&2; fail 'the packages cannot be downloaded'; }
  for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$unpacked" || fail "$(basename "$deb") is damaged"; done
}

# copy_libraries INTO PROGRAM...: the loader of the packages says what the programs need; nothing of this machine's
# gets in.
copy_libraries() {
  local into=$1 program library
  local libraries=$unpacked/lib/x86_64-linux-gnu:$unpacked/usr/lib/x86_64-linux-gnu
  local loader=$unpacked/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
  shift
  for program in "$@"; do
    "$loader" --inhibit-cache --library-path "$libraries" --list "$program" >>"$work/needed" \
      || fail "the libraries of $(basename "$program") cannot be found"
  done
  mkdir -p "$into/lib64"
  while read -r library; do
    [[ $library == "$unpacked"/* ]] || fail "the library $library is in none of the packages"
    cp -Ln "$library" "$into/lib64/"
  done < <(sed -nE 's/^.* => (\/[^ ]*) .*$/\1/p' "$work/needed" | sort -u)
  cp -L "$loader" "$into/lib64/"
}

# pack FROM: what is below this directory, as the kernel takes it for its first root.
pack() {
  (cd "$1" && find . -print0 | sort -z | cpio --null --create --format=newc --owner=0:0 --quiet)
}

# write_start FROM: the kernel, and an initrd of this directory with the modules.
write_start() {
  local from=$1 module file
  mkdir -p "$from/modules"
  for module in "${modules[@]}" "${xen_modules[@]}"; do
    file=$(find "$unpacked/lib/modules" -name "$module.ko" -print -quit)
    [[ -n $file ]] || fail "$kernel has no module $module"
    cp "$file" "$from/modules/"
  done
  printf '%s\n' "${modules[@]}" >"$from/modules/order"
  printf '%s\n' "${xen_modules[@]}" >"$from/modules/order.xen"
  pack "$from" | gzip -1 >"$out/initrd.part"
  cp "$unpacked"/boot/vmlinuz-* "$out/vmlinuz.part"
}

# finish KEY FILE...: what was written as FILE.part is the image now.
finish() {
  local key=$1 file
  shift
  rm -f "$out/key"
  for file in "$@"; do mv "$out/$file.part" "$out/$file"; done
  echo "$key" >"$out/key"
  echo "$out"
}
