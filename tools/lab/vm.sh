# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# One VM: its QEMU command line, its start, the wait until its agent answers,
# its end, and on which cores its vCPUs run.

lab_qmp() { "$TOP/tools/lab/qmp" "$RUN/$1/qmp.sock" "$2"; }

# KVM needs the processor's flag and a device that opens.
kvm_works() {
	grep -qwE 'vmx|svm' /proc/cpuinfo && : <>/dev/kvm
} 2>/dev/null

accel_choose() {
	if [[ -z $ACCEL ]]; then
		if kvm_works; then ACCEL=kvm; else ACCEL=tcg; fi
	fi
}

vm_args() {
	local vm=$1 i release clock="" routing="" more
	release=$(kernel_release "$KERNEL")
	# TCG copies 7 times slower with erms or fsrm; with maxcpus=1 it would
	# drop the barriers that another VM relies on.
	if [[ $ACCEL == kvm ]]; then
		ARGS=(-accel kvm -cpu host)
	else
		ARGS=(-accel "tcg,thread=multi" -cpu "max,-erms,-fsrm")
		clock=tsc=reliable	# else the kernel falls back to a slow clock
	fi
	# Instrumented, ACPI's interpreter takes over 30 s for the interrupt routing of
	# each device, which is its limit; the BIOS's MP table says the same at once.
	[[ $KERNEL != debug ]] || routing=acpi=noirq
	ARGS+=(-name "vmshm-$LAB-$vm" -machine pc -nodefaults -no-user-config -display none
		-smp "$CPUS,maxcpus=$((CPUS > 1 ? CPUS : 2))" -m "$MEM"
		-kernel "$KERNELS/$KERNEL/vmlinuz" -initrd "$LABDIR/initramfs"
		-append "console=ttyS0 loglevel=5 panic_on_warn=1 oops=panic panic=-1 $clock $routing \
lab_name=$vm lab_addr=$(vm_addr "$vm") lab_ports=$PORTS lab_top=$TOP lab_build=$BUILD \
lab_release=$release lab_modules=$(readlink -f "$KERNELS/$KERNEL/root/lib/modules/$release") $CMDLINE"
		-chardev "socket,id=con,path=$RUN/$vm/console.sock,server=on,wait=off,logfile=$LABDIR/$vm/console.log,logappend=on"
		-serial chardev:con
		-qmp "unix:$RUN/$vm/qmp.sock,server=on,wait=off"
		-virtfs "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap"
		-virtfs "local,path=$TOP,mount_tag=tree,security_model=none,readonly=on,multidevs=remap"
		-virtfs "local,path=$LABDIR/share,mount_tag=share,security_model=none")
	[[ $BUILD == "$TOP/build" ]] ||
		ARGS+=(-virtfs "local,path=$BUILD,mount_tag=build,security_model=none,readonly=on,multidevs=remap")
	# A device's queue of notices holds 32: no more than 8 ports on one.
	for ((i = 0; i < PORTS; i++)); do
		((i % 8)) || ARGS+=(-device "virtio-serial-pci,id=serial$((i / 8)),max_ports=9")
		ARGS+=(-chardev "socket,id=port$i,path=$RUN/$vm/port$i.sock,server=on,wait=off"
			-device "virtserialport,bus=serial$((i / 8)).0,chardev=port$i,name=vmshm-lab.$i")
	done
	[[ -n $REBOOT ]] || ARGS+=(-no-reboot)
	net_args "$vm"
	daemon_args "$vm"
	more=${QEMU_ARGS//\{vm\}/$vm}
	# shellcheck disable=SC2206	# words
	ARGS+=(${more//\{cid\}/$(vm_cid "$vm")})
}

vm_start() {
	local vm=$1 i ARGS=() ENTER=()
	mkdir -p "$LABDIR/$vm"
	for ((i = 0; i < PORTS; i++)); do : >"$LABDIR/$vm/port$i.lock"; done
	vm_args "$vm"
	if [[ -z $NOSHM ]]; then segments_of "$vm" >"$LABDIR/$vm/segments"; fi
	printf '%q ' qemu-system-x86_64 "${ARGS[@]}" >"$LABDIR/$vm/command"
	background "$LABDIR/$vm/pid" "$LABDIR/$vm/qemu.log" "${ENTER[@]}" qemu-system-x86_64 "${ARGS[@]}"
}

vm_report() {
	local vm=$1
	echo "vmshm-lab: VM $vm $2" >&2
	grep -aE 'lab (init|agent):|Kernel panic' "$LABDIR/$vm/console.log" 2>/dev/null | tail -3 |
		tr -d '\r' | sed 's/^/    console: /' >&2
	echo "    ..." >&2
	grep -v '^qemu: module ui-' "$LABDIR/$vm/qemu.log" 2>/dev/null | tail -5 | sed 's/^/    qemu: /' >&2
	tail -12 "$LABDIR/$vm/console.log" 2>/dev/null | tr -d '\r' | sed 's/^/    console: /' >&2
}

# Seconds for a VM to come up, on a busy machine. The debug kernel is slow.
boot_limit() { if [[ $KERNEL == debug ]]; then echo 600; else echo 180; fi; }

# Waits until the VM's agent runs a command.
vm_wait() {
	local vm=$1 end=$((SECONDS + BOOT_LIMIT)) try
	while try=$((end - SECONDS)); ! "$TOOLS/lab-exec" -d "$RUN" -t $((try > 30 ? 30 : try)) -n "$vm" \
		-- true 2>/dev/null; do
		# Where /proc is slow to say what a process is, it is still there.
		if ! vm_pid "$vm" >/dev/null && gone "$(cat "$LABDIR/$vm/pid" 2>/dev/null)"; then
			vm_report "$vm" "ended while it booted; the last words of its console:"
			return 1
		elif ((SECONDS >= end)); then
			vm_report "$vm" "has not come up in $BOOT_LIMIT s; the last words of its console:"
			return 1
		fi
		sleep 0.1
	done
}

vm_load_module() {
	[[ -z $NOMODULE ]] || return 0
	"$TOOLS/lab-exec" -d "$RUN" -n "$1" -- modprobe af_vmshm || {
		vm_report "$1" "cannot load af_vmshm; the last words of its console:"
		return 1
	}
}

# Ends the process that FILE names: politely, then surely.
end_process() {
	local pid
	pid=$(pid_of "$1") || return 0
	kill "${2:--TERM}" "$pid" 2>/dev/null
	wait_for 5 gone "$pid" || { kill -KILL "$pid" 2>/dev/null; wait_for 5 gone "$pid"; }
}

# The ids of a VM's vCPU threads.
vm_threads() { lab_qmp "$1" query-cpus-fast | jq -r '.[]["thread-id"]'; }

# spread: a core for each vCPU, in turn; stack: all on the first core; none: anywhere.
# QEMU's own threads, which inject what rings, run anywhere; with "last" beside the
# VM's last vCPU, so that a busy first one can't keep them from a core.
lab_pin() {
	local how=$1 own=${2:-} all cores vm pid thread task n=0 core
	all=$(taskset -pc $$ | sed 's/.*: //')
	read -ra cores <<<"$(tr ',' '\n' <<<"$all" |
		awk -F- '{ for (i = $1; i <= (NF > 1 ? $2 : $1); i++) printf "%d ", i }')"
	case $how in
	spread | stack | none) ;;
	*) die "pin $how is unknown: spread, stack or none" ;;
	esac
	[[ $own == @(|last) ]] || die "pin $how $own is unknown: last, or nothing"
	for vm in $(lab_vms); do
		pid=$(vm_pid "$vm") || continue
		local -A vcpus=()
		for thread in $(vm_threads "$vm"); do
			core=${cores[n % ${#cores[@]}]}
			[[ $how != stack ]] || core=${cores[0]}
			[[ $how != none ]] || core=$all
			taskset -pc "$core" "$thread" >/dev/null || die "cannot pin VM $vm's thread $thread"
			vcpus[$thread]=1
			n=$((n + 1))
		done
		[[ -n $own ]] || core=$all
		for task in "/proc/$pid/task"/*; do
			# One that ends meanwhile needs no core.
			[[ -n ${vcpus[${task##*/}]:-} ]] || taskset -pc "$core" "${task##*/}" >/dev/null 2>&1
		done
	done
	return 0
}

# Pinned when there are enough cores for all vCPUs.
lab_pin_default() {
	if (($(lab_vms | wc -l) * CPUS <= $(nproc))); then lab_pin spread; fi
}
