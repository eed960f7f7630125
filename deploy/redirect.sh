#!/usr/bin/env bash
# Leads connections that clients make to a guest's own address through the gateway on this machine, which must
# be on their way to the guest. What it sets has names of its own, and `down` removes all of it.
set -euo pipefail

readonly table=tailgate-redirect chain=TAILGATE-REDIRECT
readonly nothing_up=3

usage() {
  cat <<'END'
usage: redirect.sh up [OPTION...] --client-if IF --guest-if IF --service GUEST:PORT=LISTEN...
       redirect.sh down [--dry-run] [--route-table N]
       redirect.sh status [--route-table N]

  up        sets the rules, in the place of those that an `up` before has set
  down      removes them; nothing to remove is no error
  status    shows them; exit status 3 if there are none

  --service GUEST:PORT=LISTEN  connections to this address and port of a guest go to the gateway's listener on
                               port LISTEN here; IPv6 as [fd00::7]:6379=7001; may be given many times
  --client-if IF               where clients' connections come in
  --guest-if IF                where the guests are; connections there are not tracked (NOTRACK)
  --mode redirect|tproxy       redirect (default): the listener gets them at this machine's own address on IF
                               tproxy: at the guest's address; the listener must have IP_TRANSPARENT
  --backend auto|nft|iptables  auto (default): nft where there is one
  --source gateway|client      whose address the gateway connects to the guests from (default gateway); client:
                               what they answer to clients is delivered here, as in mode tproxy it always is
  --mark N                     firewall mark of what is delivered here (default 0x7470); not the one that the
                               gateway gives its own sockets, 0x7467
  --route-table N              routing table for it (default 7467)
  --dry-run                    prints what would be done, exactly, and does nothing
END
}

fail() {
  printf 'redirect.sh: %s\n' "$1" >&2
  exit "${2:-1}"
}

readonly gateway_mark=0x7467
verb='' mode=redirect source=gateway backend=auto mark=0x7470 route_table=7467 dry_run='' client_if='' guest_if=''
services4=() services6=()

# GUEST:PORT=LISTEN, kept as "GUEST PORT LISTEN" with its family.
add_service() {
  local port
  if [[ $1 =~ ^([0-9]+\.[0-9]+\.[0-9]+\.[0-9]+):([0-9]+)=([0-9]+)$ ]]; then
    services4+=("${BASH_REMATCH[1]} ${BASH_REMATCH[2]} ${BASH_REMATCH[3]}")
  elif [[ $1 =~ ^\[([0-9a-fA-F:.]+)\]:([0-9]+)=([0-9]+)$ ]]; then
    services6+=("${BASH_REMATCH[1]} ${BASH_REMATCH[2]} ${BASH_REMATCH[3]}")
  else
    fail "'$1' is not GUEST:PORT=LISTEN, as 10.0.0.7:6379=7001 or [fd00::7]:6379=7001" 2
  fi
  for port in "${BASH_REMATCH[2]}" "${BASH_REMATCH[3]}"; do
    ((10#$port >= 1 && 10#$port <= 65535)) || fail "'$port' in '$1' is not a port: 1 to 65535" 2
  done
}

one_of() {
  local option=$1 value=$2 known
  shift 2
  for known in "$@"; do [[ $value != "$known" ]] || return 0; done
  fail "$option is one of: $*; not '$value'" 2
}

is_interface() {
  [[ $2 =~ ^[A-Za-z0-9_.:@-]{1,15}$ ]] || fail "$1 is the name of a network interface, not '$2'" 2
}

is_number() {
  [[ $2 =~ ^(0x[0-9a-fA-F]{1,8}|[1-9][0-9]{0,8})$ ]] || fail "$1 is a number above 0, not '$2'" 2
}

read_arguments() {
  (($# > 0)) || { usage >&2; exit 2; }
  verb=$1
  shift
  case $verb in
    up | down | status) ;;
    -h | --help | help) usage; exit 0 ;;
    *) fail "'$verb' is not up, down or status; --help says more" 2 ;;
  esac
  while (($# > 0)); do
    case $1 in
      --dry-run) dry_run=yes; shift; continue ;;
      -h | --help) usage; exit 0 ;;
      --service | --client-if | --guest-if | --mode | --source | --backend | --mark | --route-table) ;;
      *) fail "there is no option '$1'; --help names them" 2 ;;
    esac
    (($# > 1)) || fail "$1 needs a value" 2
    case $1 in
      --service) add_service "$2" ;;
      --client-if) is_interface "$1" "$2"; client_if=$2 ;;
      --guest-if) is_interface "$1" "$2"; guest_if=$2 ;;
      --mode) one_of "$1" "$2" redirect tproxy; mode=$2 ;;
      --source) one_of "$1" "$2" gateway client; source=$2 ;;
      --backend) one_of "$1" "$2" auto nft iptables; backend=$2 ;;
      --mark)
        is_number "$1" "$2"
        (($2 != gateway_mark)) || fail "--mark $2 is on what the gateway sends to guests, which must leave" 2
        mark=$2
        ;;
      --route-table) is_number "$1" "$2"; route_table=$2 ;;
    esac
    shift 2
  done
}

