#!/bin/sh
# busscen_pool.sh - busscen's scenarios of the pool do what busscen(1) says
#
# Runs from `make check`; by hand: BUSSCEN=tools/busscen sh busscen_pool.sh
# [NAME...] runs the named tests only.  Exit 0, 1, or 77 without a program.

. "$(dirname "$0")/busscen_lib.sh"

# Memory that was freed shall not stay, where a test looks at how much there is.
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}quarantine_size_mb=1"

farms='pool-pipe pool-queue pool-map'

# some_pairs N SEED: in `pairs`, and their products in `want`
some_pairs()
{
	random_pairs $1 $2 >pairs
	products <pairs >want
}

# out_has LINE: an extended regular expression for a whole line
out_has()
{
	grep -qxE -e "$1" out || { fail "no line '$1':"; cat out; }
}

# lines_but N FILE: all lines of FILE but the Nth
lines_but()
{
	sed "$1d" $2
}

died_3='error: quarantined: 3 workers died on it, the last, pid [1-9][0-9]*, by signal 9 (Killed)'

# one_is_error N TEXT: line N of `out` is TEXT, a basic regular expression, and
# the others are as in `want`
one_is_error()
{
	sed -n "$1p" out | grep -qx -e "$2" ||
		{ fail "line $1 is not '$2':"; sed -n "$1p" out; }
	lines_but $1 out >got
	lines_but $1 want | cmp - got || fail "the others are not right"
}

json_ok()
{
	if command -v python3 >/dev/null; then
		python3 -c "
import json
*lines, summary = [json.loads(line) for line in open('out')]
$1" || { fail "not the JSON that was expected"; cat out; }
	else
		echo "  no python3"
	fi
}

# ------------------------------------------------------------------ farms --

test_demos_are_exact()
{
	for farm in pool-pipe pool-queue; do
		for n in 1 2 8; do
			expect 0 run $farm --workers $n
			out_is 'Received result: 2\nReceived result: 12\nReceived result: 30\nAll results: [2, 12, 30]\n'
			err_is ''
		done
		expect 0 run $farm
		out_is 'Received result: 2\nReceived result: 12\nReceived result: 30\nAll results: [2, 12, 30]\n'
	done
	for args in '' --ordered '--chunk 2' '--chunk 100 --workers 5'; do
		expect 0 run pool-map $args
		out_is 'Result: 2\nResult: 12\nResult: 30\nAll results: [2, 12, 30]\n'
		err_is ''
	done
}

test_lines_are_right()
{
	some_pairs 5000 3
	for farm in $farms; do
		expect 0 run $farm --workers 3 --input pairs
		cmp out want || fail "$farm: wrong products"
		err_is ''
		cat pairs | "$BUSSCEN" run $farm --input - --output got ||
			fail "$farm: from a pipe"
		cmp got want || fail "$farm: wrong products from a pipe"
	done
}

test_chunks_and_orders()
{
	some_pairs 10000 5
	sort -n want >sorted
	for chunk in 1 7 64 1024; do
		expect 0 run pool-map --input pairs --chunk $chunk --workers 3
		cmp out want || fail "chunk $chunk: not in order, or wrong"
		expect 0 run pool-map --input pairs --chunk $chunk --unordered
		sort -n out | cmp - sorted || fail "chunk $chunk: not each once"
	done
}

test_unordered_tells_the_line()
{
	some_pairs 2000 9
	expect 0 run pool-map --input pairs --unordered --format json --workers 3
	json_ok "
pairs = [tuple(map(int, line.split(','))) for line in open('pairs')]
assert sorted(x['line'] for x in lines) == list(range(1, 2001))
for x in lines:
    assert (x['a'], x['b']) == pairs[x['line'] - 1], x
    assert x['product'] == x['a'] * x['b'], x
assert summary['results'] == 2000 and summary['scenario'] == 'pool-map'"
}

test_bad_lines_and_overflows()
{
	printf '1,2\nx\n9223372036854775807,2\n# c\n5,6' >in
	for farm in $farms 'pool-map --chunk 3'; do
		expect 1 run $farm --input in --keep-going
		out_is "2\nerror: not a pair of integers: 'x'\nerror: 9223372036854775807 * 2 does not fit 64 bits\n30\n"
		err_is 'busscen: 2 lines of in with an error instead of a product\n'
		expect 2 run $farm --input in
		out_is '2\n'
		err_is "in:2: not a pair of integers: 'x'\n"
	done
	expect 1 run pool-map --input in --keep-going --unordered
	sort out >sorted
	grep -qx 2 out && grep -qx 30 out && test $(wc -l <out) -eq 4 ||
		{ fail "unordered:"; cat out; }
	# everything before it is answered, in whatever order
	some_pairs 3000 2
	echo x >>pairs
	expect 2 run pool-map --input pairs --unordered --chunk 10
	sort out >got
	sort want | cmp - got || fail "not everything before it was answered"
	err_is "pairs:3001: not a pair of integers: 'x'\n"
	# more bad lines than there is room for
	awk 'BEGIN { for (i = 1; i <= 3000; i++)
		print i % 7 ? "bad " i : i ",2" }' >in
	awk 'BEGIN { for (i = 1; i <= 3000; i++)
		print i % 7 ? "error: not a pair of integers: '"'bad \" i \"'"'"\
			    : i * 2 }' >want
	expect 1 run pool-map --input in --keep-going --workers 3
	cmp out want || fail "not in the order of the lines"
	for farm in $farms; do
		expect 0 run $farm --input /dev/null
		out_is ''
		expect 1 run $farm --input missing
		err_is "busscen: cannot open 'missing': No such file or directory\n"
	done
}

