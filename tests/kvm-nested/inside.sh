#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Runs in the first-level VM of tests/kvm-nested/run, as root: brings up two VMs
# under KVM, runs the socket tests between them, checks what KVM counted, unplugs
# devices while traffic runs. Prints one TAP stream; what it keeps is in /lab, which is
# the lab's folder outside.
set -u
top=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
export LAB=inner NOBUILD=1 KERNEL ACCEL=kvm NET=tap MEM=768M BOOT_LIMIT=500
# The features of the emulated processor's XSAVE don't add up to the size that KVM
# tells, which makes the kernel warn. vhost-vsock is for the counts.
export QEMU_ARGS="-cpu host,-xsave -device vhost-vsock-pci,guest-cid={cid}"
lab=$top/tools/vmshm-lab
counts=/lab/kvm-counts.json
n=0 failed=0

report() {	# status, name, what to say if it failed
	n=$((n + 1))
	if (($1 == 0)); then
		echo "ok $n - $2"
		return
	fi
	failed=$((failed + 1))
	echo "not ok $n - $2"
	head -c 2000 <<<"${3:-}" | sed 's/^/# /'
}
ended() {
	echo "1..$n"
	((failed == 0))
	exit
}

echo "TAP version 13"
# The tree is read only here; what the lab writes goes into memory.
mkdir -p /run/build
why=$(mount -t tmpfs tmpfs /run/build && mkdir -p /run/build/{upper,work} && mount -t overlay \
	-o "lowerdir=$BUILD,upperdir=/run/build/upper,workdir=/run/build/work" overlay "$BUILD" 2>&1)
report $? "a build folder that can be written" "$why"
why=$(modprobe -a kvm_amd vhost_net vhost_vsock tun bridge 2>&1 && : <>/dev/kvm 2>&1)
report $? "kvm_amd in a VM with SVM" "$why"
((failed == 0)) || ended
began=$SECONDS
# QEMU's emulation of SVM now and then resets a VM: most of all one that begins to
# boot, now and then one that works. That ends it, without a word on its console.
bring_up() {
	local try
	for try in 1 2 3 4 5 6; do
		why=$("$lab" up 2>&1) && return
		[[ $why == *"ended while it booted"* ]] || return
		echo "# attempt $try: a VM ended while it booted"
	done
	return 1
}
complaints() {		# complaints VM
	grep -aE 'WARNING:|BUG|Oops|general protection|rcu.*stall|refcount_t:|Kernel panic' \
		"$BUILD/lab/$LAB/$1/console.log"
}
was_reset() {		# was_reset WHAT: and all is up again
	local vm ended=''
	for vm in a b; do
		if complaints $vm >/dev/null; then return 1; fi
		"$lab" status 2>/dev/null | grep -q "^VM $vm: .*running" || ended+=" $vm"
	done
	[[ -n $ended ]] || return
	echo "# $1: ended without a word:$ended; once more"
	QUIET=1 "$lab" down
	bring_up
}
bring_up
report $? "two VMs under KVM are up" "$why"
echo "# ${why##*$'\n'} ($((SECONDS - began)) s)"
((failed == 0)) || ended

# The selection: what waits, wakes, connects, ends, and what a VM's pause does.
selection='connect\.|epoll\.|poll\.|peer\.|shutdown\.|sendrecv\.|dgram\.|seqpacket\.|stress\.|process\.'
export PATIENCE=10
if [[ -n $QUICK ]]; then export ONLY=$selection; fi
all=0
for part in a-b b-a local own paused; do
	began=$SECONDS
	for try in 1 2 3; do
		PARTS=$part "$top/tests/socket/run" >"/lab/$part.tap.log" 2>"/lab/$part.err.log"
		status=$?
		if ((status == 0)) || ! was_reset "socket tests, $part, attempt $try"; then break; fi
	done
	passed=$(grep -c '^ok' "/lab/$part.tap.log")
	all=$((all + passed))
	report "$status" "socket tests, $part: $passed passed in $((SECONDS - began)) s${QUICK:+, a selection}" \
		"$(grep -A4 '^not ok' "/lab/$part.tap.log" | sed 's/^#* *//')"
done
echo "# socket tests: $all passed"
[[ -z ${T:-} || $all != 0 ]] || echo "# no case of the socket tests is called '$T'"

began=$SECONDS
for try in 1 2 3; do
	"$top/bench/kvm-counts" -o "$counts" 2>/lab/counts.err.log >/lab/counts.log
	status=$?
	if ((status == 0)) || ! was_reset "the counts, attempt $try"; then break; fi
done
report "$status" "what KVM does for a message is counted ($((SECONDS - began)) s)" "$(cat /lab/counts.err.log)"
sed 's/^/# /' /lab/counts.log
is() {	# name, jq expression
	why=$(jq -e "$2" "$counts" 2>&1)
	report $? "$1" "$(jq -c '.families[] | with_entries(select(.value > 0.02 or .value < -0.02))' "$counts")"
}
if [[ -e $counts ]]; then
	is "AF_VMSHM: a message to a sleeper is one doorbell, and nobody answers with one" \
		'.families.vmshm | ."doorbells|VM a|ivshmem" == 1 and (."doorbells|VM b|ivshmem" // 0) == 0'
	is "AF_VMSHM: and one interrupt, sent by the thread that rang (ioeventfd, irqfd)" \
		'.families.vmshm | ."interrupts|VM b|ivshmem" == 1 and (."interrupts|VM a|ivshmem" // 0) == 0 and ."interrupts sent|VM a|" == 1'
	is "AF_VMSHM: which no QEMU is woken for, nor another thread of the host" \
		'.families.vmshm | (."exits to QEMU|VM a|" // 0 | fabs) < 0.1 and (."exits to QEMU|VM b|" // 0 | fabs) < 0.1 and
		([to_entries[] | select(.key | startswith("switched to")).value] | length >= 2 and max < 0.1)'
	# Beside the 100 there are those of two connections that begin and end.
	is "AF_VMSHM: the doorbells that the module counts are those that KVM sees, none to one that is awake" \
		'.doorbells | (.said | map(select(test("^doorbells_"))) == ["doorbells_sleeping 100 100", "doorbells_awake 0 1000"]) and
		.writes >= 100 and .writes <= 140'
	is "TCP over vhost-net is counted" '.families.tcp."doorbells|VM a|virtio-net" >= 0.8'
	is "AF_VSOCK over vhost-vsock and a relay is counted" '.families.vsock."doorbells|VM a|vhost-vsock" >= 0.6'
fi
# Last, so that the counts are of VMs as they booted. With KVM the peer's VM goes on sending and ringing.
began=$SECONDS
for try in 1 2 3; do
	T="the device" ROUNDS=10 SLOW=6 "$top/tests/life/run-comings" >/lab/comings.tap.log 2>/lab/comings.err.log
	status=$?
	if ((status == 0)) || ! was_reset "unplugging, attempt $try"; then break; fi
done
report "$status" "comings, the device: $(grep -c '^ok' /lab/comings.tap.log) passed in $((SECONDS - began)) s" \
	"$(grep -A4 '^not ok' /lab/comings.tap.log | sed 's/^#* *//')"

for vm in a b; do
	cp "$BUILD/lab/$LAB/$vm/console.log" "/lab/$vm.console.log"
	why=$(complaints $vm)
	report $((${#why} > 0)) "VM $vm's kernel has nothing to say" "$why"
done
cp "$BUILD/lab/$LAB/vmshmd.log" /lab/ 2>/dev/null
QUIET=1 "$lab" down
report $? "they end"
ended
