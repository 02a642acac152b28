#!/bin/sh
# killtest.sh - bustorture as each of several compilers' settings makes it
#
#	killtest.sh [OPTION...]	of bustorture
#
# For `make killtest`, which sets CC, MAKE, srcdir and BUILDS, the settings:
# where an instruction begins and ends, and so what a kill leaves behind, is
# another with each.  Each has a tree in killtest.d.

mkdir -p killtest.d && cd killtest.d || exit 1
status=0
for flags in $BUILDS; do
	dir=$(echo "$flags" | tr -cd 'A-Za-z0-9')
	mkdir -p "$dir"
	(
		cd "$dir" || exit 1
		test -e Makefile || "$srcdir/configure" -q --disable-tests \
			--disable-shared CC="$CC" CFLAGS="-g $flags" \
			>configure.log 2>&1 || { cat configure.log; exit 1; }
		$MAKE -s tools/torture/bustorture >make.log 2>&1 ||
			{ cat make.log; exit 1; }
	) || exit 1
	echo "killtest: $CC $flags: bustorture $*"
	"$dir/tools/torture/bustorture" "$@" || status=1
done
exit $status
