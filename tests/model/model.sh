#!/bin/sh
# model.sh - check the models of the protocols with spin
#
#	model.sh            the quick set: a minute and a half of one core
#	model.sh --full     larger ones as well: an hour, and 16 GB of memory
#	model.sh --mutant NAME
#	                    without safeguard NAME (-DNO_NAME); 0 when the model
#	                    finds that, 1 when not, 2 when it has no such switch
#
# Each line of the tables below is one search, of all states that there are,
# unless it says for how many seconds; then it is a random part of them, and
# runs in less memory.  Exits 77 when spin or a C compiler is not here.
set -eu

dir=$(cd "$(dirname "$0")" && pwd)
SPIN=${SPIN:-spin}
CC=${CC:-gcc}

# model, seconds or "all", switches
quick='
ring all -DN_PROD=1 -DN_CONS=1 -DN_EACH=2 -DN_KILLS=2
ring all -DN_PROD=1 -DN_CONS=1 -DN_EACH=2 -DN_KILLS=2 -DREQUEST
ring all -DN_PROD=1 -DN_CONS=1 -DN_EACH=2 -DN_KILLS=1 -DN_REC=2 -DSTRICT
ring all -DN_PROD=1 -DN_CONS=2 -DN_EACH=2 -DN_KILLS=0
wake all -DN_WAKERS=1 -DN_TAKES=1 -DN_KILLS=1
wake all -DN_WAKERS=1 -DN_TAKES=1 -DN_KILLS=1 -DASYM
wake all -DN_WAKERS=2 -DN_PUTS=1 -DN_TAKES=1 -DN_KILLS=0 -DASYM
'
full='
ring all -DN_PROD=1 -DN_CONS=1 -DN_EACH=1 -DN_KILLS=2 -DN_REC=2
ring all -DN_PROD=2 -DN_CONS=1 -DN_EACH=1 -DN_KILLS=1
ring all -DN_PROD=1 -DN_CONS=2 -DN_EACH=1 -DN_KILLS=1
ring 600 -DN_PROD=2 -DN_CONS=2 -DN_EACH=2 -DN_KILLS=2 -DN_REC=2
ring 600 -DN_PROD=2 -DN_CONS=2 -DN_EACH=2 -DN_KILLS=2 -DN_REC=2 -DREQUEST
wake all -DN_WAKERS=1 -DN_TAKES=1 -DN_KILLS=2
wake all -DN_WAKERS=2 -DN_PUTS=1 -DN_TAKES=1 -DN_KILLS=1 -DASYM
wake 600 -DN_WAKERS=2 -DN_PUTS=2 -DN_TAKES=2 -DN_KILLS=2
'
# What is missing shows in the first seconds, or in a larger model.
mutants='
ring 10 -DN_PROD=1 -DN_CONS=1 -DN_EACH=2 -DN_KILLS=2
ring 10 -DN_PROD=1 -DN_CONS=1 -DN_EACH=2 -DN_KILLS=2 -DREQUEST
ring 10 -DN_PROD=1 -DN_CONS=2 -DN_EACH=3 -DN_KILLS=0
ring 20 -DN_PROD=2 -DN_CONS=2 -DN_EACH=2 -DN_KILLS=2 -DN_REC=2
ring 20 -DN_PROD=2 -DN_CONS=2 -DN_EACH=2 -DN_KILLS=2 -DN_REC=2 -DREQUEST
wake 10 -DN_WAKERS=1 -DN_TAKES=1 -DN_KILLS=1
wake 10 -DN_WAKERS=1 -DN_TAKES=1 -DN_KILLS=1 -DASYM
wake 10 -DN_WAKERS=2 -DN_PUTS=2 -DN_TAKES=1 -DN_KILLS=0
'

for program in "$SPIN" "${CC%% *}" timeout; do
	command -v "$program" >/dev/null || {
		echo "model: no $program here (Debian: apt install spin gcc)"
		exit 77
	}
done

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

# search MODEL SECONDS SWITCH...: what pan says goes to $tmp/out.  Returns 0
# when no error was found, 1 when one was, 2 when it could not search.
search()
{
	model=$1 seconds=$2
	shift 2
	if [ "$seconds" = all ]; then
		store=-DCOLLAPSE limit= args=
	else
		store=-DBITSTATE limit="timeout $seconds" args='-w29 -RS1'
	fi
	(
		cd "$tmp"
		"$SPIN" -a "$@" "$dir/$model.pml" >spin.out 2>&1 ||
			{ cat spin.out; exit 2; }
		# shellcheck disable=SC2086 # words
		$CC -O2 -w -DSAFETY -DVECTORSZ=2048 -DMEMLIM=16000 $store \
			-o pan pan.c
	) || return 2
	# -E: those who wait for work at the end are no deadlock, the model
	# itself says what is one.
	# shellcheck disable=SC2086
	(cd "$tmp" && nice -n 10 $limit ./pan -E -m200000 $args) \
		>"$tmp/out" 2>&1 || true
	if grep -q 'errors: [1-9]' "$tmp/out"; then
		return 1
	elif grep -q 'errors: 0' "$tmp/out"; then
		if grep -q 'error: max search depth' "$tmp/out"; then
			return 2
		fi
	elif [ "$seconds" = all ]; then
		return 2 # no memory
	fi
}

mutant()
{
	grep -q "NO_$1\\>" "$dir"/*.pml || return 2
	while read -r model seconds switches; do
		[ -n "$model" ] || continue
		grep -q "NO_$1\\>" "$dir/$model.pml" || continue
		rc=0
		# shellcheck disable=SC2086
		search "$model" "$seconds" "-DNO_$1" $switches || rc=$?
		[ $rc -ne 2 ] || { cat "$tmp/out"; return 3; }
		if [ $rc -eq 1 ]; then
			echo "$model $switches: $(grep -m1 '^pan:1' "$tmp/out")"
			return 0
		fi
	done <<END
$mutants
END
	return 1
}

check()
{
	bad=0
	while read -r model seconds switches; do
		[ -n "$model" ] || continue
		start=$(date +%s)
		rc=0
		# shellcheck disable=SC2086
		search "$model" "$seconds" $switches || rc=$?
		states=$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' "$tmp/out")
		[ -n "$states" ] ||
			states=$(sed -n 's/.*States= *\([0-9.e+]*\).*/\1/p' \
				"$tmp/out" | tail -n 1)
		case $rc in
		0) found='no error' ;;
		1) found="ERROR: $(grep -m1 '^pan:1' "$tmp/out")" ;;
		2) found="NOT SEARCHED: $(tail -n 1 "$tmp/out")" ;;
		esac
		[ $rc -eq 0 ] || bad=1
		[ "$seconds" = all ] && part= || part=' (a part)'
		echo "$model $switches: ${states:-no} states$part," \
			"$(($(date +%s) - start)) s, $found"
	done <<END
$1
END
	return $bad
}

case ${1-} in
--mutant)
	mutant "$2"
	;;
--full)
	check "$quick$full"
	;;
'')
	check "$quick"
	;;
*)
	echo "usage: model.sh [--full | --mutant NAME]" >&2
	exit 2
	;;
esac
