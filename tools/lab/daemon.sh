# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# vmshmd for a lab: its configuration (a segment a couple), its start, and the
# QEMU arguments that lead a VM to it.

VMSHMD=${VMSHMD:-$BUILD/vmshmd/vmshmd}

# The couples of the lab's VMs (all, or those in COUPLES), and with HOST=1 of each
# with the host, as "a b", one a line.
couples() {
	local vms one other
	read -ra vms <<<"$(lab_vms | tr '\n' ' ')"
	for one in "${vms[@]}"; do
		for other in "${vms[@]}"; do
			[[ $one < $other ]] || continue
			[[ -n $COUPLES && " $COUPLES " != *" $one-$other "* ]] || echo "$one $other"
		done
		[[ -z $HOST ]] || echo "$one host"
	done
}
segments_of() {
	couples | awk -v vm="$1" '$1 == vm || $2 == vm { print $1 "-" $2 }'
}

daemon_config() {
	local vm one other
	echo "runtime_dir = \"$RUN/vmshm\";"
	echo "members = ("
	{
		lab_vms | while read -r vm; do
			printf '\t{ name = "%s"; cid = %d; },\n' "$vm" "$(vm_cid "$vm")"
		done
		[[ -z $HOST ]] || printf '\t{ name = "host"; cid = 2; host = true; },\n'
	} | sed '$s/,$//'
	echo ");"
	echo "segments = ("
	couples | while read -r one other; do
		printf '\t{ name = "%s-%s"; members = [ "%s", "%s" ]; size = "%s"; vectors = %d; },\n' \
			"$one" "$other" "$one" "$other" "$SEGSIZE" "$VECTORS"
	done | sed '$s/,$//'
	echo ");"
}

daemon_ready() {
	local one other
	while read -r one other; do
		[[ -z $one || (-S $RUN/vmshm/$one-$other/$one.sock && -S $RUN/vmshm/$one-$other/$other.sock) ]] || return 1
	done <<<"$(couples)"
}
daemon_waited() {
	wait_for 20 daemon_ready ||
		die "vmshmd has not made its sockets: $(tail -3 "$LABDIR/vmshmd.log" 2>/dev/null)"
}

daemon_start() {
	[[ -z $NOSHM ]] || return 0
	mkdir -p "$LABDIR/vmshm"
	daemon_config >"$LABDIR/vmshmd.conf"
	background "$LABDIR/vmshmd.pid" "$LABDIR/vmshmd.log" "$VMSHMD" --config "$LABDIR/vmshmd.conf"
	daemon_waited
}

# After a VM was added: the new couples' sockets appear.
daemon_reload() {
	[[ -z $NOSHM ]] || return 0
	daemon_config >"$LABDIR/vmshmd.conf"
	kill -HUP "$(pid_of "$LABDIR/vmshmd.pid")" || die "vmshmd is not running; its log: $LABDIR/vmshmd.log"
	daemon_waited
}

# QEMU's arguments for VM $1, into the array ARGS.
daemon_args() {
	local segment
	ARGS+=(-smbios "type=11,value=vmshm.cid=$(vm_cid "$1")")
	[[ -z $NOSHM ]] || return 0
	for segment in $(segments_of "$1"); do
		ARGS+=(-chardev "socket,path=$RUN/vmshm/$segment/$1.sock,id=chr-$segment"
			-device "ivshmem-doorbell,id=shm-$segment,chardev=chr-$segment,vectors=$VECTORS")
	done
}

# A running VM gets the devices of couples that are new.
daemon_plug() {
	local vm=$1 segment chardev device
	for segment in $(segments_of "$vm"); do
		grep -qsx "$segment" "$LABDIR/$vm/segments" && continue
		chardev='{"id": "chr-'$segment'", "backend": {"type": "socket", "data": {"server": false,
			"addr": {"type": "unix", "data": {"path": "'$RUN/vmshm/$segment/$vm.sock'"}}}}}'
		device='{"driver": "ivshmem-doorbell", "id": "shm-'$segment'", "chardev": "chr-'$segment'",
			"vectors": '$VECTORS'}'
		if ! lab_qmp "$vm" '{"execute": "chardev-add", "arguments": '"$chardev"'}' >/dev/null ||
			! lab_qmp "$vm" '{"execute": "device_add", "arguments": '"$device"'}' >/dev/null; then
			die "cannot plug segment $segment into VM $vm"
		fi
		echo "$segment" >>"$LABDIR/$vm/segments"
	done
}
