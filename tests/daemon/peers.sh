#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# How many peers a VM can have: an ivshmem device a couple, as many as its QEMU
# has PCI slots for. Plugged while it is up and at its start, on machines pc and
# q35, without and with a bridge. The guest is not started.

set -u
vmshmd=${VMSHMD:?names the daemon}
dir=$(mktemp -d /tmp/vmshmd-peers.XXXXXX)
MOST=70
tests=0 failed=0

# shellcheck disable=SC2317 # the trap calls it
end() {
	{
		kill -TERM "$daemon"
		wait
	} 2>/dev/null
	rm -rf "$dir"
}
trap end EXIT

ok() { # passed? name
	((++tests))
	if (($1)); then echo "ok $tests - $2"; else echo "not ok $tests - $2"; ((++failed)); fi
}

echo "TAP version 13"
if ! type qemu-system-x86_64 socat >/dev/null 2>&1; then
	echo "ok 1 - peers of a real QEMU # SKIP there is no qemu-system-x86_64 or no socat"
	echo 1..1
	exit
fi

{
	echo "runtime_dir = \"$dir/run\"; members = ( { name = \"hub\"; cid = 3; }"
	for ((i = 0; i < MOST; i++)); do echo ", { name = \"p$i\"; cid = $((10 + i)); }"; done
	echo "); segments = ( { name = \"h0\"; members = [ \"hub\", \"p0\" ]; size = \"1M\"; }"
	for ((i = 1; i < MOST; i++)); do echo ", { name = \"h$i\"; members = [ \"hub\", \"p$i\" ]; size = \"1M\"; }"; done
	echo ");"
} >"$dir/conf"
"$vmshmd" --no-keeper --config "$dir/conf" 2>"$dir/log" &
daemon=$!
for ((i = 0; i < 500; i++)); do
	grep -q "^vmshmd: ready" "$dir/log" && break
	sleep 0.02
done

bare=(qemu-system-x86_64 -accel tcg -S -display none -nodefaults -m 64)
# Device $1, on bus br0 if it is one of the first 31 and there are bridges, ...
device() {
	local bus=
	((BRIDGES == 0)) || bus=",\"bus\":\"br$(($1 / 31))\""
	echo "{\"driver\":\"ivshmem-doorbell\",\"id\":\"d$1\",\"chardev\":\"c$1\",\"vectors\":2$bus}"
}
commands() {
	local i
	echo '{"execute":"qmp_capabilities"}'
	for ((i = 0; i < MOST; i++)); do
		echo '{"execute":"chardev-add","arguments":{"id":"c'$i'","backend":{"type":"socket","data":{"server":false,"addr":{"type":"unix","data":{"path":"'"$dir/run/h$i/hub.sock"'"}}}}}}'
		echo '{"execute":"device_add","id":"device","arguments":'"$(device $i)"'}'
	done
	echo '{"execute":"quit"}'
}
# All members are free again.
settled() {
	local i
	for ((i = 0; i < 500; i++)); do
		(($(grep -c 'member hub: connected' "$dir/log") == $(grep -c 'member hub: its memory is given back' "$dir/log"))) && return
		sleep 0.02
	done
}
# How many devices a QEMU with these arguments takes while it is up.
plugged() {
	commands | timeout 60 "${bare[@]}" -qmp stdio "$@" 2>/dev/null | grep -c '"return".*"id": "device"'
	settled
}
# Whether a QEMU starts with COUNT devices: starts COUNT MACHINE
starts() {
	local i args=()
	for ((i = 0; i < $1; i++)); do
		args+=(-chardev "socket,path=$dir/run/h$i/hub.sock,id=c$i" -device "ivshmem-doorbell,chardev=c$i,vectors=2")
	done
	printf '%s\n' '{"execute":"qmp_capabilities"}' '{"execute":"quit"}' |
		timeout 60 "${bare[@]}" -qmp stdio -machine "$2" "${args[@]}" >/dev/null 2>&1
	local status=$?
	settled
	return $status
}

BRIDGES=0
n=$(plugged -machine pc)
ok $((n == 30)) "on pc, $n devices are plugged while it is up (30)"
BRIDGES=2
n=$(plugged -machine pc -device pci-bridge,id=br0,chassis_nr=1 -device pci-bridge,id=br1,chassis_nr=2)
ok $((n == 62)) "with two bridges, $n on these (31 each)"
BRIDGES=0
n=$(plugged -machine q35)
ok $((n == 0)) "on q35, none goes to its root bus"
BRIDGES=2
n=$(plugged -machine q35 -device pcie-pci-bridge,id=br0 -device pcie-pci-bridge,id=br1)
ok $((n == 62)) "with two bridges, $n on these (31 each)"
starts 30 q35
ok $(($? == 0)) "q35 starts with 30 of them"
starts 31 q35
ok $(($? != 0)) "and not with 31"

echo "1..$tests"
exit $((failed > 0))
