#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What libvirt-xml and qemu-args print: valid by libvirt's own schema, turned
# into QEMU's arguments by libvirt, taken by a real QEMU, which then is the
# member that it says.

set -u
# shellcheck source=tests/ctl/common.sh
source "$(dirname "$(readlink -f "$0")")/common.sh"

begin() {
	trap tidy EXIT
	make_dir
	cat >"$CONF" <<-C
		runtime_dir = "$RUN";
		members = ( { name = "web"; cid = 3; }, { name = "db"; cid = 4; }, { name = "cache"; cid = 5; }, { name = "lone"; cid = 6; } );
		segments = ( { name = "web-db"; members = [ "web", "db" ]; size = "16M"; },
			{ name = "web-cache"; members = [ "web", "cache" ]; size = "16M"; vectors = 4; } );
	C
	daemon_start
}

case_libvirt_xml_fits_the_schema() {
	type virt-xml-validate >/dev/null 2>&1 || skip "there is no virt-xml-validate"
	begin || return
	for member in web lone; do
		ctl libvirt-xml --domain $member >"$DIR/$member.xml" && virt-xml-validate "$DIR/$member.xml" domain || return
	done
	# The schema can say no.
	sed 's/ivshmem-doorbell/ivshmem-bell/' "$DIR/web.xml" >"$DIR/wrong.xml"
	! virt-xml-validate "$DIR/wrong.xml" domain >/dev/null 2>&1 || fail "the schema takes anything" || return
	[[ $(ctl libvirt-xml web | grep -c '<shmem ') == 2 && $(ctl libvirt-xml web | grep -c vmshm.cid=3) == 1 ]]
}
# What libvirt's QEMU driver makes of it: the arguments that concern the member.
# Its driver works in this process alone, which is nobody's if it is root's.
native() {
	local as=()
	((EUID)) || as=(setpriv --reuid 65534 --regid 65534 --clear-groups)
	HOME=$DIR/libvirt XDG_RUNTIME_DIR=$DIR/libvirt timeout 60 "${as[@]}" virsh -q -c "qemu:///embed?root=$DIR/libvirt" domxml-to-native qemu-argv --xml "$1" 2>"$DIR/virsh.err"
}
case_libvirt_makes_the_arguments() {
	local args
	type virsh >/dev/null 2>&1 || skip "there is no virsh"
	begin || return
	ctl libvirt-xml --domain web | sed "s/type='kvm'/type='qemu'/" >"$DIR/web.xml" || return
	mkdir "$DIR/libvirt" && chmod 777 "$DIR/libvirt"
	args=$(native "$DIR/web.xml") || {
		grep -qE "embed|no connection driver|Cannot|unable" "$DIR/virsh.err" && [[ ! -e /usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so ]] &&
			skip "libvirt has no QEMU driver here"
		fail "$(<"$DIR/virsh.err")"
		return
	}
	grep -q 'type=11,value=vmshm.cid=3' <<<"$args" || fail "no SMBIOS string: $args" || return
	[[ $(grep -oE '"?driver"?[":]+"?ivshmem-doorbell|ivshmem-doorbell,' <<<"$args" | wc -l) == 2 ]] || fail "no two devices: $args" || return
	grep -qF "$RUN/web-db/web.sock" <<<"$args" && grep -qF "$RUN/web-cache/web.sock" <<<"$args" || fail "no sockets: $args" || return
	grep -qE '"vectors":4|vectors=4' <<<"$args" || fail "no vectors: $args"
}
all_connected() { [[ $(ctl --json members "$1" | jq "[.[0].places[].connected] | all") == true ]]; }
case_qemu_takes_the_arguments() {
	local -a args shell=()
	type qemu-system-x86_64 socat >/dev/null 2>&1 || skip "there is no qemu-system-x86_64 or no socat"
	begin || return
	mapfile -t args < <(ctl --json qemu-args web | jq -r '.[]')
	eval "shell=($(ctl qemu-args web | tr '\n' ' '))"
	[[ ${shell[*]} == "${args[*]}" ]] || fail "the shell reads ${shell[*]}" || return
	qemu-system-x86_64 -accel tcg -S -display none -nodefaults -m 32 -qmp "unix:$DIR/qmp,server=on,wait=off" \
		"${args[@]}" >"$DIR/qemu" 2>&1 &
	EXTRA+=($!)
	soon all_connected web || { cat "$DIR/qemu"; return 1; }
	[[ $(ctl --json members web | jq '.[0].places[0].pid') == "${EXTRA[0]}" && ! -s $DIR/qemu ]]
}
case_a_directory_with_a_comma() {
	begin && daemon_stop || return
	RUN="$DIR/a, b'c"
	sed -i "1s|.*|runtime_dir = \"$RUN\";|" "$CONF"
	daemon_start || return
	type qemu-system-x86_64 >/dev/null 2>&1 || skip "there is no qemu-system-x86_64"
	eval "args=($(ctl qemu-args db | tr '\n' ' '))"
	qemu-system-x86_64 -accel tcg -S -display none -nodefaults -m 32 "${args[@]}" >"$DIR/qemu" 2>&1 &
	EXTRA+=($!)
	soon said "member db: connected" || { cat "$DIR/qemu"; return 1; }
	! type xmllint >/dev/null 2>&1 || ctl libvirt-xml db | xmllint --noout -
}
case_nobody_and_a_broken_configuration() {
	begin || return
	ctl libvirt-xml nobody 2>&1 | grep -q "there is no member 'nobody'" || return
	echo broken >>"$CONF"
	ctl qemu-args web >/dev/null 2>&1
	[[ $? == 3 ]]
}

run_cases
