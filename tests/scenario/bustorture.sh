#!/bin/sh
# bustorture.sh - bustorture does what bustorture(1) says, and finds nothing
#
# Runs from `make check`; by hand: BUSTORTURE=tools/torture/bustorture sh
# bustorture.sh [NAME...] runs the named tests only; without, all but kill, which
# bustorture_kill.sh runs.  Exit 0, 1, or 77 without a program, or if the
# environment has CHECK_QUICK.

BUSTORTURE=${BUSTORTURE:-${top_builddir:-.}/tools/torture/bustorture}
case $BUSTORTURE in
/*) ;;
*) BUSTORTURE=$PWD/$BUSTORTURE ;;
esac
if ! test -x "$BUSTORTURE"; then
	echo "skipped: there is no program '$BUSTORTURE'"
	exit 77
fi
if test -n "${CHECK_QUICK-}"; then
	echo "skipped: CHECK_QUICK is set"
	exit 77
fi
unset BUS_WAIT # the tests choose

dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
script=$(cd "$(dirname "$0")" && pwd)/$(basename "$0")
cd "$dir" || exit 1

# fail TEXT: the test that runs is not passed
fail()
{
	echo "  FAILED: $*"
	test_failed=1
}

# expect STATUS ARGUMENT...: its exit status must be STATUS
expect()
{
	want=$1
	shift
	"$BUSTORTURE" "$@" >out 2>err
	got=$?
	test "$got" -eq "$want" || {
		fail "bustorture $*: exit status $got, not $want"
		sed 's/^/    /' out err
	}
}

test_options()
{
	expect 2 --no-such-option
	expect 2 no-such-test
	grep -q no-such-test err || fail 'it does not name the test'
	expect 2 --seed -1
	expect 2 --seed x
	grep -q "'x'" err || fail 'it does not name the seed'
	expect 2 --seed
	expect 2 --format xml
	grep -q "'xml'" err || fail 'it does not name the format'
	expect 2 --at x
	expect 2 --only ring/n2/put/empty
	expect 2 kill --at 7
	expect 2 kill flip --only ring/n2/put/empty
	grep -q "'ring/n2/put/empty'" err || fail 'it does not name the case'
	grep -q "Try 'bustorture --help'" err || fail 'no hint'
	expect 2 --quick --full --list
	grep -q -e '--quick and --full exclude each other' err ||
		fail 'it does not say which options'
	expect 2 --full --quick --list
	expect 0 --full --list
	expect 0 --help
	grep -q '^Usage: bustorture' out || fail 'no usage'
	expect 0 --version
	expect 0 --list
	grep -q '^kill ' out || fail 'kill is not listed'
}

# Of what is missing it says what there is instead, as far as the name goes.
test_unknown_cases_and_points_are_usage_errors()
{
	for t in kill stop chaos flip faults threats; do
		expect 2 $t --only no-such-case
		grep -q "'no-such-case'" err || fail "$t: it does not name it"
		grep -q "^  [a-z]" err || fail "$t: it says nothing of others"
		test ! -s out || fail "$t: there is output"
	done
	expect 2 kill --only ring/no-such-case
	grep -q '^  ring/n2/' err || fail 'no cases of ring'
	! grep -q '^  bus/' err || fail 'cases of other parts'
	expect 2 kill --only rin
	expect 2 kill --only ring/n2/pu
	expect 2 kill --only ''
	expect 2 kill --only ring/n2/put/empty --at 100000000
	grep -q '100000000' err || fail 'it does not name the point'
	expect 2 kill --only bus/put/empty/poll --at 100000000
	expect 2 stop --only put/empty --at 100000000 --format json
	test ! -s out || fail 'there is output'
	expect 2 faults --only queue --at 100000000
	expect 2 flip --only put/one --at 9000000000000000000
	expect 2 threats --only symlink --at 1
}

test_cases_are_listed_as_they_are_asked_for()
{
	expect 0 --list kill
	grep -qx 'ring/n2/put/empty' out || fail 'a case is missing'
	test "$(wc -l <out)" -gt 500 || fail 'not all cases'
	expect 0 --list threats
	case=$(head -1 out)
	expect 0 threats --only "$case"
	expect 2 --list no-such-test
}

test_output_that_cannot_be_written_is_no_success()
{
	test -w /dev/full || return 0
	"$BUSTORTURE" --list >/dev/full 2>err && fail 'exit status 0'
	grep -q 'cannot write' err || fail 'it does not say so'
}

test_one_case_as_json()
{
	expect 0 kill --only ring/n2/put/empty --format json
	for key in test points hung lost duplicated leaked crashed seconds; do
		grep -q "\"$key\":" out || fail "no $key"
	done
	test "$(wc -l <out)" -eq 1 || fail 'not one line'
}

# That cases are looked for first is nobody's business.
test_verbose_has_one_table()
{
	expect 0 kill --only ring/n2/put/empty --at 7 -v
	test "$(grep -c operation err)" -eq 1 || fail 'not one heading'
	grep -q '^n2 *put ' err || fail 'no row'
	expect 0 stop --only put/empty --at 7 -v
	test "$(grep -c operation err)" -eq 1 || fail 'stop: not one heading'
}

test_one_point()
{
	expect 0 kill --only ring/n2/put/empty --at 7 --format json
	grep -q '"points":1,' out || fail 'not one point'
	# one of each that goes on from there
	expect 0 kill --only ring/n2/put --at 7 --format json
	grep -q '"points":[2-9][0-9]*,' out || fail 'not some points'
}

test_one_part()
{
	expect 0 kill --only ring --at 7 --format json
	points=$(sed -n 's/.*"points":\([0-9]*\).*/\1/p' out)
	test "${points:-0}" -gt 100 || fail 'not all cases of it'
}

