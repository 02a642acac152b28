#!/bin/sh
# mutants.sh - do the tests notice when a safeguard is missing?
#
#	mutants.sh [--all] [NAME...]
#
# For each SB_MUTATED(NAME) in lib/ and in the explorers, and each NO_NAME in
# the models: run the explorer that has it, and if that finds nothing, the
# model; --all: the model in any case.  One line each; exits 1 when something
# was missed by all.  Runs where the programs mutants_ring and mutants_wake
# are, in tests/stress.  SECONDS_EACH: how long an explorer may look.
set -eu

src=$(cd "$(dirname "$0")/.." && pwd)
seconds=${SECONDS_EACH:-30}
all=false
missed=0
if [ "${1-}" = --all ]; then
	all=true
	shift
fi

names()
{
	cd "$src"
	grep -oh 'SB_MUTATED([a-z0-9_]*)' lib/*.[ch] tests/stress/*.c |
		sed 's/.*(\(.*\))/\1/; /^name$/d' # lib/def.h says what it is
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

for name in ${*:-$(names | sort -u)}; do
	start=$(date +%s)
	who=$(explore "$name")
	if $all || [ -z "$who" ]; then
		who="$who $(model "$name")"
	fi
	case $who in
	''|' ') who='MISSED BY ALL'; missed=1 ;;
	esac
	printf '%-16s %-26s %3d s\n' "$name" "$who" \
		$(($(date +%s) - start))
done
rm -f mutants.log
exit $missed