test_kills_do_not_show()
{
	some_pairs 2000 11
	for farm in $farms 'pool-map --chunk 20'; do
		for n in 1 4; do
			expect 0 run $farm --input pairs --kill-every 40 \
				--workers $n
			cmp out want || fail "$farm: another output, $n workers"
			err_is ''
		done
	done
	sort want >sorted
	expect 0 run pool-map --input pairs --kill-every 40 --unordered
	sort out | cmp - sorted || fail "unordered: another output"
	expect 0 run pool-map --kill-every 1
	out_is 'Result: 2\nResult: 12\nResult: 30\nAll results: [2, 12, 30]\n'
}

test_what_a_dead_worker_had_goes_to_the_others()
{
	some_pairs 500 31
	mkfifo fifo
	for farm in $farms; do
		"$BUSSCEN" run $farm --workers 2 --input - <fifo >out 2>err &
		pid=$!
		exec 3>fifo
		wait_for has_children $pid 2
		set -- $(children_of $pid)
		kill -STOP $1 # it gets work, as others do, and does not do it
		cat pairs >&3
		sleep 0.2
		kill -KILL $1
		exec 3>&-
		wait $pid || fail "$farm: exit status $?"
		cmp out want || fail "$farm: not all results, or not once"
	done
	rm fifo
}

test_a_poison_is_quarantined()
{
	some_pairs 1000 13
	for args in '' '--workers 1' '--chunk 16' '--chunk 1024'; do
		expect 1 run pool-map --input pairs --poison 500 --keep-going \
			$args
		one_is_error 500 "$died_3"
		err_is 'busscen: 1 line of pairs with an error instead of a product\n'
	done
	for n in 1 1000; do
		expect 1 run pool-map --input pairs --poison $n --keep-going
		one_is_error $n "$died_3"
	done
	expect 0 run pool-map --input pairs --poison 1001
	cmp out want || fail "there is no such pair, and yet another output"
	expect 1 run pool-map --input pairs --poison 500
	head -499 want | cmp - out || fail "not everything before it"
	err_has 'pairs:500: quarantined: 3 workers died on it'
	expect 1 run pool-map --input pairs --poison 500 --keep-going \
		--kill-every 100
	one_is_error 500 'error: quarantined: 12 workers died on it, .* by signal 9 (Killed)'
	# lines that are no pair do not count
	printf 'x\n1,2\n3,4\n' >in
	expect 1 run pool-map --input in --poison 2 --keep-going
	sed -n 3p out | grep -qx "$died_3" || { fail "which pair:"; cat out; }
}

# map_to NAME ARGUMENT...: in the background; $pid is it
map_to()
{
	name=$1
	shift
	"$BUSSCEN" run pool-map --input pairs --deadline 3000 "$@" \
		>$name.out 2>$name.err &
	pid=$!
}

# map_ended STATUS PID NAME: wait for it; then it is the last run
map_ended()
{
	wait $2
	got=$?
	test $got -eq $1 || fail "$3: exit status $got, not $1"
	mv $3.out out
	mv $3.err err
}

# A deadline counts from when a pair was submitted, so it is long and the pairs
# are few: else a machine that has much to do would be too late with others.
test_a_stuck_one_is_given_up()
{
	late='not done within the deadline of 3000 ms'
	some_pairs 60 17
	map_to in_order --stuck 5 --keep-going --workers 3
	in_order=$pid
	map_to first_end --stuck 5 --workers 3
	first_end=$pid
	map_to any_order --stuck 1 --poison 50 --keep-going --workers 3 \
		--unordered --format json
	any_order=$pid
	map_to one_worker --stuck 10 --keep-going --workers 1
	one_worker=$pid

	map_ended 1 $in_order in_order
	one_is_error 5 "error: $late"
	map_ended 1 $first_end first_end
	head -4 want | cmp - out || fail "not everything before it"
	err_is "pairs:5: $late\n"
	# nobody waits for it
	map_ended 1 $any_order any_order
	json_ok "
errors = {x['line']: x['error'] for x in lines if 'error' in x}
assert sorted(errors) == [1, 50], errors
assert errors[1] == '$late', errors
assert errors[50].startswith('quarantined: 3 workers died on it'), errors
assert lines[0]['line'] != 1, lines[0]
assert summary['results'] == 58 and summary['errors'] == 2, summary"
	# what waits behind it, with one worker, is not tried for ever
	map_ended 1 $one_worker one_worker
	has_lines out 60 || fail "not all lines"
	head -9 want >first
	head -9 out | cmp - first || fail "not right before it"
	sed -n 10p out | grep -qx "error: $late" || fail "the stuck one"
}

