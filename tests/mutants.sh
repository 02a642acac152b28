#!/bin/sh
# mutants.sh - do the tests notice when a safeguard is missing?
#
#	mutants.sh [--all | --kill | --fuzz] [NAME...]
#
# For each SB_MUTATED(NAME) in lib/ and in the explorers, and each NO_NAME in
# the models: run the explorer that has it, and if that finds nothing, the
# model; --all: the model in any case.  One line each; exits 1 when something
# was missed by all.  Runs where the programs mutants_ring and mutants_wake
# are, in tests/stress.  SECONDS_EACH: how long an explorer may look.
#
# --kill: not those, but `bustorture kill --quick` of a tree that is built
# without the safeguard, in mutants.d: a minute or two each.  It says at which
# point it was seen first, and exits 1 when something was not.  KILL_FLAGS are
# more options, as --only bus; SECONDS_KILL is how long it may take.
#
# --fuzz: not those either, but the checks of what a hostile peer may have
# written, SB_MUTATED(check_...), by `make fuzz`, which must fail.  It says in
# which target, and in what way.  FUZZ_RUNS: how many inputs, of all targets.
set -eu

src=$(cd "$(dirname "$0")/.." && pwd)
seconds=${SECONDS_EACH:-30}
all=false
missed=0
only_kill=false
only_fuzz=false
case ${1-} in
--all)
	all=true
	shift
	;;
--kill)
	only_kill=true
	shift
	;;
--fuzz)
	only_fuzz=true
	shift
	;;
esac

names()
{
	cd "$src"
	grep -oh 'SB_MUTATED([a-z0-9_]*)' lib/*.[ch] tests/stress/*.c |
		sed 's/.*(\(.*\))/\1/; /^name$/d; /^check_/d' # see lib/def.h
	grep -oh 'NO_[a-z][a-z0-9_]*' tests/model/*.pml | sed 's/NO_//'
}

# Prints who found it; nothing when nobody did.
explore()
{
	if grep -q "SB_MUTATED($1)" "$src"/lib/waiter*.[ch] \
		"$src/tests/stress/explore_wake.c"; then
		explorer=wake
	elif grep -q "SB_MUTATED($1)" "$src"/lib/*.[ch]; then
		explorer=ring
	else
		return 0
	fi
	rc=0
	nice -n 10 timeout $((seconds + 20)) tests/stress/mutants_$explorer \
		--mutant="$1" --seconds="$seconds" >mutants.log 2>&1 || rc=$?
	case $rc in
	0|2|77|126|127) ;;
	*) echo "explore_$explorer" ;;
	esac
}

model()
{
	! out=$(sh "$src/tests/model/model.sh" --mutant "$1" 2>&1) ||
		echo "${out%% *}.pml"
}

# Of lib/ alone: the others are not in what is installed.
names_of_lib()
{
	grep -oh 'SB_MUTATED([a-z0-9_]*)' "$src"/lib/*.[ch] |
		sed 's/.*(\(.*\))/\1/; /^name$/d; /^check_/d'
}

names_of_checks()
{
	grep -oh 'SB_MUTATED(check_[a-z0-9_]*)' "$src"/lib/*.[ch] \
		"$src"/bus/*.[ch] | sed 's/.*(\(.*\))/\1/'
}

# Prints the target that fails without it, and what is not so.
fuzz_at()
{
	FUZZ_MUTANT=$1 nice -n 10 ${MAKE:-make} -s fuzz \
		FUZZ_RUNS="${FUZZ_RUNS:-1000000}" >mutants.log 2>&1 || return 0
	sed -n 's/.*not so: /not so: /p
		s/.*ERROR: AddressSanitizer: \([a-zA-Z-]*\).*/\1/p
		s/.*\(a call took\) .*/\1 too long/p' mutants.log | head -1
	sed -n 's/^fuzz: \([a-z]*\) failed.*/\1/p' mutants.log | head -1
}

build_without()
(
	mkdir -p mutants.d
	cd mutants.d || exit
	test -e Makefile || "$src/configure" -q --disable-tests \
		--disable-shared CC="$CC" >configure.log 2>&1 || exit
	# make does not know that another one is gone
	if grep -q "SB_MUTATED($1)" "$src"/lib/*.h "$src"/bus/*.h ||
		test -e was_in_header; then
		find . -name '*.l[ao]' -exec rm -f {} + -o -name '*.o' \
			-exec rm -f {} +
		rm -f was_in_header
	fi
	! grep -q "SB_MUTATED($1)" "$src"/lib/*.h || touch was_in_header
	rm -f lib/*.o lib/*.lo tools/torture/bustorture-kill_ring_sim.o
	${MAKE:-make} -s tools/torture/bustorture \
		CPPFLAGS="-DSB_MUTANT='\"$1\"'" >make.log 2>&1
)

# Prints the first point that is not as it should be.
kill_at()
{
	build_without "$1" || {
		cat mutants.d/make.log >&2
		echo "mutants: it cannot be built" >&2
		exit 1
	}
	timeout -k 10 "${SECONDS_KILL:-200}" nice -n 10 \
		mutants.d/tools/torture/bustorture kill ${KILL_FLAGS-} \
		>mutants.log 2>&1 &
	while kill -0 $! 2>/dev/null && ! grep -q '^FAILED' mutants.log; do
		sleep 1
	done
	kill $! 2>/dev/null || :
	wait $! 2>/dev/null || :
	sed -n 's/^FAILED \(([a-z]*)\).*--only \([^ ]*\) \(--at [0-9]*\).*/\2 \3 \1/p;
		s/^FAILED: \(.* end\).*/\1/p' mutants.log | head -1
}

if $only_kill; then
	for name in ${*:-$(names_of_lib | sort -u)}; do
		start=$(date +%s)
		at=$(kill_at "$name") || exit 1
		test -n "$at" || missed=1
		printf '%-16s %-52s %3d s\n' "$name" "${at:-not by kill}" \
			$(($(date +%s) - start))
	done
	rm -f mutants.log
	exit $missed
fi

if $only_fuzz; then
	${MAKE:-make} -s fuzz FUZZ_RUNS=100 >/dev/null # what all have in common
	for name in ${*:-$(names_of_checks | sort -u)}; do
		start=$(date +%s)
		at=$(fuzz_at "$name" | tr '\n' ' ')
		test -n "$at" || missed=1
		printf '%-18s %-56s %3d s\n' "$name" "${at:-MISSED}" \
			$(($(date +%s) - start))
	done
	rm -f mutants.log
	exit $missed
fi

for name in ${*:-$(names | sort -u)}; do
	start=$(date +%s)
	who=$(explore "$name")
	if $all || [ -z "$who" ]; then
		who="$who $(model "$name")"
	fi
	# They count seconds, of which a busy machine gives them less.
	if [ -z "${who# }" ]; then
		who=$(seconds=$((seconds * 4)) && explore "$name")
		[ -n "$who" ] || who=$(model "$name")
	fi
	case $who in
	''|' ') who='MISSED BY ALL'; missed=1 ;;
	esac
	printf '%-16s %-26s %3d s\n' "$name" "$who" \
		$(($(date +%s) - start))
done
rm -f mutants.log
exit $missed
