# busadm_lib.sh - what the scripts share that test busadm
#
# Read with `.`, in a script that then defines its tests, functions test_NAME,
# and calls run_tests "$@".  Names of buses begin with $bus.

top=${top_builddir:-${builddir:-.}}
BUSADM=$(realpath "${BUSADM:-$top/tools/adm/busadm}")
ADM_STAGE=$(realpath "${ADM_STAGE:-$top/tests/adm/stage}")
script=$(realpath "$0")
for program in "$BUSADM" "$ADM_STAGE" "$(command -v jq)"; do
	test -x "$program" && continue
	echo "skipped: there is no program '${program:-jq}'"
	exit 77
done
unset BUS_WAIT NO_COLOR

dir=$(mktemp -d) || exit 1
bus=t$$-adm
trap 'clean_up' EXIT
trap 'exit 1' HUP INT TERM
cd "$dir" || exit 1
mkfifo cue
failed=0

clean_up()
{
	kill_stage
	rm -rf "$dir"
	rm -f /dev/shm/shmbus."$bus"*
}

# fail TEXT: the test that runs is not passed
fail()
{
	echo "  FAILED: $*"
	test_failed=1
}

# expect STATUS ARGUMENT...: run busadm; standard output to `out`, standard
# error to `err`; its exit status must be STATUS, and nothing but text comes out
expect()
{
	want=$1
	shift
	"$BUSADM" "$@" >out 2>err
	got=$?
	test "$got" -eq "$want" || {
		fail "busadm $*: exit status $got, not $want"
		sed 's/^/    /' err
	}
	LC_ALL=C grep -q '[^[:print:]	]' out err &&
		fail "busadm $*: what a terminal might obey"
}

# out_has TEXT, out_lacks TEXT, err_has TEXT: of the last run
out_has()
{
	grep -qF -e "$1" out || { fail "no '$1' in the output:"; cat out; }
}

out_lacks()
{
	grep -qF -e "$1" out && { fail "'$1' in the output:"; cat out; }
}

err_has()
{
	grep -qF -e "$1" err || { fail "no '$1' on standard error:"; cat err; }
}

# row TEXT: the line of the output that begins with it, words with one blank
row()
{
	grep -E "^ *$1( |\$)" out | head -1 | tr -s ' ' | sed 's/^ //; s/ $//'
}

# row_is TEXT REST: is the line that begins with TEXT followed by REST?
row_is()
{
	test "$(row "$1")" = "$1 $2" || {
		fail "'$(row "$1")', not '$1 $2', in:"
		cat out
	}
}

# json_is FILTER: jq says that this is true of the output
json_is()
{
	jq -e "$1" out >/dev/null || { fail "not true: $1"; cat out; }
}

# wait_for COMMAND...: at most half a minute
wait_for()
{
	for _ in $(seq 300); do
		"$@" && return 0
		sleep 0.1
	done
	fail "waited in vain: $*"
	return 1
}

# stage NAME: a bus with everything on it; "-" for an unnamed one
stage()
{
	"$ADM_STAGE" "$1" <cue >stage.out &
	stage_pid=$!
	exec 9>cue
	wait_for grep -qx ready stage.out
}

# who NAME: the pid of one on the stage
who()
{
	sed -n "s/^$1 //p" stage.out
}

end_stage()
{
	exec 9>&-
	wait "$stage_pid" || fail "the stage did not end well"
	stage_pid=
}

# All of it, at once, for its children die with it: the bus is an orphan
kill_stage()
{
	test -n "$stage_pid" || return 0
	kill -9 "$stage_pid"
	wait "$stage_pid"
	exec 9>&-
	stage_pid=
} 2>/dev/null

# is_state PID LETTER: as in /proc/PID/stat
is_state()
{
	grep -q "^State:.$2" "/proc/$1/status" 2>/dev/null
}

# Names of tests, in the order of the script.
all_tests()
{
	sed -n 's/^test_\([a-z0-9_]*\)()$/\1/p' "$script"
}

# run_tests [NAME...]: all of them, or those; does not return
run_tests()
{
	for name in ${*:-$(all_tests)}; do
		test_failed=0
		echo "$name"
		"test_$name"
		kill_stage
		rm -f /dev/shm/shmbus."$bus"*
		failed=$((failed + test_failed))
	done
	test $failed -eq 0 || { echo "$failed tests failed"; exit 1; }
	exit 0
}