test_results_are_shown_as_they_come()
{
	mkfifo fifo
	for args in 'pool-map' 'pool-map --chunk 64' 'pool-map --unordered' \
		pool-pipe pool-queue; do
		"$BUSSCEN" run $args --input - <fifo >out 2>err &
		pid=$!
		exec 3>fifo
		printf '1,2\n3,4\n5' >&3
		wait_for has_lines out 2
		sort -n out >got
		printf '2\n12\n' | cmp - got || fail "$args"
		printf ',6\n' >&3
		wait_for has_lines out 3
		printf '7,8' >&3
		exec 3>&-
		wait $pid || fail "$args: exit status $?"
		sort -n out >got
		printf '2\n12\n30\n56\n' | cmp - got || fail "$args"
	done
	rm fifo
}

rss_kb()
{
	awk '/^VmRSS/ { print $2 }' /proc/$1/status
}

pid_of_busscen()
{
	for p in $(survivors); do
		test "$(children_of $p | wc -w)" -gt 0 && echo $p
	done
}

test_an_endless_input_in_bounded_memory()
{
	{ yes 6,7 | "$BUSSCEN" run pool-map --input - 2>err; echo $? >status; } |
		head -20000 >out
	test "$(sort -u out)" = 42 && has_lines out 20000 || fail "not 42s"
	test "$(cat status)" -eq 1 || fail "exit status $(cat status)"
	err_is 'busscen: cannot write standard output: Broken pipe\n'
	for args in --ordered '--unordered --chunk 64'; do
		yes 6,7 | "$BUSSCEN" run pool-map --input - $args \
			>/dev/null 2>err &
		wait_for has_survivors 3
		sleep 0.5
		pid=$(pid_of_busscen)
		before=$(rss_kb $pid)
		sleep 0.5
		after=$(rss_kb $pid)
		kill $pid
		wait $! 2>/dev/null
		nobody_left
		test $after -lt $((before + 8000)) ||
			fail "$args: from $before to $after kB"
	done
}

test_ways_of_waiting()
{
	some_pairs 500 23
	for farm in $farms; do
		expect 0 run $farm --input pairs --wait futex --kill-every 100
		cmp out want || fail "$farm: wrong with futex"
		"$BUSSCEN" run $farm --input pairs --wait uring \
			--kill-every 100 >out 2>err
		case $? in
		0) cmp out want || fail "$farm: wrong with io_uring" ;;
		1) err_has --wait ;;
		*) fail "$farm --wait uring"; cat err ;;
		esac
	done
}

# ------------------------------------------------------------------ claims --

test_crash()
{
	for args in '' '--workers 1 --count 50' '--workers 5 --count 0'; do
		expect 0 run crash $args
		err_is ''
		out_has "returns an error +error -28, 'no room on tape 7'"
		for how in 'kills itself +%by signal 9 \(Killed\)' \
			'has a wild pointer +%by signal 11 \(.*\)' \
			'aborts +%by signal 6 \(.*\)' \
			'calls exit\(0\) +%with exit status 0' \
			'calls _exit\(7\) +%with exit status 7' \
			'calls exec +%by signal 9 \(Killed\)'; do
			out_has "${how%\%*}quarantined: 2 workers died on it, the last ${how#*%}"
		done
		out_has 'forks +done'
		out_has 'hangs +given up after 500 ms, its worker killed'
		out_has '([0-9]+) others +\1 done'
		out_has 'workers +1[2-9] died, 1[0-9] were started anew'
		out_has 'init that fails +.*there is no licence for more.*'
		test $(wc -l <out) -eq 12 || fail "other lines"
	done
	expect 0 run crash --format json --count 100
	json_ok "
assert all(x['right'] for x in lines)
by = {x['task']: x for x in lines if 'task' in x}
assert by['sigkill']['signal'] == 9 and by['_exit']['exit_status'] == 7
assert by['others']['done'] == 100
assert summary['results'] == 109 and summary['errors'] == 0, summary"
}

