#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Real QEMUs: two that connect without a complaint, one at its start and one by
# hot-plug, one that is killed and comes again, and some that are configured for
# other counts of vectors than the segment has. Not here: hot-unplug, after
# which QEMU 7.2 may crash under TCG (it forgets to remove the handlers of the
# eventfds that it closes).

set -u
vmshmd=${VMSHMD:?names the daemon}
dir=$(mktemp -d /tmp/vmshmd-qemu.XXXXXX)
pids=()
tests=0 failed=0

# shellcheck disable=SC2317 # the trap calls it
end() {
	((${#pids[@]})) && kill -KILL "${pids[@]}" 2>/dev/null
	wait 2>/dev/null
	rm -rf "$dir"
}
trap end EXIT

ok() { # name; the status before is what counts
	local passed=$?
	((++tests))
	if ((passed == 0)); then echo "ok $tests - $1"; return; fi
	echo "not ok $tests - $1"
	((++failed))
	sed 's/^/# vmshmd.log: /' "$dir/log"
	for log in "$dir"/*.qemu; do sed "s/^/# ${log##*/}: /" "$log"; done
}
soon() { # command...: comes true within 15 s
	local i
	for ((i = 0; i < 1500; i++)); do
		"$@" && return
		sleep 0.01
	done
	return 1
}
said() { grep -qF -- "$1" "$dir/log"; }
# shellcheck disable=SC2317 # soon calls it
ended() { ! kill -0 "$1" 2>/dev/null; }

echo "TAP version 13"
if ! type qemu-system-x86_64 socat >/dev/null 2>&1; then
	echo "ok 1 - real QEMUs # SKIP there is no qemu-system-x86_64 or no socat"
	echo 1..1
	exit
fi

cat >"$dir/conf" <<-C
	runtime_dir = "$dir/run";
	members = ( { name = "a"; cid = 3; }, { name = "b"; cid = 4; },
		{ name = "x"; cid = 5; }, { name = "y"; cid = 6; }, { name = "z"; cid = 7; } );
	segments = ( { name = "a-b"; members = [ "a", "b" ]; size = "16M"; vectors = 2; },
		{ name = "trio"; members = [ "x", "y", "z" ]; shared = true; size = "16M"; vectors = 4; } );
C
: >"$dir/log"
"$vmshmd" --config "$dir/conf" 2>>"$dir/log" &
daemon=$!
pids+=("$daemon")
soon said "vmshmd: ready"
ok "the daemon is ready"

bare() { # member arguments... -> $! ; its complaints are in MEMBER.qemu
	local member=$1
	shift
	setpriv --pdeathsig KILL qemu-system-x86_64 -accel tcg -S -display none -nodefaults -m 32 \
		-qmp "unix:$dir/$member.qmp,server=on,wait=off" "$@" >"$dir/$member.qemu" 2>&1 &
	pids+=($!)
}
qemu() { # segment member vectors
	bare "$2" -chardev "socket,path=$dir/run/$1/$2.sock,id=c" \
		-device "ivshmem-doorbell,id=d,chardev=c,vectors=$3"
}
qmp() { # member command...: what QEMU answers
	local member=$1
	shift
	{ printf '{"execute":"qmp_capabilities"}\n'; printf '%s\n' "$@"; sleep 0.5; } |
		timeout 10 socat - "UNIX-CONNECT:$dir/$member.qmp" 2>/dev/null
}
up() { # member: its machine is made, that is, its device had all it wants
	[[ -S $dir/$1.qmp ]] && qmp "$1" '{"execute":"query-status"}' | grep -q prelaunch
}
silent() { [[ ! -s $dir/$1.qemu ]]; }

qemu a-b a 2
a=$!
bare b
soon up a && soon up b
ok "two QEMUs start"
qmp b '{"execute":"chardev-add","arguments":{"id":"c","backend":{"type":"socket","data":{"server":false,"addr":{"type":"unix","data":{"path":"'"$dir/run/a-b/b.sock"'"}}}}}}' \
	'{"execute":"device_add","arguments":{"driver":"ivshmem-doorbell","id":"d","chardev":"c","vectors":2}}' |
	grep -q '"error"'
(($? == 1)) && soon said "member b: connected"
ok "one has its device plugged while it is up"
silent a && silent b && said "member a: connected"
ok "both are connected, without a complaint"

{
	kill -KILL "$a"
	wait "$a"
} 2>/dev/null
soon said "segment a-b: member a: its memory is given back, presence 2"
ok "one is killed, its memory goes back"
rm -f "$dir/a.qmp"
qemu a-b a 2
soon up a && silent a && said "member a: connected: process $!," && silent b
ok "it comes again, without a complaint on either side"

qemu trio x 4
soon up x && silent x
ok "a group's member starts"
qemu trio y 8
soon up y && silent y
ok "so does one with more vectors than the segment"
qemu trio z 1
z=$!
soon ended "$z" && grep -q "Too many eventfd received, device has 1 vectors" "$dir/z.qemu"
ok "one with fewer vectors ends with QEMU's own complaint"
soon said "segment trio: member z: its memory is given back" && silent x && silent y
ok "which harms nobody else"

kill -TERM "$daemon"
wait "$daemon"
ok "the daemon ends with 0"
up a && up b && up x && silent a && silent b && silent x
ok "the QEMUs go on without it"

echo "1..$tests"
exit $((failed > 0))
