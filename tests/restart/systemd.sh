#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# systemd.sh BUILD RESULT: runs tests/daemon's restart under a systemd, with the
# units that are shipped, and then socket-unit; their TAP goes to RESULT.restart
# and RESULT.socket. To be run in a VM: systemd is the
# first process of namespaces of its own there (of processes, mounts, cgroups),
# with no units but those that are made here.

set -u
BUILD=$1 RESULT=$2
TOP=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
SHIPPED=$TOP/tools/vmshmd/systemd
[[ -x /lib/systemd/systemd ]] || { echo "1..0 # SKIP there is no systemd" | tee "$RESULT.restart" >"$RESULT.socket"; exit 0; }

if [[ -z ${INSIDE:-} ]]; then
	mkdir -p /sys/fs/cgroup/vmshm-systemd && echo $$ >/sys/fs/cgroup/vmshm-systemd/cgroup.procs || exit 1
	INSIDE=1 exec unshare --fork --pid --mount-proc --mount --cgroup --kill-child "$0" "$BUILD" "$RESULT"
fi

mount -t tmpfs -o mode=755 tmpfs /run || exit 1
# The same file system is not mounted twice in a place.
umount /sys/fs/cgroup && mount -t cgroup2 cgroup /sys/fs/cgroup || exit 1
systemd-sysusers "$SHIPPED/vmshmd.sysusers" || exit 1
units=/run/units
mkdir -p $units/vmshmd.service.d /run/vmshm-test
for target in sysinit basic multi-user shutdown; do printf '[Unit]\nDefaultDependencies=no\n' >$units/$target.target; done
install -m 755 "$BUILD/vmshmd/vmshmd" /run/vmshmd
sed 's#@sbindir@#/run#' "$SHIPPED/vmshmd.service.in" >$units/vmshmd.service
mkdir $units/vmshmd-control.socket.d
cp "$SHIPPED/../vmshmd-control.socket" $units/
printf '[Socket]\nSocketGroup=adm\n' >$units/vmshmd-control.socket.d/group.conf
# The watchdog is to bark while the test waits.
cat >$units/vmshmd.service.d/test.conf <<-C
	[Service]
	ExecStart=
	ExecStart=/run/vmshmd --config /run/vmshm-test/conf
	StandardError=append:/run/vmshm-test/log
	WatchdogSec=5s
C
cat >$units/vmshm-test.service <<-C
	[Unit]
	DefaultDependencies=no
	SuccessAction=exit-force
	FailureAction=exit-force
	[Service]
	Type=oneshot
	Environment=RESTARTS=${RESTARTS:-50}
	ExecStart=/bin/sh -c 'exec $BUILD/tests/daemon/restart --systemd >$RESULT.restart'
	ExecStart=/bin/sh -c 'exec $TOP/tests/restart/socket-unit $BUILD/vmshmctl/vmshmctl >$RESULT.socket'
	ExecStopPost=/bin/sh -c '{ cat /run/vmshm-test/log; systemctl --no-pager status vmshmd.service; } >&2'
	StandardError=file:$RESULT.err
C
printf '[Unit]\nDefaultDependencies=no\nWants=vmshm-test.service\n' >$units/vmshm-test.target
export SYSTEMD_UNIT_PATH=$units container=vmshm-test
exec /lib/systemd/systemd --system --unit=vmshm-test.target --log-target=console --log-level=notice --show-status=no
