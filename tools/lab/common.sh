# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2034
#
# What every part of the lab shares: where things are, how it fails, the
# settings of a lab and what is known of its VMs. Sourced; it does nothing.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
BUILD=${BUILD:-$TOP/build}
[[ $BUILD == /* ]] || BUILD=$TOP/$BUILD
LABS=$BUILD/lab
TOOLS=$BUILD/lab-tools
KERNELS=$BUILD/kernels
LAB=${LAB:-default}
LABDIR=$LABS/$LAB

# VM n (from 0) has name, CID and address in these places.
NAMES=abcdefghijklmnopqrstuvwxyz
FIRST_CID=3
SUBNET=198.18.0
PORTS=16		# commands that can run in a VM at the same time

# What a lab is made of: said in the environment at `up`, kept in its folder.
SETTINGS=(KERNEL ACCEL CPUS MEM NET VHOST VECTORS SEGSIZE COUPLES NOMODULE NOSHM HOST REBOOT CMDLINE QEMU_ARGS)

die() { echo "vmshm-lab: $*" >&2; exit 1; }
say() { [[ -n ${QUIET:-} ]] || echo "$*"; }

need() {
	local tool
	for tool; do
		command -v "$tool" >/dev/null ||
			die "$tool is missing; install the packages: $TOP/tools/install-packages"
	done
}

# UNIX socket paths hold 107 bytes. A long folder is reached by a short link.
short_dir() {
	local link
	if ((${#LABDIR} <= 70)); then
		echo "$LABDIR"
		return
	fi
	link=/tmp/vmshm-lab-$(printf '%s' "$LABDIR" | cksum | cut -d' ' -f1)
	[[ -L $link ]] || ln -s "$LABDIR" "$link" 2>/dev/null
	[[ $(readlink "$link") == "$LABDIR" ]] ||
		die "$link is in the way: remove it (it should link to $LABDIR)"
	echo "$link"
}

vm_index() {
	local before=${NAMES%%"$1"*}
	[[ ${#1} == 1 && $before != "$NAMES" ]] || die "no VM can be called '$1': a to z"
	echo ${#before}
}
vm_cid() { echo $((FIRST_CID + $(vm_index "$1"))); }
vm_addr() { echo $SUBNET.$((1 + $(vm_index "$1"))); }

lab_vms() { cat "$LABDIR/vms" 2>/dev/null || true; }
lab_exists() { [[ -e $LABDIR/vms ]]; }
lab_needed() { lab_exists || die "lab $LAB is not up; start it: vmshm-lab up"; }

# A process of this lab: its id is in FILE and it is what the id says it is.
pid_of() {
	local pid
	pid=$(cat "$1" 2>/dev/null) && [[ -n $pid ]] || return 1
	tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "$LABDIR/" || return 1
	echo "$pid"
}
vm_pid() { pid_of "$LABDIR/$1/pid"; }

load_settings() {
	# shellcheck source=/dev/null
	source "$LABDIR/settings"
	RUN=$(short_dir)
}
save_settings() {
	local name
	for name in "${SETTINGS[@]}"; do
		printf '%s=%q\n' "$name" "${!name}"
	done >"$LABDIR/settings"
}

# Waits until COMMAND succeeds, SECONDS at most.
wait_for() {
	local limit=$1 end
	shift
	end=$((SECONDS + limit))
	until "$@"; do
		((SECONDS < end)) || return 1
		sleep 0.02
	done
}

# One `up`, `down` or `add` of a lab at a time. The lock is on the lab's folder,
# which another one may have removed meanwhile.
with_lock() {
	while :; do
		mkdir -p "$LABDIR"
		exec {LOCK}<"$LABDIR"
		flock -w 200 "$LOCK" || die "lab $LAB is busy: another vmshm-lab has been starting or ending it for 200 s"
		[[ /proc/$$/fd/$LOCK -ef $LABDIR ]] && return
		exec {LOCK}<&-
	done
}

# Starts a process that outlives this one, which must not inherit the lock:
# background PIDFILE LOGFILE COMMAND...
background() {
	local pidfile=$1 log=$2
	shift 2
	(
		exec {LOCK}<&- </dev/null >>"$log" 2>&1
		exec setsid "$@"
	) &
	echo $! >"$pidfile"
	# Until then it is a shell that pid_of() does not know, and looks dead. Where QEMU
	# comes from a cold 9p of a VM that is itself emulated, that takes seconds.
	wait_for 60 has_begun "$pidfile"
}
has_begun() { pid_of "$1" >/dev/null || gone "$(<"$1")"; }

# A process that its parent has not yet asked after (state Z) is gone too.
gone() { ! grep -qs '^State:[[:space:]][^ZX]' "/proc/$1/status"; }
