#!/usr/bin/env bash
# Prints, for an agent's file, the `arguments` and the `card` with which a host makes the machine of a libvirt domain:
#
#   virsh domxml-to-native qemu-argv --domain NAME | libvirt-arguments.sh
#
# Left out is what libvirt needs for itself (its monitor, its secrets, its sandbox) and what the agent adds: the
# network card, whose place is printed as `card`. A console goes nowhere. A domain with a disk or with several cards
# is refused, since nothing here can know how it is to be made.
set -euo pipefail

fail() { printf 'libvirt-arguments: %s\n' "$1" >&2; exit 1; }

# In YAML a word between single quotes means itself; a single quote is written twice.
word() { printf "%s- '%s'\n" "$1" "${2//\'/\'\'}"; }

# The value of a key in the JSON object of a -device, or nothing.
json_value() { sed -nE "s/.*\"$2\":\"([^\"]*)\".*/\1/p" <<<"$1"; }

# xargs takes quotes as the shell does, and runs nothing that stands between them.
mapfile -t words < <(xargs printf '%s\n')
((${#words[@]} > 0)) || fail 'no command line came from virsh'

arguments=()
card=
cards=0

# Takes an option and its value ('' if it has none).
take() {
  case "$1 $2" in
    '-name '* | '-msg '* | '-sandbox '* | '-display '* | '-qmp '* | '-netdev '* | '-add-fd '*) ;;
    '-S ' | '-no-user-config ' | '-nodefaults ' | '-no-shutdown ') ;;
    '-object '*masterKey0* | '-chardev '*id=charmonitor* | '-mon '*charmonitor*) ;;
    '-blockdev '* | '-drive '*) fail "the domain has a disk ($2), which is to be described by hand" ;;
    '-device '*'"netdev"'*)
      [[ $(json_value "$2" driver) == virtio-net-pci ]] || fail "the card is not of model virtio: $2"
      cards=$((cards + 1))
      card="[bus=$(json_value "$2" bus), addr=$(json_value "$2" addr)]" ;;
    '-device '*netdev=*) fail "this libvirt does not write devices as JSON: see where $2 is by hand" ;;
    # pty,id=charserial0: of another kind on another host, and no part of a checkpoint.
    '-chardev '*) arguments+=(-chardev "null,id=$(sed -nE 's/.*id=([^,]*).*/\1/p' <<<"$2")") ;;
    *) arguments+=("$1"); [[ -z $2 ]] || arguments+=("$2") ;;
  esac
}

# The environment and the program come before the first option.
i=0
while ((i < ${#words[@]})) && [[ ${words[i]} != -* ]]; do i=$((i + 1)); done
while ((i < ${#words[@]})); do
  option=${words[i]} value=
  i=$((i + 1))
  if ((i < ${#words[@]})) && [[ ${words[i]} != -* ]]; then
    value=${words[i]}
    i=$((i + 1))
  fi
  take "$option" "$value"
done
((cards == 1)) || fail "the domain has $cards network cards, and the agent makes one"

echo 'arguments:'
for one in "${arguments[@]}"; do word '  ' "$one"; done
echo "# network: { ..., card: $card }"
