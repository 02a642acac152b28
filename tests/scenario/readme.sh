#!/bin/sh
# readme.sh - the example in README.md compiles without a warning and does what
# it says
#
# Runs from `make check`.  Exit 0, 1, or 77 where it cannot run.

srcdir=$(cd "${srcdir:-.}" && pwd)
BUSSCEN=${BUSSCEN:-${top_builddir:-${builddir:-.}}/tools/busscen}
libs=$(cd "$(dirname "$BUSSCEN")/../bus/.libs" && pwd)
cc=${CC:-cc}

skip()
{
	echo "skipped: $*"
	exit 77
}

test -e "$libs/libshmbus.so" || skip "no shared library in '$libs'"
command -v ${cc%% *} >/dev/null || skip "no compiler '$cc'"
grep -q __asan_init "$libs/libshmbus.so" && skip "sanitizers must come first"

dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1

sed -n '/^```c$/,/^```$/p' "$srcdir/README.md" | grep -v '^```' >twice.c
test -s twice.c || { echo "no example in $srcdir/README.md"; exit 1; }
# Strangers compile it with whatever they have.
$cc -Wall -Wextra -Wconversion -Wunused-result -Werror -I"$srcdir/bus" \
	twice.c -o twice -L"$libs" -lshmbus || exit 1
LD_LIBRARY_PATH=$libs timeout 20 ./twice >out || exit 1
seq 0 2 18 | cmp - out
