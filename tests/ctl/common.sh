# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What the scripts of this folder share: a daemon in a directory of its own,
# vmshmctl that speaks to it, VMs that are none (vm.c). VMSHMD, VMSHMCTL and VM
# name the programs.

# shellcheck source=tests/lab/tap.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lab/tap.sh"
: "${VMSHMD:?names the daemon}" "${VMSHMCTL:?names vmshmctl}" "${VM:?names the program vm}"
DIR=$(mktemp -d /tmp/vmshmctl-test.XXXXXX)
chmod 755 "$DIR"
CONF=$DIR/conf
RUN=$DIR/run
DAEMON=

make_dir() { mkdir -p "$DIR" && chmod 755 "$DIR"; }
fail() { echo "$*"; return 1; }
soon() { # command...: comes true within 15 s
	local i
	for ((i = 0; i < 750; i++)); do
		"$@" && return
		sleep 0.02
	done
	echo "never came true: $*"
	return 1
}
said() { grep -qF -- "$1" "$DIR/log"; }
# A tool that ends leaves its memory to the kernel.
ctl() { ASAN_OPTIONS=detect_leaks=0 timeout 60 "$VMSHMCTL" --socket "$RUN/control.sock" --config "$CONF" "$@"; }

# config [LINE...]: members web, db, cache; a segment web-db; more lines
config() {
	cat >"$CONF" <<-C
		runtime_dir = "$RUN";
		members = ( { name = "web"; cid = 3; }, { name = "db"; cid = 4; }, { name = "cache"; cid = 5; } );
		segments = ( { name = "web-db"; members = [ "web", "db" ]; size = "16M"; } );
	C
	printf '%s\n' "$@" >>"$CONF"
}
daemon_start() {
	: >"$DIR/log"
	"$VMSHMD" --config "$CONF" 2>>"$DIR/log" &
	DAEMON=$!
	soon said "vmshmd: ready" || { cat "$DIR/log"; return 1; }
}
daemon_stop() {
	local status
	kill -TERM "$DAEMON"
	wait "$DAEMON"
	status=$?
	DAEMON=
	((status == 0)) || { cat "$DIR/log"; return 1; }
}

declare -A TO=() FROM=() PIDS=()
# vm SEGMENT MEMBER: connects and stays; tell MEMBER LINE: its answer
vm() {
	local to from
	{ coproc VM_PROC { exec "$VM" "$RUN" "$1" "$2"; }; } 2>/dev/null
	exec {to}>&"${VM_PROC[1]}" {from}<&"${VM_PROC[0]}"
	PIDS[$2]=$VM_PROC_PID TO[$2]=$to FROM[$2]=$from
	eval "exec ${VM_PROC[1]}>&-"
	if ! read -r -t 20 -u "$from" line || [[ $line != ready ]]; then fail "VM $2 does not start: ${line:-}"; fi
}
tell() {
	local line
	echo "$2" >&"${TO[$1]}"
	read -r -t 20 -u "${FROM[$1]}" line || fail "VM $1 does not answer" || return
	echo "$line"
}
vm_end() {
	local to=${TO[$1]} from=${FROM[$1]}
	exec {to}>&- {from}<&-
	wait "${PIDS[$1]}" 2>/dev/null
	unset "TO[$1]" "FROM[$1]" "PIDS[$1]"
}

# shellcheck disable=SC2317,SC2329 # a trap calls it
tidy() {
	local pid
	for pid in $DAEMON "${PIDS[@]}" "${EXTRA[@]}"; do kill -KILL "$pid" 2>/dev/null; done
	wait 2>/dev/null
	rm -rf "$DIR"
}
EXTRA=()
