# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Test cases in bash that speak TAP. A case is a function whose name begins with
# case_ (its underscores are spaces in its name); it passes when it returns 0,
# and what it prints is shown when it fails. skip WHY ends a case as skipped.
# run_cases runs those whose name contains T, in the order of the file.

skip() {
	echo "$*" >"$TAP_SKIP"
	exit 0
}

run_cases() {
	local all name n=0 out bad=0
	TAP_SKIP=$(mktemp)
	mapfile -t all < <(grep -oE '^case_[a-z0-9_]+' "$0" | while read -r name; do
		name=${name#case_}
		[[ ${name//_/ } != *"${T:-}"* ]] || echo "$name"
	done)
	echo "TAP version 13"
	echo "1..${#all[@]}"
	for name in "${all[@]}"; do
		n=$((n + 1))
		: >"$TAP_SKIP"
		if ! out=$("case_$name" 2>&1); then
			echo "not ok $n - ${name//_/ }"
			printf '# %s\n' "${out//$'\n'/$'\n'# }"
			bad=1
		elif [[ -s $TAP_SKIP ]]; then
			echo "ok $n - ${name//_/ } # SKIP $(<"$TAP_SKIP")"
		else
			echo "ok $n - ${name//_/ }"
		fi
	done
	rm -f "$TAP_SKIP"
	return $bad
}