check_up() {
  ((${#services4[@]} + ${#services6[@]} > 0)) || fail 'which connections? Name them with --service' 2
  [[ -n $client_if ]] || fail 'where do clients come in? Name it with --client-if' 2
  [[ -n $guest_if ]] || fail 'where are the guests? Name it with --guest-if' 2
}

# Whether packets to addresses that are not this machine's are delivered here.
delivers() { [[ $mode == tproxy || $source == client ]]; }

has() { command -v "$1" >/dev/null; }

choose_backend() {
  if [[ $backend == auto ]]; then
    if has nft; then backend=nft
    elif has iptables; then backend=iptables
    else fail 'there is neither nft nor iptables: install the package nftables'
    fi
  fi
  [[ $backend != nft ]] || has nft || fail 'there is no nft: install the package nftables'
  [[ $backend != iptables ]] || has iptables || fail 'there is no iptables: install the package iptables'
}

# CAP_NET_ADMIN is bit 12 (capabilities(7)).
check_rights() {
  local name value
  [[ -z $dry_run ]] || return 0
  while read -r name value; do
    [[ $name != CapEff: ]] || (((0x$value >> 12) & 1)) || fail "only root, or who has CAP_NET_ADMIN, can do '$verb'"
  done </proc/self/status
}

# Runs a command, or prints it so that a shell could run it.
run() {
  if [[ -n $dry_run ]]; then
    local words
    printf -v words '%q ' "$@"
    printf '%s\n' "${words% }"
  else
    "$@" || fail "this failed, and the rules may be there in part; 'down' removes them: $*"
  fi
}

nft_rules() {
  local family=$1 guest port listen service
  local -n services=$2
  for service in "${services[@]}"; do
    read -r guest port listen <<<"$service"
    case $mode in
      redirect) echo "    iifname \"$client_if\" $family daddr $guest tcp dport $port redirect to :$listen" ;;
      tproxy) echo "    iifname \"$client_if\" $family daddr $guest tcp dport $port" \
        "tproxy $family to :$listen meta mark set $mark accept" ;;
    esac
  done
}

nft_untracked() {
  local family=$1 side=$2 interface=$3 service
  local -n services=$4
  for service in "${services[@]}"; do
    echo "    $interface \"$guest_if\" $family $side ${service%% *} meta l4proto tcp notrack"
  done | sort -u
}

# What a guest's service answers is the gateway's, whatever address it is for, and also while the gateway has
# no socket for it, as during a failover: it must not be forwarded to the client then.
nft_answers() {
  local family=$1 guest port service
  local -n services=$2
  for service in "${services[@]}"; do
    read -r guest port _ <<<"$service"
    echo "    iifname \"$guest_if\" $family saddr $guest tcp sport $port meta mark set $mark accept"
  done | sort -u
}

nft_text() {
  # To add it first makes the removal succeed whether it is there or not; all of it is one transaction.
  printf 'table inet %s\ndelete table inet %s\ntable inet %s {\n' "$table" "$table" "$table"
  echo '  chain untracked-in {'
  echo '    type filter hook prerouting priority raw; policy accept;'
  nft_untracked ip saddr iifname services4
  nft_untracked ip6 saddr iifname services6
  echo '  }'
  echo '  chain untracked-out {'
  echo '    type filter hook output priority raw; policy accept;'
  nft_untracked ip daddr oifname services4
  nft_untracked ip6 daddr oifname services6
  echo '  }'
  if delivers; then
    echo '  chain answers {'
    echo '    type filter hook prerouting priority mangle; policy accept;'
    nft_answers ip services4
    nft_answers ip6 services6
    echo '  }'
  fi
  echo '  chain led {'
  case $mode in
    redirect) echo '    type nat hook prerouting priority dstnat; policy accept;' ;;
    tproxy) echo '    type filter hook prerouting priority mangle; policy accept;' ;;
  esac
  nft_rules ip services4
  nft_rules ip6 services6
  printf '  }\n}\n'
}

up_nft() {
  if [[ -n $dry_run ]]; then
    printf "nft -f - <<'END'\n%s\nEND\n" "$(nft_text)"
  else
    nft_text | nft -f - || fail 'nft refused the rules; nothing was changed'
  fi
}

