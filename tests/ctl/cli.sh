#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# vmshmctl and the daemon behind it: what is shown, what is added and removed,
# kick and drain, metrics, who may connect. The VMs are none (vm.c).

set -u
# shellcheck source=tests/ctl/common.sh
source "$(dirname "$(readlink -f "$0")")/common.sh"

# Each case has a daemon of its own; what it leaves is ended with its shell.
begin() {
	trap tidy EXIT
	make_dir
	config "$@"
	daemon_start
}
is() { [[ $2 == "$3" ]] || fail "$1 is '$2', expected '$3'"; }
refused() { # status text command...: vmshmctl refuses with this status and says this
	local status=$1 text=$2 out got
	shift 2
	out=$(ctl "$@" 2>&1)
	got=$?
	[[ $got == "$status" && $out == *"$text"* ]] || fail "vmshmctl $*: status $got: $out"
}

place() { # MEMBER EXPRESSION VALUE: of its first place
	[[ $(ctl --json members "$1" | jq -c ".[0].places[0] | $2") == "$3" ]]
}
wish_is() { [[ $(tell "$1" drain) == "$2" ]]; }

case_status_and_version() {
	begin && vm web-db web || return
	is members "$(ctl --json status | jq -c '[.members, .segments, .couples, .seats, .connected]')" '[3,1,1,2,1]' &&
		is config "$(ctl --json status | jq -r .config)" "$CONF" &&
		is pid "$(ctl --json status | jq -r .pid)" "$(pgrep -P "$DAEMON")" &&
		ctl status | grep -q '^connected  *1 of 2' &&
		is version "$(ctl --json version | jq -r '.vmshmctl == .daemon.vmshmd and .abi == .daemon.abi')" true &&
		daemon_stop
}
case_members_come_and_go() {
	begin && vm web-db web || return
	is connected "$(ctl members --json web | jq -c '.[0].places[0] | [.connected, .presence, .connects, .pid]')" \
		"[true,1,1,${PIDS[web]}]" || return
	"$VM" "$RUN" web-db web 2>/dev/null </dev/null && { fail "a second one was let in"; return; }
	is refused "$(ctl members --json web | jq '.[0].places[0].refused')" 1 || return
	vm_end web
	soon place web "[.connected, .presence]" "[false,2]" &&
		vm web-db web && is again "$(ctl members --json web | jq -c '.[0].places[0] | [.connected, .presence, .connects]')" \
		'[true,3,2]' && ctl members | grep -q "^cache .*no segment"
}
case_couples_and_rings_are_the_guests_word() {
	local before after
	begin && vm web-db web && vm web-db db || return
	before=$(ctl --json couples | jq '.[0].resident')
	is state "$(ctl --json couples | jq -r '.[0].sides[0].guest_says.state')" down || return
	for ((i = 0; i < 50; i++)); do ctl rings >/dev/null && ctl couples >/dev/null || return; done
	after=$(ctl --json couples | jq '.[0].resident')
	is "memory after reading what nobody touched" "$after" "$before" || return
	is up "$(tell web up & tell db up; wait)" $'ok\nok' || return
	is set "$(tell web 'set tx_bytes 123456789012')$(tell web 'set ring_full 7')$(tell web 'set connections 3')" okokok || return
	is rings "$(ctl --json rings web | jq -c '.[] | select(.from == "web") | [.to, .guest_says.tx_bytes, .guest_says.ring_full, .guest_says.connections]')" \
		'["db",123456789012,7,3]' &&
		ctl couples web-db | grep -qF "the guests' word" && ctl rings | grep -qE '^web-db +web +db +115G'
}
case_each_ring() {
	begin && vm web-db web && vm web-db db || return
	is listed "$(tell web 'ring 0 16 80 1024')$(tell web 'ring 69632 12 81 1025')" okok || return
	# What can't be: not on a page, too large, beyond the half, and a count that is a lie.
	is lies "$(tell web 'ring 100 12 1 1')$(tell web 'ring 0 40 1 1')$(tell web 'ring 8323072 24 1 1')$(tell web 'ring 18446744073709547520 12 1 1')" okokokok || return
	is rings "$(ctl --json rings --each | jq -c '[.[] | [.from, .to, .guest_says.from_port, .guest_says.to_port, .guest_says.size, .guest_says.waiting]]')" \
		'[["db","web",1024,80,65536,1000],["db","web",1025,81,4096,1000]]' &&
		ctl rings --each | grep -qE '^web-db +db +1024 +web +80 +4\.9K +1000B +64\.0K +open$' &&
		tell db "set rings 99999999999" >/dev/null && is others "$(ctl --json rings --each db | jq 'length >= 2')" true &&
		refused 2 "--each is not for" status --each
}
case_rings_of_names_without_rings() {
	begin && vm web-db web && vm web-db db && is listed "$(tell web 'ring 0 16 80 1024')" ok || return
	is "who only receives" "$(ctl --json rings --each web)" "[]" &&
		is "who is nowhere" "$(ctl --json rings --each cache)$(ctl --json rings cache)" "[][]" &&
		is "both" "$(ctl --json rings --each db cache | jq length)" 1 &&
		ctl rings --each web | grep -q '^SEGMENT ' &&
		refused 1 "there is no nobody; see: vmshmctl members" rings --each nobody &&
		refused 1 "there is no nobody; see: vmshmctl members" rings web nobody
}
# More than an answer has, in segments that come first.
case_each_ring_of_a_late_segment() {
	local pair one cid=10
	trap tidy EXIT
	make_dir
	config
	mkdir "$CONF.d"
	for pair in a-b c-d e-f g-h; do
		echo "members = ( { name = \"${pair%-*}\"; cid = $((cid++)); }, { name = \"${pair#*-}\"; cid = $((cid++)); } );" \
			"couples = ( { members = [ \"${pair%-*}\", \"${pair#*-}\" ]; size = \"1M\"; } );" >"$CONF.d/$pair.conf"
	done
	daemon_start || return
	for pair in a-b c-d e-f g-h; do
		for one in "${pair%-*}" "${pair#*-}"; do
			vm "$pair" "$one" && is "$one" "$(tell "$one" fill)" ok || return
		done
	done
	vm web-db web && is listed "$(tell web 'ring 0 12 80 1024')" ok && is all "$(ctl --json rings --each | jq length)" 4096 &&
		is "of the segment" "$(ctl --json rings --each web-db | jq -c '[.[] | [.from, .to]]')" '[["db","web"]]' &&
		is "of the member" "$(ctl --json rings --each db | jq -c '[.[] | [.from, .to]]')" '[["db","web"]]'
}
case_top_shows_rates() {
	begin && vm web-db web || return
	tell web 'set tx_msgs 1000' >/dev/null
	(for ((i = 1; i < 60; i++)); do tell web "set tx_bytes $((i * 1000000))" >/dev/null; sleep 0.05; done) &
	ctl --json top --count 2 --interval 0.5 | jq -s -e 'length == 2 and (.[1] | map(select(.from == "web"))[0].guest_says.tx_bytes_per_second > 1000000)' >/dev/null ||
		fail "no rate" || return
	ctl top --count 1 --interval 0.1 | grep -q '^SEGMENT .*BYTES/s\*' || return
	# On a terminal: it draws, and q ends it.
	(sleep 1; printf q; sleep 1) | timeout 20 script -qec "stty cols 120 rows 20; TERM=xterm $VMSHMCTL -s $RUN/control.sock top -i 0.2" "$DIR/screen" >/dev/null
	grep -qa "the guests' word; q ends" "$DIR/screen" && grep -qa 'web-db' "$DIR/screen"
}
case_top_goes_on_when_the_daemon_is_restarted() {
	local top
	begin && vm web-db web || return
	(soon test -e "$DIR/enough" && printf q && sleep 1) |
		timeout 20 script -qefc "stty cols 120 rows 20; ASAN_OPTIONS=detect_leaks=0 TERM=xterm $VMSHMCTL -s $RUN/control.sock top -i 0.2" "$DIR/screen" >/dev/null 2>&1 &
	top=$!
	soon grep -qa "q ends" "$DIR/screen" && daemon_stop && soon grep -qa "vmshmd has not answered for" "$DIR/screen" && daemon_start || return
	sleep 1
	touch "$DIR/enough"
	wait "$top"
	is status $? 0
}
# The daemon lets go of who is silent for a minute.
case_top_is_let_go_between_two_looks() {
	local out
	trap tidy EXIT
	mkdir -p "$RUN"
	fake_daemon forgets || return
	out=$(ctl top --count 2 --interval 0.1 2>&1)
	is status $? 0 && is looks "$(grep -c '^SEGMENT ' <<<"$out")" 2 || return
	kill "${EXTRA[0]}" && wait "${EXTRA[0]}" 2>/dev/null
	refused 1 "is vmshmd running?" top --count 1
}
names() { ctl --json couples | jq -r '[.[].segment] | sort | join(" ")'; }
case_groups_are_expanded_to_couples() {
	begin 'couples = ( { members = [ "db", "cache" ]; size = "1M"; } );' || return
	is couples "$(names)" "db-cache web-db" && vm db-cache cache || return
	mkdir "$CONF.d" && cat >"$CONF.d/more.conf" <<-'C' && ctl reload >/dev/null || return
		members = ( { name = "queue"; cid = 6; }, { name = "mail"; cid = 7; } );
		couples = ( { members = [ "web", "queue", "mail" ]; size = "1M"; } );
	C
	is couples "$(names)" "db-cache queue-mail web-db web-mail web-queue" &&
		vm web-mail mail && vm queue-mail queue && refused 3 "expected one segment a couple" add couple mail web --name=other || return
	rm "$CONF.d/more.conf" && ctl reload >/dev/null && is couples "$(names)" "db-cache web-db" &&
		is connected "$(ctl members --json cache | jq -c '.[0].places[0].connected')" true
}
case_add_and_remove() {
	begin && vm web-db web || return
	ctl add member queue --cid=6 --mode=0600 >/dev/null && ctl add couple queue web --size=1M --vectors=1 >/dev/null || return
	is file "$(<"$CONF.d/segment-queue-web.conf")" $'# Written by vmshmctl; see vmshmd.conf(5).\nsegments = ( { name = "queue-web"; members = [ "queue", "web" ]; size = "1M"; vectors = 1; } );' &&
		is socket "$(stat -c %a "$RUN/queue-web/queue.sock")" 600 && vm queue-web queue 2>/dev/null
	ctl add segment trio db cache queue --shared --size=16M >/dev/null &&
		is couples "$(ctl --json status | jq .couples)" 5 &&
		refused 3 "there is no member 'queue'" remove member queue &&
		ctl remove segment trio >/dev/null && ctl remove couple queue web >/dev/null && ctl remove member queue >/dev/null &&
		is members "$(ctl --json status | jq -c '[.members, .segments]')" '[3,1]' &&
		is "what is left" "$(ls -A "$CONF.d")" "" && [[ ! -e $RUN/queue-web ]] &&
		is "who was connected" "$(ctl --json members web | jq -c '.[0].places[0] | [.connected, .presence]')" '[true,1]'
}
# By who is in it, not by the name that the segment would have.
case_remove_a_couple_by_its_members() {
	begin && ctl add couple web cache >/dev/null && ctl remove couple cache web >/dev/null &&
		ctl add couple web cache --name=fast >/dev/null && ctl remove couple web cache >/dev/null &&
		is left "$(ls -A "$CONF.d")" "" || return
	ctl add member a --cid=11 >/dev/null && ctl add member a-b --cid=12 >/dev/null && ctl add member b-c --cid=13 >/dev/null && ctl add member c --cid=14 >/dev/null &&
		ctl add couple a-b c >/dev/null && ctl add segment trio web cache a --shared >/dev/null || return
	refused 1 "no file in $CONF.d has just the couple a and b-c: what vmshmctl has not added is removed by hand, in $CONF" remove couple a b-c &&
		refused 1 "just the couple web and cache" remove couple web cache &&
		is couples "$(names)" "a-b-c trio trio trio web-db"
}
case_add_the_host() {
	begin || return
	mkdir -p "$CONF.d"
	refused 3 "'cid' is 5 with 'host = true', expected 2" add member host --host --cid 5 &&
		refused 3 "'cid' is 2, which is the host's" add member host --cid 2 &&
		refused 2 "--host is a member's" add couple host web --host &&
		ctl add member host --host >/dev/null && ctl add couple host web >/dev/null && [[ -S $RUN/host-web/host.sock ]] &&
		is "its CID" "$(ctl --json members host | jq '.[0].cid')" 2 &&
		refused 1 "is a process on the host, no VM" qemu-args host && refused 1 "is a process on the host, no VM" libvirt-xml host &&
		ctl remove couple host web >/dev/null && ctl remove member host >/dev/null && [[ ! -e $RUN/host-web ]]
}
case_add_what_cannot_be() {
	begin || return
	mkdir -p "$CONF.d"
	refused 3 "CID 3 is given twice (before: $CONF:2)" add member x --cid 3 &&
		refused 3 "there is no member 'nobody'" add couple web nobody &&
		refused 3 "are a couple already ($CONF:3)" add couple db web &&
		refused 2 "needs --cid" add member x &&
		refused 2 "two members" add couple web &&
		refused 2 "expected a number" add member x --cid 3x &&
		refused 2 "no quotes" add couple web cache --owner 'a"b' &&
		refused 2 "is no name" add member ../x --cid 9 &&
		refused 2 "expected member, couple or segment" add thing x &&
		refused 2 "--cid is not for" status --cid 3 &&
		refused 2 "is no command" frobnicate &&
		refused 1 "what vmshmctl has not added is removed by hand" remove couple web db &&
		is left "$(ls -A "$CONF.d")" "" && ctl add couple web cache >/dev/null &&
		refused 1 "is there already" add couple web cache || return
	# The daemon refuses: a file stands where a socket is to be.
	mkdir "$RUN/cache-db" && touch "$RUN/cache-db/db.sock"
	refused 1 "is there and is no socket" add couple cache db && is left "$(ls "$CONF.d")" segment-web-cache.conf
}
case_add_is_readable_whatever_the_umask() {
	begin || return
	(umask 077 && ctl add couple web cache >/dev/null) || return
	is "the directory's mode" "$(stat -c %a "$CONF.d")" 755 && is "the file's mode" "$(stat -c %a "$CONF.d/segment-web-cache.conf")" 644
}
case_add_without_a_daemon() {
	begin && daemon_stop || return
	ctl add couple web cache | grep -q "will read it when it starts" && daemon_start &&
		is segments "$(ctl --json status | jq .segments)" 2 && refused 1 "no segment has a member" kick nobody
}
# It may have read the files, or not.
case_add_and_remove_without_an_answer() {
	local file=$CONF.d/segment-web-cache.conf
	trap tidy EXIT
	mkdir -p "$RUN"
	config
	fake_daemon hangs-up reload || return
	refused 0 "added: $file; vmshmd has not answered: it reads the files when it starts, or at vmshmctl reload" add couple web cache &&
		[[ -e $file ]] && refused 1 "is there already" add couple web cache &&
		refused 0 "removed: $file; vmshmd has not answered" remove couple web cache &&
		is left "$(ls -A "$CONF.d")" "" &&
		is json "$(ctl --json add couple web cache | jq -c '[.done, .running, .told]')" '["added",true,false]'
}
case_add_by_who_may_not_ask() {
	((EUID == 0)) || skip "only root becomes somebody else"
	begin && mkdir "$CONF.d" && chown 1234 "$CONF.d" || return
	ASAN_OPTIONS=detect_leaks=0 setpriv --reuid 1234 --regid 1234 --clear-groups "$VMSHMCTL" -s "$RUN/control.sock" -c "$CONF" add couple web cache >"$DIR/out" 2>&1
	grep -qF "; you may not ask vmshmd (see control_group): it reads the files when it starts" "$DIR/out" || { cat "$DIR/out"; return 1; }
	is segments "$(ctl --json status | jq .segments)" 1 && ctl reload >/dev/null && is segments "$(ctl --json status | jq .segments)" 2
}
case_check() {
	begin || return
	ctl check | grep -q "is right" || return
	mkdir -p "$CONF.d"
	echo 'members = ( { name = "q"; cid = 1; } );' >"$CONF.d/10-q.conf"
	echo 'nonsense = 1;' >"$CONF.d/20.conf"
	echo 'not read {' >"$CONF.d/notes.txt"
	refused 3 "$CONF.d/10-q.conf:1: 'cid' is 1, expected 3 to 65534" check &&
		refused 3 "$CONF.d/20.conf:1: unknown setting 'nonsense' in a file of additions, expected one of: members, segments" check &&
		refused 3 "2 mistakes in $CONF" check && refused 1 "2 mistakes" reload &&
		is counted "$(ctl --json status | jq -c '[.reloads, .reloads_refused]')" '[0,1]'
}
case_kick() {
	begin && vm web-db web && vm web-db db || return
	refused 1 "there is no member web in a segment nope" kick web --segment nope &&
		refused 1 "no segment has a member nobody" kick nobody || return
	out=$(ctl kick web) || return
	[[ $out == *"Not revoked: its QEMU has the memory mapped"* ]] || fail "$out" || return
	is "the peer's bell" "$(tell db bell)" rang || return
	soon place web "[.connected, .kicked, .presence]" "[false,1,2]" &&
		is "who stays" "$(ctl --json members db | jq -c '.[0].places[0].connected')" true &&
		ctl kick web | grep -q "not connected" && vm_end web && vm web-db web
}
# What vmshmctl says of web, but for the clock.
place_of_web() { ctl --json members web | jq -c '.[0].places[0] | [.connected, .presence, .since, .connects, .refused, .kicked, .draining, .pid, .uid]'; }
crash() {
	local ready
	ready=$(grep -c '^vmshmd: ready' "$DIR/log")
	kill -KILL "$(pgrep -P "$DAEMON")"
	soon ready_again "$ready"
}
ready_again() { (($(grep -c '^vmshmd: ready' "$DIR/log") > $1)); }
case_what_is_counted_outlives_the_daemon() {
	local before
	begin && vm web-db web || return
	vm_end web
	soon place web "[.connected, .presence]" "[false,2]" && vm web-db web || return
	"$VM" "$RUN" web-db web 2>/dev/null </dev/null && { fail "a second one was let in"; return; }
	ctl kick web >/dev/null && vm_end web
	soon place web ".connected" false && vm web-db web && vm web-db db || return
	ctl drain web --timeout 0 >/dev/null 2>&1
	before=$(place_of_web)
	is before "$(jq -c 'del(.[2])' <<<"$before")" "[true,5,3,1,1,true,${PIDS[web]},$UID]" || return
	sleep 1.1
	crash && is after "$(place_of_web)" "$before" || return
	kill -USR2 "$DAEMON" && soon said "taken over: 1 segment, 2 connections" && soon ctl status >/dev/null &&
		is again "$(place_of_web)" "$before" && is wish "$(tell web drain)" "1 0" || return
	ctl drain web --undo >/dev/null && crash && soon place web .draining false
}
case_a_drain_goes_on_while_the_daemon_is_restarted() {
	begin && vm web-db web && vm web-db db || return
	is up "$(tell web up & tell db up; wait)" $'ok\nok' || return
	tell web 'set connections 1' >/dev/null && tell db 'set connections 1' >/dev/null
	ctl drain web --timeout 60 >"$DIR/drain" 2>&1 &
	local drain=$!
	soon grep -q "2 sides have not answered" "$DIR/drain" && is heard "$(tell web heed)$(tell db heed)" okok &&
		soon grep -q "1 connection left" "$DIR/drain" && crash || return
	sleep 0.5
	tell web 'set connections 0' >/dev/null && tell db 'set connections 0' >/dev/null
	wait $drain || { cat "$DIR/drain"; return 1; }
	grep -q "no connection is left" "$DIR/drain"
}
# Restarted with a faulty file it serves VMs; with the first right one, vmshmctl.
case_a_control_socket_when_the_file_is_right_again() {
	begin && vm web-db web && cp "$CONF" "$DIR/right" || return
	echo "nonsense" >>"$CONF" && crash && soon said "what was served before still is" || return
	refused 1 "" status || return
	kill -HUP "$DAEMON" && soon said "not reloaded: " && vm web-db db || return
	cp "$DIR/right" "$CONF" && kill -HUP "$DAEMON" && soon said "reloaded $CONF" &&
		soon ctl status >/dev/null && is connected "$(ctl --json status | jq .connected)" 2 && crash && soon ctl status >/dev/null
}
case_drain() {
	begin && vm web-db web && vm web-db db || return
	is up "$(tell web up & tell db up; wait)" $'ok\nok' || return
	tell web 'set connections 2' >/dev/null
	tell db 'set connections 2' >/dev/null
	# They were rung when the other came.
	tell web bell >/dev/null
	tell db bell >/dev/null
	ctl drain web --timeout 60 >"$DIR/drain" 2>&1 &
	local drain=$!
	is bells "$(tell web bell)$(tell db bell)" rangrang || return
	is wish "$(tell web drain) $(tell db drain)" "1 0 0 1" || return
	soon grep -q "2 sides have not answered" "$DIR/drain" || return
	is heard "$(tell web heed)$(tell db heed)" okok || return
	soon grep -q "2 connections left (web-db: 2)" "$DIR/drain" || return
	is shown "$(ctl --json members web | jq '.[0].places[0].draining')" true || return
	tell web 'set connections 1' >/dev/null
	tell db 'set connections 1' >/dev/null
	soon grep -q "1 connection left" "$DIR/drain" || return
	tell web 'set connections 0' >/dev/null
	tell db 'set connections 0' >/dev/null
	wait $drain || { cat "$DIR/drain"; return 1; }
	grep -q "no connection is left" "$DIR/drain" || return
	vm_end web
	soon wish_is db "0 0" || fail "the wish outlives the member"
}
case_drain_that_takes_too_long_and_undo() {
	begin && vm web-db web && vm web-db db || return
	is up "$(tell web up & tell db up; wait)" $'ok\nok' || return
	tell web 'set connections 5' >/dev/null
	(sleep 0.5; tell web heed; tell db heed) >/dev/null &
	refused 1 "5 connections left after 2 s" drain web --timeout 2 &&
		is wish "$(tell web drain)" "1 0" && ctl drain web --undo >/dev/null && is undone "$(tell web drain)" "0 0" || return
	# No module, nobody there: nothing to wait for.
	ctl drain cache 2>&1 | grep -q "no segment has a member cache" && vm_end db && soon place db .connected false && ctl drain db >/dev/null
}
# fake_daemon DOES [AT]: takes connections and orders; at this one, couples unless it is said, it
# hangs-up, is-mute, or restarts, which is to hang up once; or it forgets who had an answer.
# $DIR/count: how many connections came.
fake_daemon() {
	python3 - "$RUN/control.sock" "$1" "$DIR/count" "${2:-couples}" <<-'P' &
		import json, socket, sys
		path, does, count, at = sys.argv[1:]
		listener = socket.socket(socket.AF_UNIX)
		listener.bind(path)
		listener.listen(64)
		open_ones, n, hung_up = [], 0, False
		while True:
		    s, _ = listener.accept()
		    n += 1
		    with open(count, "w") as f:
		        f.write(str(n))
		    stream = s.makefile("rw")
		    while line := stream.readline():
		        if at not in line or hung_up:
		            result = [] if "couples" in line else {}
		            print(json.dumps({"ok": True, "result": result}), file=stream, flush=True)
		            if does == "forgets":
		                break
		            continue
		        hung_up = does == "restarts"
		        if does == "is-mute":
		            open_ones.append((s, stream))
		        break
		    if does != "is-mute":
		        stream.close()
		        s.close()
	P
	EXTRA+=($!)
	soon test -S "$RUN/control.sock"
}
drain_of_a_fake() { # DOES STATUS TEXT
	local began out got
	EXTRA=()
	trap tidy EXIT
	mkdir -p "$RUN"
	fake_daemon "$1" || return
	began=$(date +%s%N)
	out=$(ASAN_OPTIONS=detect_leaks=0 timeout 15 "$VMSHMCTL" --socket "$RUN/control.sock" drain a --timeout=3 2>&1)
	got=$?
	is "what comes of one that $1" "$got $out" "$2 $3" || return
	# Nor does it ask without a pause.
	(($(date +%s%N) - began < 8000000000 && $(<"$DIR/count") < 20)) ||
		fail "$(<"$DIR/count") connections, $((($(date +%s%N) - began) / 1000000)) ms"
}
case_drain_of_a_daemon_that_hangs_up_comes_to_its_end() {
	drain_of_a_fake hangs-up 1 "vmshmctl: $RUN/control.sock: the daemon hung up"
}
case_drain_of_a_daemon_that_is_mute_comes_to_its_end() {
	drain_of_a_fake is-mute 1 "vmshmctl: $RUN/control.sock: no answer in time"
}
case_drain_of_a_daemon_that_hangs_up_once() {
	drain_of_a_fake restarts 0 "a: no connection is left; its devices can be unplugged now"
}
# A daemon that is stopped takes nobody any more when its queue is full.
case_a_full_queue() {
	local began
	trap tidy EXIT
	mkdir -p "$RUN"
	python3 - "$RUN/control.sock" <<-'P' &
		import os, socket, sys, time
		listener = socket.socket(socket.AF_UNIX)
		listener.bind(sys.argv[1] + ".new")
		listener.listen(0)
		full = []
		while True:
		    full.append(socket.socket(socket.AF_UNIX))
		    full[-1].setblocking(False)
		    if full[-1].connect_ex(sys.argv[1] + ".new"):
		        break
		os.rename(sys.argv[1] + ".new", sys.argv[1])
		time.sleep(60)
	P
	EXTRA+=($!)
	soon test -S "$RUN/control.sock" || return
	began=$(date +%s)
	refused 1 "control.sock: vmshmd takes no connections; does it hang, or are too many open?" drain web --timeout 1
	is "in time" "$(($(date +%s) - began < 15))" 1
}
case_the_tables_page_is_punched_out() {
	begin && vm web-db web && vm web-db db || return
	is punch "$(tell web punch)" ok && ctl drain web --timeout 0 >/dev/null 2>&1
	is "alive" "$(ctl --json status | jq .connected)" 2 && daemon_stop
}
case_metrics() {
	local text port=$((20000 + RANDOM % 20000))
	begin "metrics = \"$DIR/metrics.sock\";" && vm web-db web || return
	tell web 'set tx_bytes 42' >/dev/null
	text=$(curl -sf --max-time 20 --unix-socket "$DIR/metrics.sock" http://localhost/metrics) || fail "no metrics" || return
	grep -qxF 'vmshm_member_connected{segment="web-db",member="web",cid="3"} 1' <<<"$text" &&
		grep -qxF 'vmshm_guest_transmit_bytes_total{segment="web-db",member="web",peer="db"} 42' <<<"$text" &&
		grep -qF "The guest's word." <<<"$text" || fail "$text" || return
	# Each name once with its type, each line a sample or a comment.
	awk '/^# TYPE /{ if ($3 in type) exit 1; type[$3] = 1; next } /^# HELP /{ next }
		!/^vmshm_[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9]+$/{ exit 1 }' <<<"$text" || fail "no such format" || return
	is "another page" "$(curl -s -o /dev/null -w '%{http_code}' --unix-socket "$DIR/metrics.sock" http://localhost/)" 404 &&
		is "another method" "$(curl -s -o /dev/null -w '%{http_code}' -d x --unix-socket "$DIR/metrics.sock" http://localhost/metrics)" 405 &&
		daemon_stop && [[ ! -e $DIR/metrics.sock ]] || return
	config "metrics = \"127.0.0.1:$port\";"
	daemon_start && curl -sf --max-time 20 "http://127.0.0.1:$port/metrics" | grep -q '^vmshm_couples 1$' || return
	# The unit leaves no family but AF_UNIX, say: the VMs are served all the same.
	daemon_stop && config 'metrics = "/nowhere/at/all";' && daemon_start || return
	said "metrics: cannot listen on /nowhere/at/all, so nobody is served there: No such file or directory" &&
		ctl status >/dev/null || return
	config 'metrics = "0.0.0.0:80";'
	refused 3 "CONF:4: 'metrics' is '0.0.0.0:80', expected an absolute path, 127.0.0.1:PORT or [::1]:PORT" check 2>/dev/null ||
		ctl check 2>&1 | grep -q "'metrics' is '0.0.0.0:80', expected an absolute path"
}
case_metrics_leave_others_sockets_alone() {
	make_dir
	python3 -c 'import socket, sys, time
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(8); time.sleep(600)' "$DIR/metrics.sock" &
	EXTRA=($!)
	soon test -S "$DIR/metrics.sock" && begin "metrics = \"$DIR/metrics.sock\";" || return
	said "metrics: cannot listen on $DIR/metrics.sock, so nobody is served there: Address already in use; end who does" &&
		python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])' "$DIR/metrics.sock" || return
	daemon_stop && [[ -S $DIR/metrics.sock ]] || return
	kill -KILL "${EXTRA[0]}"
	wait "${EXTRA[0]}" 2>/dev/null
	daemon_start && curl -sf --max-time 20 --unix-socket "$DIR/metrics.sock" http://localhost/metrics | grep -q '^vmshm_couples 1$' ||
		fail "what is left of one who is gone is not replaced" || return
	daemon_stop
}
case_who_may_connect() {
	begin 'control_group = "4321";' || return
	is mode "$(stat -c '%a %g' "$RUN/control.sock")" "660 4321" || return
	if ((EUID == 0)); then
		setpriv --reuid 1234 --regid 4321 --clear-groups "$VMSHMCTL" -s "$RUN/control.sock" status >/dev/null || fail "the group is refused" || return
		setpriv --reuid 1234 --regid 1234 --clear-groups "$VMSHMCTL" -s "$RUN/control.sock" status 2>&1 | grep -q "control_group" ||
			fail "others are not refused" || return
	fi
	config 'control_group = "4322"; control_mode = "0600";'
	ctl reload >/dev/null && is changed "$(stat -c '%a %g' "$RUN/control.sock")" "600 4322" && daemon_stop && [[ ! -e $RUN/control.sock ]] || return
	config
	mkdir "$RUN" 2>/dev/null
	touch "$RUN/control.sock"
	"$VMSHMD" --config "$CONF" 2>"$DIR/log"
	is status $? 1 && said "control.sock is there and is no socket; remove it"
}
case_a_socket_from_systemd() {
	type systemd-socket-activate >/dev/null 2>&1 || skip "there is no systemd-socket-activate"
	trap tidy EXIT
	mkdir -p "$DIR/ours"
	config
	systemd-socket-activate --fdname=control -l "$DIR/ours/control.sock" -E PATH "$VMSHMD" --config "$CONF" 2>"$DIR/log" &
	DAEMON=$!
	soon test -S "$DIR/ours/control.sock" || return
	timeout 20 "$VMSHMCTL" -s "$DIR/ours/control.sock" --json status | jq -e '.segments == 1' >/dev/null || { cat "$DIR/log"; return 1; }
	[[ ! -e $RUN/control.sock ]] && daemon_stop && [[ -S $DIR/ours/control.sock ]]
}
# In a /run of its own, where nothing is but what the shipped unit has made.
case_the_shipped_socket_unit_is_found() {
	local path
	type systemd-socket-activate >/dev/null 2>&1 || skip "there is no systemd-socket-activate"
	unshare --mount true 2>/dev/null || skip "there are no mount namespaces to be had"
	path=$(sed -n 's/^ListenStream=//p' ../../tools/vmshmd/vmshmd-control.socket)
	is "its place, not in the directory that goes with the service" "${path%/*}" /run || return
	trap tidy EXIT
	make_dir
	config
	# shellcheck disable=SC2016 # it is that shell's
	VMSHMCTL=$VMSHMCTL unshare --mount --propagation private --fork --kill-child bash -c '
		mount -t tmpfs -o mode=755 tmpfs /run || exit
		"$VMSHMCTL" status 2>"$4/none"
		systemd-socket-activate --fdname=control -l "$1" -E PATH "$2" --config "$3" 2>"$4/log" &
		for ((i = 0; i < 500; i++)); do [[ -S $1 ]] && break; sleep 0.02; done
		timeout 20 "$VMSHMCTL" --json status >"$4/status"
		# What a daemon that was killed has left at the other place.
		mkdir /run/vmshm
		python3 -c "import socket; socket.socket(socket.AF_UNIX).bind(\"/run/vmshm/control.sock\")"
		timeout 20 "$VMSHMCTL" --json members >"$4/members"
		kill $! && wait $!' - "$path" "$VMSHMD" "$CONF" "$DIR"
	is none "$(<"$DIR/none")" "vmshmctl: /run/vmshm/control.sock: No such file or directory; is vmshmd running? (--socket names another one)" &&
		is segments "$(jq .segments "$DIR/status")" 1 && is members "$(jq length "$DIR/members")" 3
}
case_completion() {
	local words
	[[ -e /usr/share/bash-completion/bash_completion ]] || skip "there is no bash-completion"
	begin || return
	words=$(bash -c 'source /usr/share/bash-completion/bash_completion; source "$1"
		# As bash does it: split at "=" too, where a word of its own ends the one before.
		complete_line() {
			COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; COMP_WORDS=(); COMPREPLY=()
			local word
			for word; do
				if [[ $word == *=* ]]; then
					COMP_WORDS+=("${word%%=*}" =)
					word=${word#*=}
					[[ $word ]] || continue
				fi
				COMP_WORDS+=("$word")
			done
			COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _vmshmctl; echo "${COMPREPLY[*]}"
		}
		PATH=$(dirname "$2"):$PATH
		complete_line vmshmctl dr; complete_line vmshmctl -s "$3" kick w; complete_line vmshmctl add member --c
		complete_line vmshmctl -s "$3" couples ""
		complete_line vmshmctl "--socket=$3" kick w; complete_line vmshmctl "--socket=$3" --config=/c couples ""
		complete_line vmshmctl "--socket=$3" add --size=64M couple web d; complete_line vmshmctl "--socket=$3" add --size 64M couple web d
		complete_line vmshmctl "--socket=${3%.sock}"; complete_line vmshmctl -s "$3" kick --segment=we; complete_line vmshmctl -s "$3" kick --segment=
		complete_line vmshmctl -s "$3" add member --cid=w' - ../../tools/vmshmctl/vmshmctl.bash "$VMSHMCTL" "$RUN/control.sock" 2>&1)
	is words "$words" $'drain\nweb\n--config= --cid=\nweb-db\nweb\nweb-db\ndb\ndb\n'"$RUN/control.sock"$'\nweb-db\nweb-db'
}

run_cases
