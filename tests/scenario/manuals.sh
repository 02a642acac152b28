#!/bin/sh
# manuals.sh - the manual pages name every function, and every option; and the
# figures in README.md have been measured
#
# Runs from `make check`.  Exit 0 or 1.

srcdir=$(cd "${srcdir:-.}" && pwd)
BUSADM=${BUSADM:-${top_builddir:-.}/tools/adm/busadm}
BUSSCEN=${BUSSCEN:-${top_builddir:-${builddir:-.}}/tools/busscen}
BUSBENCH=${BUSBENCH:-${top_builddir:-${builddir:-.}}/bench/busbench}
BUSTORTURE=${BUSTORTURE:-${top_builddir:-.}/tools/torture/bustorture}
failed=0

fail()
{
	echo "FAILED: $*"
	failed=1
}

# options_of COMMAND...: of its help, without those that argp gives everybody
options_of()
{
	"$@" --help | grep -oE '(^|[ ,])--[a-z][a-z-]*' | tr -d ' ,' |
		grep -vx -e --usage | sort -u
}

# tells PAGE COMMAND...: PAGE has all options of COMMAND, and there are some
tells()
{
	page=$srcdir/$1
	shift
	options=$(options_of "$@")
	test -n "$options" || fail "no options in the help of $*"
	for option in $options; do
		grep -qE "(Fl|,) ${option#-}( |\$)" "$page" ||
			fail "$option of $* is not in $page"
	done
}

# knows PAGE COMMAND...: and the other way, no option that is not in their helps
knows()
{
	page=$srcdir/$1
	shift
	for option in $(grep -oE 'Fl -[a-z][a-z-]*' "$page" |
		sed 's/Fl -/--/' | sort -u); do
		for command in "$@"; do
			# shellcheck disable=SC2086 # a program and a word
			options_of $(echo "$command" | tr = ' ')
		done | grep -qx -e "$option" ||
			fail "$option in $page is no option"
	done
}

functions=$(sed -n 's/^BUS_API .*[ *]\(bus_[a-z_]*\)(.*/\1/p' \
	"$srcdir/bus/shmbus.h" | sort -u)
test "$(echo "$functions" | wc -l)" -gt 50 ||
	fail "no functions in bus/shmbus.h: $functions"
for function in $functions; do
	grep -qE "^\.Fn $function( |\$)" "$srcdir/bus/shmbus.7" ||
		fail "$function is not in bus/shmbus.7"
done
for function in $(sed -n 's/^\.Fn \(bus_[a-z_]*\).*/\1/p' \
	"$srcdir/bus/shmbus.7" | sort -u); do
	echo "$functions" | grep -qx "$function" ||
		fail "$function in bus/shmbus.7 is no function"
done

if test -x "$BUSADM"; then
	commands=$("$BUSADM" --help | sed -n 's/^  \([a-z]*\) .*/\1/p')
	test -n "$commands" || fail "no commands in the help of busadm"
	tells tools/adm/busadm.1 "$BUSADM"
	for command in $commands; do
		tells tools/adm/busadm.1 "$BUSADM" "$command"
		grep -q "^\.Ss busadm $command" "$srcdir/tools/adm/busadm.1" ||
			fail "$command is not in tools/adm/busadm.1"
	done
	# shellcheck disable=SC2046,SC2086 # a program and a word each
	knows tools/adm/busadm.1 "$BUSADM" \
		$(for command in $commands; do echo "$BUSADM=$command"; done)
fi
if test -x "$BUSSCEN"; then
	tells tools/busscen.1 "$BUSSCEN"
	knows tools/busscen.1 "$BUSSCEN"
fi
if test -x "$BUSTORTURE"; then
	tells tools/torture/bustorture.1 "$BUSTORTURE"
	knows tools/torture/bustorture.1 "$BUSTORTURE"
fi
if test -x "$BUSBENCH"; then
	tells bench/busbench.1 "$BUSBENCH"
	for command in compare report rivals; do
		tells bench/busbench.1 "$BUSBENCH" $command
	done
	knows bench/busbench.1 "$BUSBENCH" "$BUSBENCH compare" \
		"$BUSBENCH report" "$BUSBENCH rivals"
fi

for figure in $(sed -n '/^## Figures/,/^Bold/p' "$srcdir/README.md" |
	grep -oE '[0-9.]+ (ns|us|[kM]/s)' | sed 's|/s$||' | tr ' ' _); do
	grep -qF "| $(echo "$figure" | tr _ ' ') " "$srcdir/bench/RESULTS.md" ||
		fail "'$figure' in README.md is not in bench/RESULTS.md"
done
test $failed -eq 0 && echo "all passed"
exit $failed