# A chain of ours in a table of iptables, empty, and asked first for what is named.
own_chain() {
  local program=$1 of=$2 hook=$3 name=$4
  shift 4
  run "$program" -w -t "$of" -N "$name"
  run "$program" -w -t "$of" -I "$hook" "$@" -j "$name"
}

up_iptables_family() {
  local program=$1 guest port listen service
  local -n services=$2
  ((${#services[@]} > 0)) || return 0
  own_chain "$program" raw PREROUTING "$chain" -i "$guest_if" -p tcp
  own_chain "$program" raw OUTPUT "$chain-OUT" -o "$guest_if" -p tcp
  if [[ $mode == redirect ]]; then own_chain "$program" nat PREROUTING "$chain" -i "$client_if" -p tcp; fi
  if delivers; then own_chain "$program" mangle PREROUTING "$chain" -p tcp; fi
  for service in "${services[@]}"; do
    read -r guest port listen <<<"$service"
    run "$program" -w -t raw -A "$chain" -s "$guest" -j CT --notrack
    run "$program" -w -t raw -A "$chain-OUT" -d "$guest" -j CT --notrack
    ! delivers || run "$program" -w -t mangle -A "$chain" -i "$guest_if" -s "$guest" -p tcp --sport "$port" \
      -j MARK --set-mark "$mark"
    if [[ $mode == redirect ]]; then
      run "$program" -w -t nat -A "$chain" -d "$guest" -p tcp --dport "$port" -j REDIRECT --to-ports "$listen"
    else
      run "$program" -w -t mangle -A "$chain" -i "$client_if" -d "$guest" -p tcp --dport "$port" \
        -j TPROXY --on-port "$listen" --tproxy-mark "$mark"
    fi
  done
}

# Jumps to a chain are found as they were written, whatever interfaces they name.
down_iptables_family() {
  local program=$1 of name jump words
  has "$program" || return 0
  for of in raw nat mangle; do
    for name in "$chain" "$chain-OUT"; do
      while read -r jump; do
        read -ra words <<<"${jump/#-A/-D}"
        run "$program" -w -t "$of" "${words[@]}"
      done < <("$program" -w -t "$of" -S 2>/dev/null | grep -E -- "^-A (PREROUTING|OUTPUT) .*-j $name\$" || true)
      "$program" -w -t "$of" -S "$name" >/dev/null 2>&1 || continue
      run "$program" -w -t "$of" -F "$name"
      run "$program" -w -t "$of" -X "$name"
    done
  done
}

up_routes() {
  local family=$1
  local -n services=$2
  ((${#services[@]} > 0)) || return 0
  run ip "$family" rule add fwmark "$mark" lookup "$route_table"
  run ip "$family" route add local default dev lo table "$route_table"
}

# Reads to the end: a writer whose reader has gone fails, and the whole with it.
rule_is_there() {
  ip "$1" rule show | grep "lookup $route_table *\$" >/dev/null
}

down_routes() {
  local family
  for family in -4 -6; do
    rule_is_there "$family" || continue
    run ip "$family" rule delete lookup "$route_table"
    run ip "$family" route flush table "$route_table"
  done
}

nft_is_up() { has nft && nft list table inet "$table" >/dev/null 2>&1; }

down_all_but_nft() {
  down_iptables_family iptables
  down_iptables_family ip6tables
  down_routes
}

down() {
  if nft_is_up; then run nft delete table inet "$table"; fi
  down_all_but_nft
}

up() {
  if [[ $backend == nft ]]; then
    down_all_but_nft
    up_nft
  else
    down
    up_iptables_family iptables services4
    up_iptables_family ip6tables services6
  fi
  if delivers; then
    up_routes -4 services4
    up_routes -6 services6
  fi
}

status() {
  local program of found=''
  if nft_is_up; then nft list table inet "$table"; found=yes; fi
  for program in iptables ip6tables; do
    has "$program" || continue
    for of in raw nat mangle; do
      "$program" -w -t "$of" -S 2>/dev/null | grep -- "$chain" | sed "s/^/$program -t $of /" && found=yes
    done
  done
  for program in -4 -6; do
    ip "$program" rule show | grep "lookup $route_table *\$" && found=yes
  done
  [[ -n $found ]] || { echo 'nothing is redirected'; exit "$nothing_up"; }
}

read_arguments "$@"
has ip || fail 'there is no ip: install the package iproute2'
case $verb in
  status) status ;;
  down) check_rights; down ;;
  up) check_up; choose_backend; check_rights; up ;;
esac
