# busscen_lib.sh - what the scripts share that test busscen
#
# Read with `.`, in a script that then defines its tests, functions test_NAME,
# and calls run_tests "$@".  A test that says $way, or "way" of the environment,
# is run for each of the two ways that a message goes: queue and pipe.

here=$(cd "$(dirname "$0")" && pwd)
script=$here/$(basename "$0")
BUSSCEN=${BUSSCEN:-${top_builddir:-${builddir:-.}}/tools/busscen}
case $BUSSCEN in
/*) ;;
*) BUSSCEN=$PWD/$BUSSCEN ;;
esac
if ! test -x "$BUSSCEN"; then
	echo "skipped: there is no program '$BUSSCEN'"
	exit 77
fi
unset BUS_WAIT # the tests choose

dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
cd "$dir" || exit 1

failed=0

# fail TEXT: the test that runs is not passed
fail()
{
	echo "  FAILED: $*"
	test_failed=1
}

# expect STATUS ARGUMENT...: run busscen; standard output to `out`, standard
# error to `err`; its exit status must be STATUS
expect()
{
	want=$1
	shift
	"$BUSSCEN" "$@" >out 2>err
	got=$?
	test "$got" -eq "$want" || {
		fail "busscen $*: exit status $got, not $want"
		sed 's/^/    /' err
	}
}

# out_is TEXT, err_is TEXT, err_has TEXT: of the last run; printf escapes
out_is()
{
	printf "$1" | cmp -s - out || { fail "output:"; head -5 out; }
}

err_is()
{
	printf "$1" | cmp -s - err || { fail "standard error:"; cat err; }
}

err_has()
{
	grep -qF -e "$1" err || { fail "no '$1' on standard error:"; cat err; }
}

# random_pairs N SEED: N lines of pairs whose products fit 64 bits, with signs
random_pairs()
{
	awk -v n="$1" -v seed="$2" 'BEGIN {
		srand(seed)
		for (i = 0; i < n; i++)
			printf "%d,%d\n", (rand() - 0.5) * 9e7,
			       (rand() - 0.5) * 9e7
	}'
}

# products <PAIRS: what is right; awk is exact below 2^53; + 0 turns -0 to 0
products()
{
	awk -F, '{ printf "%.0f\n", $1 * $2 + 0 }'
}

# Our own /dev/shm entries and processes; other tests may run beside us, so
# names that are theirs do not count, and only what appears and stays does.
shm_names()
{
	ls /dev/shm 2>/dev/null | grep '^shmbus' |
		grep -vE '^shmbus\.(t[0-9]|bustorture-)' | sort
}

# Processes of busscen that this run started: a mark in the environment, which
# workers inherit.
export BUSSCEN_TEST=$$-$(date +%s)
survivors()
{
	grep -lzs "^BUSSCEN_TEST=$BUSSCEN_TEST\$" /proc/[0-9]*/environ |
		while read -r f; do
			p=${f%/environ}
			case $(readlink "$p/exe") in
			*busscen*) echo "${p#/proc/}" ;;
			esac
		done
}

# Within a second nothing of us may live.
nobody_left()
{
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		test -n "$(survivors)" || return 0
		sleep 0.1
	done
	fail "processes are left: $(survivors)"
	kill -9 $(survivors)
}

# wait_for COMMAND...: at most ten seconds
wait_for()
{
	for _ in $(seq 100); do
		"$@" && return 0
		sleep 0.1
	done
	fail "waited in vain: $*"
	return 1
}

has_lines()
{
	test "$(wc -l <"$1")" -ge "$2"
}

has_survivors()
{
	test "$(survivors | wc -l)" -ge "$1"
}

# children_of PID; has_children PID N: not those of libtool's wrapper
children_of()
{
	for p in $(cat /proc/$1/task/$1/children); do
		case $(readlink /proc/$p/exe) in
		*busscen*) echo $p ;;
		esac
	done
}

has_children()
{
	test "$(children_of $1 | wc -w)" -eq $2
}

# Names of tests, in the order of the script.
all_tests()
{
	sed -n 's/^test_\([a-z0-9_]*\)()$/\1/p' "$script"
}

# The ways for which a test is run: one that means nothing to it, or both.
ways_of()
{
	if sed -n "/^test_$1()\$/,/^}/p" "$script" | grep -q '[$"]way'; then
		echo queue pipe
	else
		echo -
	fi
}

# run_tests [NAME...]: all of them, or those; does not return
run_tests()
{
	shm_before=$(shm_names)
	export way # for what a test starts
	for name in ${*:-$(all_tests)}; do
		for way in $(ways_of "$name"); do
			test_failed=0
			echo "$name $way"
			"test_$name"
			nobody_left
			failed=$((failed + test_failed))
		done
	done
	nothing_left
	test $failed -eq 0 || { echo "$failed tests failed"; exit 1; }
	exit 0
}

# Unnamed buses have no name to leave behind.
nothing_left()
{
	for name in $(shm_names); do
		case " $(echo $shm_before) " in
		*" $name "*) ;;
		*)
			sleep 1 # of another test that runs beside us?
			test ! -e "/dev/shm/$name" || {
				echo "FAILED: /dev/shm/$name is left"
				failed=$((failed + 1))
			}
			;;
		esac
	done
}
