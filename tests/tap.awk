# SPDX-License-Identifier: GPL-2.0-only
#
# Reads TAP from a suite: shows failures at once and progress now and then, and
# writes "passed failed skipped" to the file RESULT and what failed to FAILURES, a
# line each. A plan that is missing or does not fit counts as a failure. SUITE names
# the suite.

function show(text) {
	print text
	fflush()
}

function fail(what) {
	failed++
	show("  " SUITE ": " what)
	print SUITE ": " what >>FAILURES
}

/^(not )?ok([ \t]|$)/ {
	n++
	if (/^[^#]*#[ \t]*[Ss][Kk][Ii][Pp]/)
		skipped++
	else if (/^ok/)
		passed++
	else {
		fail($0)
		failing = 1
		next
	}
	failing = 0
	if (systime() - shown >= 10) {
		shown = systime()
		show("  " SUITE ": " n " done, the last: " $0)
	}
	next
}

# What a failed case says about it.
/^#/ && failing { show("    " $0) }

/^1\.\.[0-9]+/ {
	plans++
	plan = substr($1, 4) + 0
	if (plan == 0 && /#[ \t]*[Ss][Kk][Ii][Pp]/)
		show("  " SUITE ": all skipped" substr($0, index($0, "#") + 6))
}

/^Bail out!/ {
	bailed = 1
	fail($0)
}

BEGIN { shown = systime() }

END {
	if (!bailed && plans != 1) {
		fail(plans ? "more than one plan line" : "ended without a plan line")
	} else if (!bailed && plan != n) {
		fail("planned " plan " tests, ran " n + 0)
	}
	print passed + 0, failed + 0, skipped + 0 >RESULT
}
