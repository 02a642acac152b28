#!/bin/sh
# coverage.sh - which lines and branches of lib/ and bus/ do the tests reach?
#
#	coverage.sh [MINIMUM]	exit 1 when fewer lines are, in percent
#
# For `make coverage`, which sets MAKE and srcdir.  The tree is built once more,
# in coverage.d, with the counters of gcc, and there runs
#
#	make check	without the scripts that run all of bustorture
#	bustorture	faults, threats and chaos; the others take long, and their
#			victims, which are killed, cannot count
#
# The table on standard output is also in coverage.d/report.txt;
# coverage.d/html/index.html shows each line.  Only what is linked into the
# library counts, not the copies of it in explorers and fuzz targets.  What is
# missing and why is told in README.md, and what cannot be counted in
# support/coverage.h.

minimum=${1:-0}
# As gcov names files: configure has called it /x/build/.. perhaps.
srcdir=$(cd "$srcdir" && pwd -P) || exit 1
need()
{
	command -v "$1" >/dev/null && return
	echo "coverage: $1 is missing (Debian package: $2)" >&2
	exit 1
}
need gcovr gcovr
need gcc gcc
need gcov gcc

# Some tests are other users for a while: they may count, too.
umask 0
mkdir -p coverage.d/html && cd coverage.d || exit 1
if ! test -e Makefile; then
	# Static, so that each program counts in one place.  Atomic, so that no
	# thread overwrites what another counts.
	"$srcdir/configure" -q --disable-shared CC=gcc \
		CFLAGS='-Og -g --coverage -fprofile-update=atomic' \
		CPPFLAGS="-include $srcdir/tests/support/coverage.h" \
		>configure.log 2>&1 || {
		cat configure.log
		exit 1
	}
fi
$MAKE -s programs || exit 1
find . -name '*.gcda' -exec rm -f {} +

# Who cannot count says so on standard error, where tests look.
GCOV_ERROR_FILE=/dev/null
CHECK_QUICK=1
export CHECK_QUICK GCOV_ERROR_FILE
status=0
run()
{
	begin=$(date +%s)
	if "$@" >run.log 2>&1; then
		echo "coverage: $*: passed in $(($(date +%s) - begin)) s"
	else
		tail -40 run.log
		echo "coverage: $*: failed"
		status=1
	fi
}
# Counting takes time.
run "$MAKE" check TEST_TIMEOUT=1800
for t in faults threats chaos; do
	run tools/torture/bustorture "$t"
done

# Not what is left of objects of other names.
gcovr --root "$srcdir" --object-directory . \
	--filter "$srcdir/lib/" --filter "$srcdir/bus/" \
	--exclude-unreachable-branches \
	--txt report.txt --html-details html/index.html --print-summary \
	--fail-under-line "$minimum" lib bus >summary.txt 2>gcovr.log || {
	cat gcovr.log
	status=1
}
cat report.txt summary.txt
exit $status