# processes: those of this run, by what they have in their environment
processes()
{
	grep -l "BUSTORTURE_RUN=$dir" /proc/[0-9]*/environ 2>/dev/null |
		sed 's|/proc/\([0-9]*\)/.*|\1|'
}

# names PID: what a run has in /dev/shm
names()
{
	ls /dev/shm | grep "^shmbus\.bustorture-$1-"
}

# eventually COMMAND...: within ten seconds, and print what it prints then
eventually()
{
	for i in $(seq 100); do
		"$@" && return
		sleep 0.1
	done
	return 1
}

none()
{
	test -z "$("$@")"
}

# start [COMMAND...]: a run, by that command, as $pid
start()
{
	env BUSTORTURE_RUN="$dir" "$@" "$BUSTORTURE" kill --full --format json \
		--only bus/open/empty/poll >out 2>err &
	pid=$!
}

# begin [COMMAND...]: a run, by that command, that has a name in /dev/shm nearly always, as $pid
begin()
{
	start "$@"
	eventually names $pid >/dev/null || fail 'it makes no name'
}

# end SIGNAL STATUS: the run ends so, and leaves nothing
end()
{
	kill -s "$1" $pid
	wait $pid 2>/dev/null
	got=$?
	test "$got" -eq "$2" || fail "$1: exit status $got, not $2"
	eventually none processes || fail "$1: processes are left"
	eventually none names $pid || fail "$1: names are left"
}

# The figures so far come also from one that is told to end.
test_interrupted()
{
	"$BUSTORTURE" kill --only ring --full --format json >out 2>err &
	pid=$!
	sleep 2
	kill $pid
	wait $pid
	test $? -eq 143 || fail 'the exit status does not tell the signal'
	grep -q interrupted err || fail 'it does not say so'
	points=$(sed -n 's/.*"points":\([0-9]*\).*/\1/p' out)
	test "${points:-0}" -gt 100 || fail "only ${points:-no} points"
}

test_terminated_leaves_nothing()
{
	begin
	end TERM 143
	begin
	end HUP 129
	# what a shell starts in the background ignores it
	env --default-signal=INT true 2>/dev/null || return 0
	begin env --default-signal=INT
	end INT 130
}

