# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# An ivshmem device of a running VM, pulled out and put in again: what QEMU is
# told and in which order (qmp-unplug says why). The chardev goes with the
# device: QEMU keeps a connection to the server that a second device can't use.
# Without KVM the peer's VM stands still meanwhile: a doorbell that arrives just when
# QEMU 7.2 takes the device apart calls a handler that runs on freed memory. With KVM
# the kernel delivers doorbells, and the peer goes on ringing.

# The segment that VM $1 shares with VM $2.
segment_with() {
	local segment
	for segment in $(segments_of "$1"); do
		[[ $segment != "$1-$2" && $segment != "$2-$1" ]] || { echo "$segment"; return; }
	done
	die "VM $1 has no segment with VM '$2'"
}

cmd_unplug() {
	local vm=$1 segment status paused=
	vm_pid "$vm" >/dev/null || die "VM $vm is not running"
	segment=$(segment_with "$vm" "${2:?unplug VM PEER: which peer?}") || exit 1
	grep -qsx "$segment" "$LABDIR/$vm/segments" || die "VM $vm has no device for segment $segment"
	if [[ $ACCEL != kvm ]] && vm_pid "$2" >/dev/null; then
		paused=1
		lab_qmp "$2" stop >/dev/null
	fi
	"$TOP/tools/lab/qmp-unplug" "$RUN/$vm/qmp.sock" "shm-$segment" "chr-$segment"
	status=$?
	[[ -z $paused ]] || lab_qmp "$2" cont >/dev/null
	((status == 0)) || exit 1
	sed -i "/^$segment\$/d" "$LABDIR/$vm/segments"
}

# All that were unplugged.
cmd_plug() {
	vm_pid "$1" >/dev/null || die "VM $1 is not running"
	daemon_plug "$1"
}