test_backpressure()
{
	expect 0 run backpressure
	err_is ''
	out_has 'Submitted 2000 tasks of 64 KiB, 131 MB in all, to 2 workers .*'
	out_has 'At most 64 were on their way, with a window of 64; .*'
	out_has 'Memory grew by at most [0-9.]+ MB; it may grow by 3[0-9] MB.'
	out_has '2000 results are right.'
	expect 0 run backpressure --count 10 --workers 4 --format json
	json_ok "
x, = lines
assert x['tasks'] == x['right'] == 10 and x['most_on_their_way'] <= 10
assert x['memory_bytes'] <= x['bound_bytes']
assert summary['results'] == 10 and summary['workers'] == 4"
}

test_fanout()
{
	expect 0 run fanout
	err_is ''
	out_has '64 workers on [0-9]+ processors: 6400 of 6400 tasks are answered.'
	out_has 'Tasks of a worker: [0-9]+ the fewest, 100 the mean, [0-9]+ the most.'
	expect 0 run fanout --workers 200 --format json
	json_ok "
x, = lines
assert x['tasks'] == x['right'] == 20000 and x['mean'] == 100
assert x['mean'] / 4 <= x['fewest'] <= x['mean'] <= x['most']
assert summary['workers'] == 200"
	expect 0 run fanout --workers 8 --count 5
	out_has '8 workers .*: 5 of 5 tasks are answered.'
}

test_drain()
{
	for args in '' '--kill-every 50' '--workers 1' '--workers 20'; do
		expect 0 run drain $args
		err_is ''
		out_has 'Submitted 2000 tasks to [0-9]+ workers; [0-9]+ were not done when the pool was closed.'
		out_has 'Another task was refused.'
		out_has '2000 tasks are done, each once, 0 are lost; all workers have left.'
	done
	expect 0 run drain --count 10000 --format json --kill-every 1000 \
		--workers 4
	json_ok "
x, = lines
assert x['tasks'] == x['right'] == 10000 and x['refused'] and x['all_left']
assert summary['kills'] >= 9, summary"
	expect 0 run drain --count 0
	out_has '0 tasks are done, each once, 0 are lost; all workers have left.'
}

# ------------------------------------------------------------------ others --

test_json_of_farms()
{
	for farm in $farms; do
		expect 0 run $farm --format json --count 500 --kill-every 100 \
			--workers 3
		json_ok "
assert [x['line'] for x in lines] == list(range(1, 501))
assert all(x['a'] * x['b'] == x['product'] for x in lines)
assert summary.pop('seconds') >= 0
assert summary == dict(scenario='$farm', results=500, errors=0, workers=3,
                       kills=5), summary"
	done
}

test_wrong_options_name_the_remedy()
{
	for o in '--chunk 2' --ordered --unordered '--poison 1' \
		'--deadline 10'; do
		for name in queue-farm pool-pipe pool-queue crash; do
			expect 2 run $name $o
			err_has "${o%% *} means nothing to $name"
		done
	done
	for name in crash backpressure fanout drain; do
		expect 2 run $name --input x
		err_has "--input means nothing to $name"
		expect 2 run $name --keep-going
		err_has "--keep-going means nothing to $name"
	done
	expect 2 run fanout --kill-every 3
	err_has '--kill-every means nothing to fanout'
	expect 2 run pool-map --stuck 3
	err_has 'give --deadline MS as well'
	expect 2 run pool-map --stuck 3 --poison 3 --deadline 10
	err_has 'are for two pairs'
	for n in 0 1025 x; do
		expect 2 run pool-map --chunk $n
		err_has "--chunk '$n' must be a number from 1 to 1024"
	done
	expect 2 run pool-map --poison 0
	err_has "--poison '0' must be"
	expect 2 run pool-map --deadline 0
	err_has "--deadline '0' must be"
	out_is ''
}

test_a_failing_output_is_reported()
{
	test -w /dev/full || { echo "  no /dev/full"; return; }
	for args in "pool-map --count 20000" "pool-queue --count 20000" \
		pool-pipe 'crash --count 0' 'fanout --workers 2' \
		'drain --count 10' 'backpressure --count 10'; do
		expect 1 run $args --output /dev/full
		err_has 'busscen: cannot write /dev/full: No space left on device'
	done
}

# start_and_kill PROCESSES ARGUMENT...: in the middle of work
start_and_kill()
{
	n=$1
	shift
	"$BUSSCEN" run "$@" >/dev/null 2>&1 &
	wait_for has_survivors $n
	kill -KILL $!
	wait $! 2>/dev/null
	nobody_left
}

test_nobody_stays_when_busscen_is_killed()
{
	for farm in $farms; do
		start_and_kill 4 $farm --workers 3 --count 100000000
	done
	start_and_kill 4 pool-map --workers 3 --stuck 1 --deadline 100000
	start_and_kill 65 fanout --count 100000000
	start_and_kill 3 drain --count 100000
	start_and_kill 3 backpressure --count 100000
}

run_tests "$@"
