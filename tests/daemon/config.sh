#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# vmshmd --check and the command line: each mistake is told with its file and
# line, all of them at once, and the exit status says what kind it was.

set -u
shopt -s extglob
vmshmd=${VMSHMD:?names the daemon}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
conf=$dir/conf
tests=0 failed=0

ok() { # passed? name
	((++tests))
	if (($1)); then echo "ok $tests - $2"; else echo "not ok $tests - $2"; ((++failed)); fi
}

# The lines that --check says of $conf, and its status, are those that are expected.
told() { # name status line...
	local name=$1 status=$2 said got
	shift 2
	said=$("$vmshmd" --check --config "$conf" 2>&1)
	got=$?
	said=${said//$conf/CONF}
	if [[ $got == "$status" && $said == "$(printf '%s\n' "$@")" ]]; then
		ok 1 "$name"
	else
		ok 0 "$name"
		printf '# status %s, expected %s; said:\n' "$got" "$status"
		while read -r line; do echo "#   $line"; done <<<"$said"
	fi
}

# Three ways to write a configuration and expect mistakes: whole; members, from
# line 2 on; segments of a, b and c, from line 3 on.
M='members = ( { name = "a"; cid = 3; }, { name = "b"; cid = 4; }, { name = "c"; cid = 5; } );'
ONE='vmshmd: 1 mistake in CONF'
mistake() { # name configuration line...
	local name=$1 many=
	printf '%s\n' "$2" >"$conf"
	shift 2
	(($# == 1)) || many=s
	told "$name" 3 "$@" "vmshmd: $# mistake$many in CONF"
}
member() { # name members line...
	local name=$1 members=$2
	shift 2
	mistake "$name" $'members = (\n'"$members"$'\n);\nsegments = ( );' "$@"
}
segment() { # name settings line...
	local name=$1 settings=$2
	shift 2
	mistake "$name" "$M"$'\nsegments = ( {\n'"$settings"$'\n} );' "$@"
}

echo "TAP version 13"

cp "$(dirname "$0")/../../tools/vmshmd/vmshmd.conf.example" "$conf"
told "the example is right" 0 "vmshmd: CONF is right: 2 segments, 3 members"
echo 'members = ( ); segments = ( );' >"$conf"
told "nothing to serve is right" 0 "vmshmd: CONF is right: 0 segments, 0 members"
printf '%s\nsegments = ( { name = "s"; members = ( "a", "b" ); } );\n' "$M" >"$conf"
told "names may be a list or an array" 0 "vmshmd: CONF is right: 1 segment, 3 members"
printf '%s\nsegments = ( );\ncouples = ( { members = [ "a", "b", "c" ]; size = "1M"; } );\n' "$M" >"$conf"
told "a group of three is three couples" 0 "vmshmd: CONF is right: 3 segments, 3 members"
printf '%s\nsegments = ( { name = "c-d"; members = [ "a", "b" ]; } );\ncouples = ( { members = [ "a", "c" ]; }, { members = [ "c", "b" ]; } );\n' "$M" >"$conf"
told "groups beside segments" 0 "vmshmd: CONF is right: 3 segments, 3 members"
printf '%s\nsegments = ( { name = "s"; members = [ "a", "b" ]; size = 1048576; vectors = 64; mode = "600"; owner = "0"; group = "12345"; } );\n' "$M" >"$conf"
told "bytes, numbers of users, least and most" 0 \
	"vmshmd: warning: the same users can connect as a, b: if their QEMUs run as one user, only a label each (SELinux, AppArmor) keeps them from the others' sockets" \
	"vmshmd: CONF is right: 1 segment, 3 members"

echo 'members = ( { name = "host"; cid = 2; host = true; }, { name = "a"; cid = 3; } ); segments = ( { name = "s"; members = [ "host", "a" ]; } );' >"$conf"
told "the host as a member" 0 "vmshmd: CONF is right: 1 segment, 2 members"

rm "$conf"
told "no file" 3 "CONF: cannot be read: No such file or directory; expected a configuration as in vmshmd.conf(5)" "$ONE"
mkdir "$conf"
told "a directory" 3 "CONF: cannot be read: Is a directory; expected a configuration as in vmshmd.conf(5)" "$ONE"
rmdir "$conf"
printf 'a\0b' >"$conf"
told "no text" 3 "CONF: cannot be read: it is not a text file; expected a configuration as in vmshmd.conf(5)" "$ONE"
mistake "syntax" $'members = (\n\n{ name = "a" cid } );' "CONF:3: syntax error, expected settings as in vmshmd.conf(5)"
mistake "a setting twice" $'members = ( );\nsegments = ( );\nmembers = ( );' \
	"CONF:3: duplicate setting name, expected settings as in vmshmd.conf(5)"
printf '' >"$conf"
told "an empty file" 3 "CONF: the configuration has no 'members', expected a list of groups: ( { ... }, ... )" \
	"CONF: the configuration has no 'segments', expected a list of groups: ( { ... }, ... )" "vmshmd: 2 mistakes in CONF"
mistake "unknown setting" $'members = ( );\nsegments = ( );\nruntimedir = "/run";' \
	"CONF:3: unknown setting 'runtimedir' in the configuration, expected one of: runtime_dir, control_group, control_mode, metrics, memory_limit, members, segments, couples"
mistake "runtime_dir of a wrong type" $'runtime_dir = 5;\nmembers = ( );\nsegments = ( );' \
	"CONF:1: 'runtime_dir' has the wrong type, expected a string in quotes"
mistake "runtime_dir not absolute" $'members = ( );\nruntime_dir = "run";\nsegments = ( );' \
	"CONF:2: 'runtime_dir' is 'run', expected an absolute path"
mistake "members no list" $'segments = ( );\nmembers = { };' \
	"CONF:2: 'members' has the wrong type, expected a list of groups: ( { ... }, ... )"
mistake "a member no group" $'segments = ( );\nmembers = ( "a" );' \
	"CONF:2: an element of 'members' is no group, expected { ... }"

for path in /run/x/control.sock //run///x//control.sock; do
	mistake "metrics on the control socket, $path" $'runtime_dir = "/run//x/"; members = ( );\nmetrics = "'"$path"$'";\nsegments = ( );' \
		"CONF:2: 'metrics' is '$path', which is the control socket, expected another path, such as /run//x/metrics.sock"
done
for path in /run/x/control.soc /run/x/control.sockx /run/xcontrol.sock /run/x/y/control.sock; do
	printf 'runtime_dir = "/run/x"; members = ( ); segments = ( ); metrics = "%s";\n' "$path" >"$conf"
	told "metrics at $path" 0 "vmshmd: CONF is right: 0 segments, 0 members"
done

member "a member without a name" '{ cid = 3; }' "CONF:2: a member has no 'name', expected a string in quotes"
member "a member without a CID" '{ name = "a"; }' "CONF:2: a member has no 'cid', expected an integer"
member "unknown setting of a member" $'{ name = "a"; cid = 3;\nCid = 4; }' \
	"CONF:3: unknown setting 'Cid' in a member, expected one of: name, cid, host, owner, group, mode"
member "CID 2" '{ name = "a"; cid = 2; }' \
	"CONF:2: 'cid' is 2, which is the host's, expected 3 to 65534, or 'host = true' if a process on the host is the member"
member "CID 1" '{ name = "a"; cid = 1; host = true; }' "CONF:2: 'cid' is 1, expected 3 to 65534"
member "the host with a VM's CID" '{ name = "a"; cid = 3; host = true; }' "CONF:2: 'cid' is 3 with 'host = true', expected 2"
member "the host without a CID" '{ name = "a"; host = true; }' "CONF:2: a member has no 'cid', expected an integer"
member "the host as a word" '{ name = "a"; cid = 2; host = "yes"; }' "CONF:2: 'host' has the wrong type, expected true or false" \
	"CONF:2: 'cid' is 2, which is the host's, expected 3 to 65534, or 'host = true' if a process on the host is the member"
mistake "two hosts" $'members = ( { name = "h"; cid = 2; host = true; },\n{ name = "i"; cid = 2; host = true; } );\nsegments = ( );' \
	"CONF:2: CID 2 is given twice (before: line 1), expected one member a CID"
mistake "the host and huge pages" $'members = ( { name = "h"; cid = 2; host = true; }, { name = "a"; cid = 3; } );\nsegments = ( { name = "s";\nmembers = [ "h", "a" ]; huge_pages = true; } );' \
	"CONF:3: 'h' is a process on the host, expected no 'huge_pages' in its segments: a VM could take them away under it"
mistake "the host and huge pages in couples" $'members = ( { name = "h"; cid = 2; host = true; }, { name = "a"; cid = 3; } );\nsegments = ( );\ncouples = ( { huge_pages = true;\nmembers = [ "h", "a" ]; } );' \
	"CONF:4: 'h' is a process on the host, expected no 'huge_pages' in its segments: a VM could take them away under it"
member "CID -1" '{ name = "a"; cid = -1; }' "CONF:2: 'cid' is -1, expected 3 to 65534"
member "CID 65535" '{ name = "a"; cid = 65535; }' "CONF:2: 'cid' is 65535, expected 3 to 65534"
member "CID a string" '{ name = "a"; cid = "3"; }' "CONF:2: 'cid' has the wrong type, expected an integer"
member "CID a fraction" '{ name = "a"; cid = 3.5; }' "CONF:2: 'cid' has the wrong type, expected an integer"
member "a number that 32 bits cut to 3" '{ name = "x99999999999"; /* 99999999999 */ cid = 4294967299; }' \
	"CONF:2: the number 4294967299 is too large, expected at most 2147483647"
member "the same CID" $'{ name = "a"; cid = 3; },\n{ name = "b"; cid = 3; }' \
	"CONF:3: CID 3 is given twice (before: line 2), expected one member a CID"
member "the same member" $'{ name = "a"; cid = 3; },\n{ name = "a"; cid = 4; }' \
	"CONF:3: there are two members 'a' (before: line 2), expected another name"
for name in "a/b" ".." "" "-x" "a b" $'\u00e4'; do
	member "a member called '$name'" "{ name = \"$name\"; cid = 3; }" \
		"CONF:2: the name '$name' can't be a file's name here, expected letters, digits, '_', '-' and '.', the first a letter or digit"
done
member "a name of 32 characters" '{ name = "a2345678901234567890123456789012"; cid = 3; }' \
	"CONF:2: the name 'a2345678901234567890123456789012' is too long, expected at most 31 characters"
member "an unknown user" '{ name = "a"; cid = 3; owner = "nosuchuser"; }' \
	"CONF:2: there is no user 'nosuchuser', expected a user's name or number"
member "an unknown group" '{ name = "a"; cid = 3; group = "nosuchgroup"; }' \
	"CONF:2: there is no group 'nosuchgroup', expected a group's name or number"
for mode in 0668 1777 x ""; do
	member "mode '$mode'" "{ name = \"a\"; cid = 3; mode = \"$mode\"; }" \
		"CONF:2: 'mode' is '$mode', expected an octal number such as \"0660\""
done
member "mode a number" '{ name = "a"; cid = 3; mode = 660; }' "CONF:2: 'mode' has the wrong type, expected a string in quotes"

AB='members = [ "a", "b" ];'
segment "a segment without a name" "$AB" "CONF:2: a segment has no 'name', expected a string in quotes"
segment "a segment without members" 'name = "s";' "CONF:2: a segment has no 'members', expected a list of names: [ \"a\", \"b\" ]"
segment "unknown setting of a segment" "name = \"s\"; $AB"$'\nhugepages = true;' \
	"CONF:4: unknown setting 'hugepages' in a segment, expected one of: name, shared, members, size, vectors, huge_pages, transparent_huge_pages, numa_node, owner, group, mode"
segment "a segment called a/b" "name = \"a/b\"; $AB" \
	"CONF:3: the name 'a/b' can't be a file's name here, expected letters, digits, '_', '-' and '.', the first a letter or digit"
segment "an unknown member" $'name = "s";\nmembers = [ "a", "d" ];' "CONF:4: there is no member 'd', expected a name from 'members'"
segment "a member twice" 'name = "s"; members = [ "a", "a" ];' "CONF:3: member 'a' is listed twice, expected each member once"
segment "one member" 'name = "s"; members = [ "a" ];' "CONF:3: a segment with 1 member, expected two or more"
segment "no member" 'name = "s"; members = [ ];' "CONF:3: a segment with 0 members, expected two or more"
segment "members that are no names" $'name = "s"; members = [ 3, 4 ]; },\n{ name = "t"; members = ( "a", 5 );' \
	"CONF:3: a segment's member is no string, expected a member's name in quotes" \
	"CONF:3: a segment's member is no string, expected a member's name in quotes" \
	"CONF:4: a segment's member is no string, expected a member's name in quotes"
segment "three without shared" 'name = "s"; members = [ "a", "b", "c" ];' \
	"CONF:3: a segment with 3 members, expected two, or 'shared = true' if all of them may read and write what the others exchange"
segment "shared of a wrong type" "name = \"s\"; $AB shared = 1;" "CONF:3: 'shared' has the wrong type, expected true or false"
for size in 3M 100 0 512K 128G 16777217; do
	case $size in
	0 | 512K | 128G) want="expected 1M to 64G" ;;
	*) want="expected a power of two" ;;
	esac
	segment "size $size" "name = \"s\"; $AB size = \"$size\";" "CONF:3: 'size' is '$size', $want"
done
for size in x 1T 1MB -1M "" 99999999999999999999 17179869184G "1 M"; do
	segment "size '$size'" "name = \"s\"; $AB size = \"$size\";" \
		"CONF:3: 'size' is '$size', expected a number of bytes, or with K, M or G after it"
done
segment "size of a wrong type" "name = \"s\"; $AB size = true;" "CONF:3: 'size' has the wrong type, expected a size such as \"256M\""
mistake "a limit of memory that is none" 'memory_limit = "lots"; members = (); segments = ();' \
	"CONF:1: 'memory_limit' is 'lots', expected a number of bytes, or with K, M or G after it"
mistake "too small for its channels" 'members = ( { name = "a"; cid = 3; }, { name = "b"; cid = 4; },
{ name = "c"; cid = 5; }, { name = "d"; cid = 6; } );
segments = ( { name = "s"; members = [ "a", "b", "c", "d" ]; shared = true;
size = "1M"; } );' "CONF:4: 1M is too small for 6 channels, expected at least 2M"
segment "too small in huge pages" "name = \"s\"; $AB huge_pages = true; size = \"4M\";" \
	"CONF:3: 4M is too small for 1 channel in huge pages, expected at least 8M"
for vectors in 0 65 -1; do
	segment "$vectors vectors" "name = \"s\"; $AB vectors = $vectors;" "CONF:3: 'vectors' is $vectors, expected 1 to 64"
done
segment "the same segment" $'name = "s"; members = [ "a", "b" ]; },\n{ name = "s"; members = [ "b", "c" ];' \
	"CONF:4: there are two segments 's' (before: line 3), expected another name"
segment "a couple twice" $'name = "s"; members = [ "a", "b" ]; },\n{ name = "t"; members = [ "b", "a" ];' \
	"CONF:4: 'b' and 'a' are a couple already (line 3), expected one segment a couple"
segment "a couple in a group" $'name = "s"; members = [ "a", "b", "c" ]; shared = true; },\n{ name = "t"; members = [ "c", "a" ];' \
	"CONF:4: 'c' and 'a' are a couple already (line 3), expected one segment a couple"

# Groups of which each two are a couple, from line 2 on.
couples() { # name settings line...
	local name=$1 settings=$2
	shift 2
	mistake "$name" "$M"$'\nsegments = ( ); couples = ( {\n'"$settings"$'\n} );' "$@"
}
ABC='members = [ "a", "b", "c" ];'
couples "a group of couples without members" 'size = "1M";' \
	"CONF:2: a group of couples has no 'members', expected a list of names: [ \"a\", \"b\" ]"
