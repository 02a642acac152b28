# busbench_lib.sh - what the scripts share that test busbench
#
# Read with `.`, in a script that then makes its checks one after another, each
# group under an `echo "= what is promised"`, and ends with `finish`.  Standard
# output and error of the last run are in the files `out` and `err`.  A script
# about one subcommand says which before: subcommand=compare.

BUSBENCH=${BUSBENCH:-${top_builddir:-${builddir:-.}}/bench/busbench}
case $BUSBENCH in
/*) ;;
*) BUSBENCH=$PWD/$BUSBENCH ;;
esac

skip()
{
	echo "skipped: $*"
	exit 77
}

# For the long ones: not where all is tested a second time.
skip_if_quick()
{
	test -z "${CHECK_QUICK-}" || skip "CHECK_QUICK is set"
}

test -x "$BUSBENCH" || skip "there is no program '$BUSBENCH'"
command -v jq >/dev/null || skip "jq is not installed"
unset BUS_WAIT BUSBENCH_PYTHON BUSBENCH_GNUPLOT # the tests choose

dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
cd "$dir" || exit 1
TMPDIR=$dir/tmp
mkdir "$TMPDIR" || exit 1
export TMPDIR
failed=0

# FILTER of rows whose messages came as they were sent
unharmed='.lost == 0 and .dup == 0 and .disorder == 0 and .wrong == 0'

fail()
{
	echo "FAILED: $*"
	failed=1
}

# finish: does not return
finish()
{
	test $failed -eq 0 && echo "all passed"
	exit $failed
}

# expect STATUS ARGUMENT...: run busbench; its exit status must be STATUS
expect()
{
	want=$1
	shift
	# shellcheck disable=SC2086 # no word, or one
	timeout 120 "$BUSBENCH" ${subcommand-} "$@" >out 2>err
	got=$?
	test "$got" -eq "$want" || {
		fail "busbench ${subcommand-} $*: exit status $got, not $want"
		{ show; cat err; } | sed 's/^/    /' | tail -20
	}
	test -z "$(ls "$TMPDIR")" || fail "left behind: $(ls "$TMPDIR")"
}

# show: what the last run printed, of rows without what fills screens
show()
{
	jq -c 'del(.hist?, .env?)' out 2>/dev/null || cat out
}

# all FILTER: true for each row of the last run, but those that say that there
# is no io_uring here
no_uring='(.status == "absent" and
	(.why | startswith("io_uring cannot be used")))'
all()
{
	jq -es "length > 0 and all(.[]; $no_uring or ($1))" out >/dev/null || {
		fail "not all: $1"
		jq -c "select($no_uring or ($1) | not) | del(.hist, .env)" out |
			head -5
	}
}

# some FILTER: true for one row at least
some()
{
	jq -es "any(.[]; $1)" out >/dev/null || { fail "none: $1"; show; }
}

# most FILTER: true for more than half of the rows; of what a short round may
# not come to on a machine that is busy otherwise
most()
{
	jq -es "(map(select($1)) | length) * 2 > length" out >/dev/null ||
		{ fail "not most: $1"; show; }
}

# whole FILTER: true for the array of all rows
whole()
{
	jq -es "$1" out >/dev/null || { fail "not so: $1"; show; }
}

# out_has TEXT, err_has TEXT
out_has()
{
	grep -qF -e "$1" out || { fail "no '$1' on standard output:"; cat out; }
}

err_has()
{
	grep -qF -e "$1" err || { fail "no '$1' on standard error:"; cat err; }
}

# same_cells FILE: rows of a table of Markdown have as many cells as its head,
# and notes come after it
same_cells()
{
	awk -F'|' '!/^\|/ { n = 0; next } !n { n = NF } NF != n { exit 1 }' "$1" ||
		fail "cells differ: $(cat "$1")"
}

# no_roudi_left - no memory of iceoryx's daemon, unless one is running
#
# Whoever is RouDi, perhaps of a test beside us, has its lock until its memory
# has gone.
no_roudi_left()
{
	local lock=/tmp/iox-unique-roudi.lock left

	for _ in $(seq 50); do
		test -e /dev/shm/iceoryx_mgmt || break
		sleep 0.1
	done
	if command -v flock >/dev/null && test -e /dev/shm/iceoryx_mgmt; then
		left=$(flock -n "$lock" sh -c "ls /dev/shm/iceoryx_mgmt 2>&-
			rm -f $lock")
		test -z "$left" || fail "left behind: $left"
	fi
}
