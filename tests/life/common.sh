# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What the suites of this folder share: the lab (LAB=) is up with the VMs a and
# b, programs run in them in the background and are waited for, the words of a
# channel's counters.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=${BUILD:-$TOP/build}
export BUILD
BIN=$BUILD/tests/life
cd "$TOP" || exit 1
make --no-print-directory -s -C tests/life BUILD="$BUILD" >&2 || exit 1

declare -A CID=([a]=3 [b]=4 [c]=5)
WORK=$(mktemp -d)
# How much longer all may take: the debug kernel's checks cost that, and who runs
# this in VMs that are emulated twice says more.
[[ ${KERNEL:-} == debug ]] && slow=3 || slow=1
SLOW=${SLOW:-$slow}

lab() { tools/vmshm-lab "$@"; }
# in_vm VM SECONDS COMMAND...: for SECONDS at most, as all that says SECONDS here
in_vm() {
	local vm=$1 seconds=$2
	shift 2
	timeout "$((seconds * SLOW))" tools/vmshm-lab exec -n "$vm" -- "$@"
}

# What runs in the background writes to WORK/NAME; its process is PID[NAME].
declare -A PID=()
OWNER=$BASHPID
start() {		# start NAME VM SECONDS COMMAND...
	local name=$1 vm=$2 seconds=$3
	shift 3
	# A case that runs in a shell of its own ends what it started, no more.
	if ((BASHPID != OWNER)); then
		OWNER=$BASHPID PID=()
		trap stop_all EXIT
	fi
	# Nothing that an earlier one of that name said.
	rm -f "$WORK/$name"
	# No shell in between: what is killed at the end has to be the client.
	timeout "$((seconds * SLOW))" tools/vmshm-lab exec -n "$vm" -- "$@" >"$WORK/$name" 2>&1 &
	PID[$name]=$!
}
said() { grep -qs -- "$2" "$WORK/$1"; }		# said NAME PATTERN
wait_for() {		# wait_for SECONDS COMMAND...
	local end=$((SECONDS + $1 * SLOW))
	shift
	until "$@"; do ((SECONDS < end)) || return 1; sleep 0.05; done
}
ended() { ! kill -0 "${PID[$1]}" 2>/dev/null; }
# The process ends within SECONDS with this exit status.
ends() {		# ends NAME SECONDS [STATUS]
	local name=$1 got
	wait_for "$2" ended "$name" || { echo "$name has not ended after $2 s: $(tail -3 "$WORK/$name")"; return 1; }
	wait "${PID[$name]}"
	got=$?
	((got == ${3:-0})) || { echo "$name ended with status $got: $(tail -3 "$WORK/$name")"; return 1; }
}
# Plugged in, found by the VM's kernel, and in use.
plug() {		# plug VM PEER
	lab plug "$1" || return 1
	wait_for 10 in_vm "$1" 5 test -e "/sys/kernel/debug/vmshm/cid-${CID[$2]}" ||
		{ echo "VM $1 does not find its device"; return 1; }
}
serve() {		# serve VM PORT: an echo server until the suite ends
	local name=serve-$1-$2 try
	# The one before may still be on its way out.
	for ((try = 0; try < 10; try++)); do
		start "$name" "$1" 3000 "$BIN/traffic" serve "$2"
		wait_for 20 said "$name" "ready\\|EADDRINUSE" && said "$name" ready && return
		sleep 0.5
	done
	echo "no server in VM $1: $(<"$WORK/$name")"
	return 1
}
echo_works() {		# echo_works FROM TO PORT
	local got
	got=$(in_vm "$1" 20 "$BIN/traffic" echo "${CID[$2]}" "$3" 100000)
	[[ $got == 0 ]] || { echo "from $1 to $2: no echo: $got"; return 1; }
}
# A word of a channel's counters: counter VM PEER NAME
counter() {
	in_vm "$1" 20 cat "/sys/kernel/debug/vmshm/cid-${CID[$2]}" | awk -v w="$3" '$1 == w { print $2 }'
}

stop_all() {
	local name
	for name in "${!PID[@]}"; do kill "${PID[$name]}" 2>/dev/null; done
	for name in "${!PID[@]}"; do wait "${PID[$name]}" 2>/dev/null; done
}
clean_up() {
	stop_all
	rm -rf "$WORK"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP
