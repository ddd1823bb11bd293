# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# For suites that are several programs, each of which speaks TAP: one stream, in
# which the name of a test begins with its program's. The program's plan has to
# fit, and it has to end with 0 unless it said "not ok" (sanitizers speak last).

parts_n=0 parts_failed=0

# Whether T= means a part: by a piece of its name, or by the name of one of its tests.
part_wanted() { [[ $1 == *"${T:-}"* || $T == "$1: "* ]]; }

say_test() {		# say_test ok|"not ok" NAME
	((++parts_n))
	[[ $1 == ok ]] || ((++parts_failed))
	echo "$1 $parts_n - $2"
}

# part SECONDS NAME COMMAND...
part() {
	local limit=$1 name=$2 before=$parts_n failed=$parts_failed plan=none status=0 line
	shift 2
	while IFS= read -r line; do
		if [[ $line =~ ^(ok|not\ ok)\ [0-9]+\ -\ (.*) ]]; then
			say_test "${BASH_REMATCH[1]}" "$name: ${BASH_REMATCH[2]}"
		elif [[ $line =~ ^1\.\.([0-9]+) ]]; then
			plan=${BASH_REMATCH[1]}
		elif [[ $line == $'\e'* ]]; then
			status=${line:1}
		elif [[ $line == 'Bail out!'* ]]; then
			echo "# $name: $line"
		elif [[ $line == '#'* ]]; then
			echo "$line"
		fi
	done < <(timeout -k 5 "$limit" "$@"; printf "\n\e%s\n" $?)
	[[ $plan == $((parts_n - before)) ]] || say_test 'not ok' "$name: runs to its end"
	((status == 0 || parts_failed > failed)) || say_test 'not ok' "$name: ends with status $status"
}

# end_parts: says the plan; its status is the suite's.
end_parts() {
	if ((parts_n)); then echo "1..$parts_n"; else echo "1..0 # SKIP nothing of that name"; fi
	return $((parts_failed > 0))
}
