# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# The virtio-net link between a lab's VMs, out of reach of the host's network.
#
# NET=tap (default where it works): one tap a VM in a bridge, in a network
# namespace of the lab's own, held open by one process. Checksum and
# segmentation offloads work over it (vnet_hdr). NET=stream: QEMU's stream
# netdevs over UNIX sockets, a hub in the first VM joins them; no offloads, but
# it needs no privilege; a VM added later has none. NET=none: no link.

net_choose() {
	[[ -z $NET ]] || return 0
	if timeout 10 unshare -n sh -c 'ip link add br0 type bridge && ip tuntap add tap0 mode tap' 2>/dev/null; then
		NET=tap
	else
		NET=stream
		echo "no network namespace with taps here: the VMs' link is a QEMU stream, without offloads"
	fi
}

net_up() {
	[[ $NET == tap ]] || return 0
	# The folder as an argument tells pid_of() whose process this is.
	# shellcheck disable=SC2016
	background "$LABDIR/net.pid" "$LABDIR/net.log" unshare -n sh -c 'ip link add br0 type bridge &&
		ip link set br0 up && ip link set lo up &&
		: >"$0/net.ready" && exec tail -f "$0/net.ready"' "$LABDIR"
	wait_for 10 test -e "$LABDIR/net.ready" || die "no bridge: $(cat "$LABDIR/net.log")"
}

# What runs a command where the lab's taps are, into the array ENTER.
net_enter() {
	ENTER=()
	[[ $NET != tap ]] || ENTER=(nsenter -t "$(pid_of "$LABDIR/net.pid")" -n)
}

# Whether VM a's QEMU made that socket: it may be a moment younger than we are.
listens() { wait_for 5 test -S "$1"; }

# QEMU's arguments for VM $1, into the array ARGS; ENTER too.
net_args() {
	local vm=$1 n device other
	net_enter
	n=$(vm_index "$vm")
	device=virtio-net-pci,netdev=net0,mac=$(printf 52:54:00:12:00:%02x $((n + 1)))
	case $NET in
	tap)
		"${ENTER[@]}" ip link show "tap-$vm" >/dev/null 2>&1 ||
			"${ENTER[@]}" sh -c "ip tuntap add tap-$vm mode tap vnet_hdr && ip link set tap-$vm mtu 9000 &&
				ip link set tap-$vm master br0 up" || die "cannot make the tap of VM $vm"
		ARGS+=(-netdev "tap,id=net0,ifname=tap-$vm,script=no,downscript=no")
		;;
	stream)
		if ((n > 0)) && ! listens "$RUN/a/net-$vm.sock"; then
			# A hub does not grow while its VM runs, and QEMU ends where nobody listens.
			echo "VM $vm has no virtio-net link: VM a was started without one for it" >&2
			ARGS+=(-netdev "stream,id=net0,server=on,addr.type=unix,addr.path=$RUN/$vm/net.sock")
		elif ((n > 0)); then
			ARGS+=(-netdev "stream,id=net0,server=off,addr.type=unix,addr.path=$RUN/a/net-$vm.sock")
		elif [[ $(lab_vms | wc -w) == 2 ]]; then
			ARGS+=(-netdev "stream,id=net0,server=on,addr.type=unix,addr.path=$RUN/a/net-b.sock")
		else
			ARGS+=(-netdev "hubport,id=net0,hubid=0")
			for other in $(lab_vms); do
				[[ $other != a ]] || continue
				ARGS+=(-netdev "stream,id=to-$other,server=on,addr.type=unix,addr.path=$RUN/a/net-$other.sock"
					-netdev "hubport,id=hub-$other,hubid=0,netdev=to-$other")
			done
		fi
		;;
	none) return ;;
	esac
	ARGS+=(-device "$device")
}
