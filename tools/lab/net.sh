# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# The virtio-net link between a lab's VMs, out of reach of the host's network.
#
# NET=tap (default where it works): one tap a VM in a bridge, in a network
# namespace of the lab's own, held open by one process. Checksum and
# segmentation offloads work over it (vnet_hdr); with KVM and /dev/vhost-net the
# host's kernel moves the packets (VHOST=off leaves it to QEMU); a VM with several
# vCPUs has as many queue pairs. NET=stream: QEMU's stream
# netdevs over UNIX sockets, a hub in the first VM joins them; no offloads, but
# it needs no privilege; a VM added later has none. NET=vhost-user: DPDK's testpmd
# forwards between two VMs, whose memory it maps; it polls on a core. NET=none: no
# link.

net_choose() {
	if [[ -z $VHOST ]]; then
		if [[ $ACCEL == kvm && -w /dev/vhost-net ]]; then VHOST=on; else VHOST=off; fi
	fi
	[[ -z $NET ]] || return 0
	if timeout 10 unshare -n sh -c 'ip link add br0 type bridge && ip tuntap add tap0 mode tap' 2>/dev/null; then
		NET=tap
	else
		NET=stream
		echo "no network namespace with taps here: the VMs' link is a QEMU stream, without offloads"
	fi
}

# A VM's queue pairs: one for each vCPU, where the link has several.
net_queues() { [[ $NET == stream ]] && echo 1 || echo "$CPUS"; }

# The switch of NET=vhost-user. Its ports are sockets that the QEMUs connect to; it
# has huge pages of the host's where there are enough (of which no file system need be
# mounted), else ordinary memory.
switch_up() {
	local queues memory=(--no-huge) cores
	queues=$(net_queues)
	need dpdk-testpmd
	(($(awk '/^HugePages_Free:/ { n = $2 } /^Hugepagesize:/ { print n * $2 / 1024 }' /proc/meminfo) < 512)) || memory=(--in-memory)
	cores=$(($(nproc) - 1))
	# That its command line names the lab's folder tells pid_of() whose process it is.
	echo "set fwd io" >"$LABDIR/switch.commands"
	background "$LABDIR/net.pid" "$LABDIR/net.log" dpdk-testpmd "${memory[@]}" --no-pci -m 512 --no-telemetry \
		--file-prefix "vmshm-lab-$LAB" --vdev "net_vhost0,iface=$RUN/switch-a.sock,queues=$queues,tso=1" \
		--vdev "net_vhost1,iface=$RUN/switch-b.sock,queues=$queues,tso=1" -l "0,$cores" -- --auto-start \
		--cmdline-file="$LABDIR/switch.commands" --stats-period 1000 --total-num-mbufs=16384 --rxq="$queues" --txq="$queues"
	wait_for 20 test -S "$RUN/switch-a.sock" -a -S "$RUN/switch-b.sock" ||
		die "testpmd has made no sockets: $(tail -3 "$LABDIR/net.log")"
}

net_up() {
	if [[ $NET == vhost-user ]]; then switch_up; fi
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
	local vm=$1 n device other queues tap=tap-$1
	net_enter
	n=$(vm_index "$vm")
	queues=$(net_queues)
	device=virtio-net-pci,netdev=net0,mac=$(printf 52:54:00:12:00:%02x $((n + 1)))
	# A vector for each queue, one for the control queue, one for the configuration.
	((queues == 1)) || device+=,mq=on,vectors=$((2 * queues + 2))
	case $NET in
	tap)
		"${ENTER[@]}" ip link show "$tap" >/dev/null 2>&1 ||
			"${ENTER[@]}" sh -c "ip tuntap add $tap mode tap vnet_hdr $( ((queues == 1)) || echo multi_queue) &&
				ip link set $tap mtu 9000 && ip link set $tap master br0 up" || die "cannot make the tap of VM $vm"
		ARGS+=(-netdev "tap,id=net0,ifname=$tap,script=no,downscript=no,queues=$queues,vhost=$VHOST")
		;;
	vhost-user)
		ARGS+=(-object "memory-backend-memfd,id=ram,size=$MEM,share=on" -numa "node,memdev=ram"
			-chardev "socket,id=switch,path=$RUN/switch-$vm.sock"
			-netdev "vhost-user,id=net0,chardev=switch,queues=$queues")
		# Without an irqfd QEMU 7.2 follows a null pointer when the guest masks such a
		# device's MSI-X vector (kvm_virtio_pci_irqfd_release): it has none, then.
		[[ $ACCEL == kvm ]] || device=${device%,vectors=*},vectors=0
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