couples "a group of couples has no name" "$ABC"$'\nname = "g";' \
	"CONF:4: unknown setting 'name' in a group of couples, expected one of: members, size, vectors, huge_pages, transparent_huge_pages, numa_node, owner, group, mode"
couples "a group of couples is not shared" "$ABC"$'\nshared = true;' \
	"CONF:4: unknown setting 'shared' in a group of couples, expected one of: members, size, vectors, huge_pages, transparent_huge_pages, numa_node, owner, group, mode"
couples "a group of one" 'members = [ "a" ];' "CONF:3: a group of couples with 1 member, expected two or more"
couples "a group with an unknown member" 'members = [ "a", "b", "d" ];' "CONF:3: there is no member 'd', expected a name from 'members'"
couples "a group with a member twice" 'members = [ "a", "b", "a" ];' "CONF:3: member 'a' is listed twice, expected each member once"
couples "a group with a wrong size" "$ABC size = \"3M\";" "CONF:3: 'size' is '3M', expected a power of two"
couples "a group too small in huge pages" "$ABC huge_pages = true; size = \"4M\";" \
	"CONF:3: 4M is too small for 1 channel in huge pages, expected at least 8M"
couples "two groups with the same couple" "$ABC"$' }, {\nmembers = [ "b", "c" ];' \
	"CONF:4: there are two segments 'b-c' (before: line 3), expected another name" \
	"CONF:4: 'b' and 'c' are a couple already (line 3), expected one segment a couple"