# ticks: what the processes of this run have used of the processor
ticks()
{
	for p in $(processes); do
		sed "s/.*) / $p /" /proc/$p/stat 2>/dev/null |
			awk '{ print $1, $13 + $14 }'
	done
}

# is_still: for a second nobody begins, ends, or runs.  Who sleeps and looks
# now and then for whom has died may: that is a tick or two.
is_still()
{
	ticks | sort >before
	sleep 1
	ticks | sort >after
	awk 'NR == FNR { was[$1] = $2; n++; next }
		!($1 in was) || $2 > was[$1] + 2 { bad = 1 }
		{ n-- } END { exit bad || n != 0 }' before after
}

goes_on()
{
	! is_still
}

stopped()
{
	grep -q '^State:.T' /proc/$pid/status
}

stop()
{
	kill -s TSTP $pid
	eventually stopped || fail 'it does not stop'
	eventually is_still || fail 'its parts do not'
}

# As by Ctrl-Z and fg.  Longer than anybody waits for anybody.
test_stopped_goes_on_without_harm()
{
	begin
	sleep 1
	stop
	sleep 12
	is_still || fail 'somebody went on'
	kill -s CONT $pid
	sleep 1
	eventually goes_on || fail 'it does not go on'
	stop
	kill -s CONT $pid
	sleep 1
	end TERM 143
	for key in hung lost duplicated leaked crashed wrong; do
		grep -q "\"$key\":0," out || fail "$key is not 0"
	done
	! grep FAILED err || fail 'a point is bad'
}

# Who goes on before he has stopped does not stop afterwards.
test_continued_at_once_goes_on()
{
	for after in 0.002 0.004 0.006 0.01 0.02; do
		start
		sleep $after
		kill -s TSTP $pid
		sleep 0.002
		kill -s CONT $pid
		sleep 0.5
		! stopped || fail 'it has stopped for ever'
		kill -s CONT $pid # or it would not end
		end TERM 143
	done
}

test_stopped_can_be_ended()
{
	begin
	stop
	kill -s TERM $pid
	end CONT 143
	begin
	stop
	end KILL 137
}

test_killed_leaves_nothing()
{
	for round in 1 2 3; do
		begin
		end KILL 137
	done
}

# Also whoever cleans up after it is killed.
test_what_killed_runs_left_is_removed_by_the_next()
{
	for round in $(seq 20); do
		begin
		kill -s KILL $(processes)
		wait $pid 2>/dev/null
		eventually none processes || fail 'processes are left'
		names $pid >/dev/null && break
	done
	names $pid >/dev/null || fail 'no run left a name'
	expect 0 kill --only ring/n2/put/empty --at 7
	names $pid >/dev/null && fail 'they are still there'
	return 0
}

# quick TEST POINTS: no harm is done by at least so many points
quick()
{
	expect 0 "$1" --quick --format json
	cat err
	points=$(sed -n 's/.*"points":\([0-9]*\).*/\1/p' out)
	test "${points:-0}" -ge "$2" || fail "only $points points, not $2"
	echo "  $1: $points points"
}

test_kill()
{
	quick kill 20000
}

test_stop()
{
	quick stop 3000
}

test_chaos()
{
	quick chaos 100
}

test_flip()
{
	quick flip 2000
}

test_faults()
{
	quick faults 3000
}

test_threats()
{
	quick threats 10
	expect 0 threats --only symlink -v
	grep -q '^symlink .*symbolic link' err || fail 'it says not what was done'
}

"$BUSTORTURE" kill --only ring/n2/put/empty --at 1 >out 2>&1
if test $? -eq 77; then
	cat out
	exit 77
fi

status=0
for name in ${*:-$(sed -n 's/^test_\([a-z_]*\)()$/\1/p' "$script" |
	grep -vx kill)}; do
	echo "$name"
	test_failed=
	test_$name
	test -z "$test_failed" || status=1
done
exit $status