mistake "a couple of a group has a segment" "$M"$'\nsegments = ( { name = "s"; members = [ "a", "b" ]; } );\ncouples = ( { '"$ABC } );" \
	"CONF:3: 'a' and 'b' are a couple already (line 2), expected one segment a couple"
mistake "couples no list" "$M segments = ( );"$'\ncouples = { };' \
	"CONF:2: 'couples' has the wrong type, expected a list of groups: ( { ... }, ... )"
twenty=n2345678901234567890
mistake "a couple's name too long" "members = ( { name = \"$twenty\"; cid = 3; }, { name = \"b$twenty\"; cid = 4; } );
segments = ( ); couples = ( { members = [ \"$twenty\", \"b$twenty\" ]; } );" \
	"CONF:2: the segment of '$twenty' and 'b$twenty' would have a name of 42 characters, expected at most 31: shorten a name, or give the two a segment with a name"
names=$(printf '"m%d", ' {1..65})
mistake "a group of 65" "members = ( $(for i in {1..65}; do printf '{ name = "m%d"; cid = %d; },' "$i" $((i + 2)); done | sed 's/,$//') );
segments = ( ); couples = ( { members = [ ${names%, } ]; } );" \
	"CONF:2: a group of couples with 65 members, expected at most 64: write two groups"

long=/run/$(printf 'x%.0s' {1..100})
mistake "a socket's path too long" "runtime_dir = \"$long\";"$'\n'"$M"$'\nsegments = ( { name = "s"; members = [ "a", "b" ]; } );' \
	"CONF:3: the socket's path $long/s/a.sock has 114 characters, expected at most 107: shorten a name or runtime_dir"
mistake "all mistakes at once" $'runtime_dir = "x";\nmembers = (\n{ name = "a"; cid = 1; },\n{ name = "b/"; cid = 4; },
{ name = "c"; cid = 4; more = 1; } );\nsegments = (\n{ name = "s"; members = [ "a", "c" ]; size = 5; vectors = 99; },
{ name = "t";\nmembers = [ "a", "z" ];\nmode = "9"; } );' \
	"CONF:1: 'runtime_dir' is 'x', expected an absolute path" \
	"CONF:3: 'cid' is 1, expected 3 to 65534" \
	"CONF:4: the name 'b/' can't be a file's name here, expected letters, digits, '_', '-' and '.', the first a letter or digit" \
	"CONF:5: unknown setting 'more' in a member, expected one of: name, cid, host, owner, group, mode" \
	"CONF:5: CID 4 is given twice (before: line 4), expected one member a CID" \
	"CONF:7: 'size' is '5', expected a power of two" \
	"CONF:7: 'vectors' is 99, expected 1 to 64" \
	"CONF:10: 'mode' is '9', expected an octal number such as \"0660\"" \
	"CONF:9: there is no member 'z', expected a name from 'members'"

# An included file's mistakes are told with its own name.
echo "members = ( { name = \"a\"; cid = 4294967299; }, { name = \"b\"; cid = 1; } );" >"$dir/part"
mistake "mistakes in an included file" $'@include "part"\nsegments = ( );' \
	"$dir/part:1: the number 4294967299 is too large, expected at most 2147483647" \
	"$dir/part:1: 'cid' is 1, expected 3 to 65534"

# ---- what is no mistake ----

warned() { # name rest-of-the-configuration line...
	local name=$1
	printf '%s\n' "$M" "$2" >"$conf"
	shift 2
	told "$name" 0 "$@"
}
AC='{ name = "t"; members = [ "a", "c" ]; mode = "0660"; group = "12"; }'
warned "a group that can be two members" "segments = ( { name = \"s\"; $AB group = \"12\"; }, $AC );" \
	"vmshmd: warning: the same users can connect as a, b, c: if their QEMUs run as one user, only a label each (SELinux, AppArmor) keeps them from the others' sockets" \
	"vmshmd: CONF is right: 2 segments, 3 members"
M='members = ( { name = "a"; cid = 3; owner = "11"; }, { name = "b"; cid = 4; owner = "12"; }, { name = "c"; cid = 5; owner = "13"; } );'
warned "an owner for each member" "segments = ( { name = \"s\"; $AB }, { name = \"t\"; members = [ \"a\", \"c\" ]; } );" \
	"vmshmd: CONF is right: 2 segments, 3 members"
warned "a socket for everybody" "segments = ( { name = \"s\"; $AB mode = \"0602\"; } );" \
	"vmshmd: warning: everybody on this host can connect as a in segment s" \
	"vmshmd: warning: everybody on this host can connect as b in segment s" \
	"vmshmd: CONF is right: 1 segment, 3 members"
warned "a shared segment" 'segments = ( { name = "s"; members = [ "a", "b", "c" ]; shared = true; } );' \
	"vmshmd: warning: in segment s each of 3 members can read and forge what the others exchange" \
	"vmshmd: CONF is right: 1 segment, 3 members"

# ---- the command line ----

line() { # name status first-line argument...
	local name=$1 status=$2 want=$3 said got
	shift 3
	said=$("$vmshmd" "$@" 2>&1)
	got=$?
	said=${said%%$'\n'*}
	# shellcheck disable=SC2053
	if [[ $got == "$status" && $said == $want ]]; then ok 1 "$name"; else
		ok 0 "$name"
		echo "# status $got, expected $status; said: $said"
	fi
}
echo "$M segments = ( );" >"$conf"
line "--version" 0 "vmshmd +([0-9.])" --version
line "--help" 0 "Usage: vmshmd \[OPTION...\]" --help
line "an argument" 2 "*: 'x' is one argument too many" x
line "an unknown option" 2 "*: unrecognized option '--nosuch'" --nosuch
line "an option without its argument" 2 "*: option '--config' requires an argument" --config
line "--runtime-dir not absolute" 3 "$conf: --runtime-dir is 'x', expected an absolute path" --check --config "$conf" --runtime-dir x
line "--runtime-dir that cannot be made" 1 "vmshmd: the directory $dir/no/run cannot be made: No such file or directory" \
	--config "$conf" --runtime-dir "$dir/no/run"
line "--runtime-dir that is a file" 1 "vmshmd: the directory $conf cannot be opened: Not a directory" --config "$conf" --runtime-dir "$conf"

echo "1..$tests"
exit $((failed > 0))
