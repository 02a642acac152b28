#!/bin/sh
# busscen.sh - busscen does what busscen(1) says: greetings, farms, options
#
# Runs from `make check`; by hand: BUSSCEN=tools/busscen sh busscen.sh [NAME...]
# runs the named tests only.  Exit 0, 1, or 77 without a program to test.

. "$(dirname "$0")/busscen_lib.sh"

# ------------------------------------------------------------------ tests --

test_hello_is_exact()
{
	for how in auto futex; do
		expect 0 run $way-hello --wait $how
		out_is 'Received: Hello from the main process!\nReceived Reply: Reply from the worker\n'
		err_is ''
		# ... into a pipe as well, and in a file
		"$BUSSCEN" run $way-hello --wait $how | cat >piped
		cmp -s piped out || fail "another output into a pipe"
		expect 0 run $way-hello --output file
		cmp -s piped file || fail "another output into a file"
	done
}

test_hello_ends_when_one_of_two_is_killed()
{
	command -v python3 >/dev/null || { echo "  no python3"; return; }
	python3 - "$BUSSCEN" <<-'END' || fail "hello, one of two killed"
		import os, signal, subprocess, sys, time

		def children(pid):
		    with open(f"/proc/{pid}/task/{pid}/children") as f:
		        return [int(x) for x in f.read().split() if is_busscen(x)]

		def is_busscen(pid):
		    try:
		        return "busscen" in os.readlink(f"/proc/{pid}/exe")
		    except OSError:
		        return False # of libtool's wrapper, and gone

		def start():
		    """The child of busscen stays in write(): the pipe is full."""
		    r, w = os.pipe()
		    os.set_blocking(w, False)
		    try:
		        while True:
		            os.write(w, b"x" * 4096)
		    except BlockingIOError:
		        os.set_blocking(w, True)
		    name = os.environ["way"] + "-hello"
		    p = subprocess.Popen([sys.argv[1], "run", name],
		                         stdout=w, stderr=subprocess.PIPE)
		    os.close(w)
		    while not children(p.pid):
		        time.sleep(0.01)
		    time.sleep(0.2) # whatever it does by then, it must work
		    return p, children(p.pid)[0], r

		p, child, r = start()
		os.kill(child, signal.SIGKILL)
		_, err = p.communicate(timeout=5)
		assert p.returncode == 1, p.returncode
		assert b"cannot get the worker's reply" in err, err
		os.close(r)

		p, child, r = start()
		p.kill()
		p.wait()
		time.sleep(0.2)
		assert not os.path.exists(f"/proc/{child}") or \
		    open(f"/proc/{child}/stat").read().split()[2] == "Z"
	END
}

test_demo_is_exact_for_any_number_of_workers()
{
	for n in 1 2 3 8; do
		expect 0 run $way-farm --workers $n
		out_is 'Result: 2\nResult: 12\nResult: 30\nAll results: [2, 12, 30]\n'
		err_is ''
	done
	expect 0 run $way-farm
	out_is 'Result: 2\nResult: 12\nResult: 30\nAll results: [2, 12, 30]\n'
}

test_hundred_thousand_lines_are_right()
{
	random_pairs 100000 7 >pairs
	products <pairs >want
	expect 0 run $way-farm --workers 3 --input pairs
	cmp out want || fail "wrong products"
	"$BUSSCEN" run $way-farm --input - <pairs | cmp - want ||
		fail "wrong products from standard input"
	cat pairs | "$BUSSCEN" run $way-farm --input - --output got ||
		fail "from a pipe"
	cmp got want || fail "wrong products from a pipe"
	err_is ''
}

test_64_bits_are_exact()
{
	command -v python3 >/dev/null || { echo "  no python3"; return; }
	python3 - <<-'END'
		import random
		random.seed(3)
		with open("pairs", "w") as pairs, open("want", "w") as want:
		    while pairs.tell() < 200000:
		        bits = random.randrange(64)
		        a = random.getrandbits(bits) * random.choice((1, -1))
		        b = random.getrandbits(63 - bits) * random.choice((1, -1))
		        if a * b in range(-2**63, 2**63):
		            pairs.write(f"{a},{b}\n")
		            want.write(f"{a * b}\n")
	END
	expect 0 run $way-farm --input pairs
	cmp out want || fail "wrong products"
}

test_blanks_comments_and_line_ends()
{
	printf '# head\r\n\r\n 1 , 2 \r\n\t3,\t4 # note\n\n  # x\n+5,-6\n-0,007' >in
	expect 0 run $way-farm --input in
	out_is '2\n12\n-30\n0\n'
	printf '9223372036854775807,1\n-9223372036854775808,1\n' >in
	expect 0 run $way-farm --input in
	out_is '9223372036854775807\n-9223372036854775808\n'
	: >in
	expect 0 run $way-farm --input in
	out_is ''
	printf '# only\n\n' >in
	expect 0 run $way-farm --input in
	out_is ''
	expect 0 run $way-farm --input /dev/null
	out_is ''
}

test_very_long_lines()
{
	{
		head -c 3000000 /dev/zero | tr '\0' ' '
		printf 6,
		head -c 300000 /dev/zero | tr '\0' 0
		printf '7#'
		head -c 3000000 /dev/zero | tr '\0' x
		printf '\n2,3\n'
	} >in
	expect 0 run $way-farm --input in
	out_is '42\n6\n'
	head -c 300000 /dev/zero | tr '\0' x >in
	expect 2 run $way-farm --input in
	test "$(wc -c <err)" -lt 200 || fail "the message is as long as the line"
	err_has "in:1: not a pair of integers: 'xxxx"
}

test_a_bad_line_ends_the_run()
{
	for bad in '3;4' 3 , 3, ,4 3,4,5 a,b 3.0,4 0x3,4 '3 4,5' '3,4 5' -,4 \
		1e3,4 '3,4 x' 3,--4 '"3",4' '3,4\r5' '\r3,4' '3,4\0'; do
		printf "1,2\n\n$bad\n5,6\n" >in
		expect 2 run $way-farm --input in
		out_is '2\n'
		err_has "in:3: not a pair of integers: '"
		test "$(wc -l <err)" -eq 1 || fail "more than one message"
	done
	printf '1,2\n3;4\n' >in
	expect 2 run $way-farm --input in
	err_is "in:2: not a pair of integers: '3;4'\n"
	"$BUSSCEN" run $way-farm --input - <in >out 2>err
	test $? -eq 2 || fail "exit status of a bad line on standard input"
	err_is "<stdin>:2: not a pair of integers: '3;4'\n"
	for big in 9223372036854775808,1 1,-9223372036854775809 \
		1,99999999999999999999999999999999; do
		printf '1,2\n%s\n' $big >in
		expect 2 run $way-farm --input in
		out_is '2\n'
		err_has "in:2: not a pair of integers: '$big'"
	done
	# far behind the window, all before it is answered
	random_pairs 5000 1 >in
	products <in >want
	printf 'x\n1,1\n' >>in
	expect 2 run $way-farm --input in
	cmp out want || fail "not everything before it was answered"
}

test_messages_are_safe_to_print()
{
	printf "\033[31m\177\300'\\\\\n" >in
	expect 2 run $way-farm --input in
	err_is "in:1: not a pair of integers: '\\\\x1b[31m\\\\x7f\\\\xc0\\\\'\\\\\\\\'\n"
}

test_an_overflow_is_never_a_number()
{
	printf '1,2\n9223372036854775807,2\n5,6\n' >in
	expect 1 run $way-farm --input in
	out_is '2\n'
	err_is 'in:2: 9223372036854775807 * 2 does not fit 64 bits\n'
	printf -- '-9223372036854775808,-1\n' >in
	expect 1 run $way-farm --input in
	out_is ''
}

test_keep_going_answers_every_line()
{
	printf '1,2\nx\n9223372036854775807,2\n# c\n5,6' >in
	expect 1 run $way-farm --input in --keep-going
	out_is "2\nerror: not a pair of integers: 'x'\nerror: 9223372036854775807 * 2 does not fit 64 bits\n30\n"
	printf '1,2\n' >in
	expect 0 run $way-farm --input in --keep-going
	out_is '2\n'
	# more bad lines than the window holds, mixed with good ones
	awk 'BEGIN { for (i = 1; i <= 5000; i++)
		print i % 7 ? "bad " i : i ",2" }' >in
	awk 'BEGIN { for (i = 1; i <= 5000; i++)
		print i % 7 ? "error: not a pair of integers: '"'bad \" i \"'"'"\
			    : i * 2 }' >want
	expect 1 run $way-farm --input in --keep-going --workers 3
	cmp out want || fail "not in the order of the lines"
}

test_generated_pairs_depend_on_the_seed_only()
{
	expect 0 run $way-farm --count 3000 --seed 5
	mv out five
	test "$(wc -l <five)" -eq 3000 || fail "not 3000 results"
	expect 0 run $way-farm --count 3000 --seed 5 --workers 7
	cmp out five || fail "the same seed gave other pairs"
	expect 0 run $way-farm --count 3000 --seed 6
	cmp -s out five && fail "another seed gave the same pairs"
	expect 0 run $way-farm --count 0
	out_is ''
}

test_kills_do_not_show()
{
	random_pairs 20000 11 >pairs
	products <pairs >want
	for n in 1 4; do
		expect 0 run $way-farm --input pairs --kill-every 7 --workers $n
		cmp out want || fail "another output with kills, $n workers"
		err_is ''
	done
	expect 0 run $way-farm --kill-every 1
	out_is 'Result: 2\nResult: 12\nResult: 30\nAll results: [2, 12, 30]\n'
}

test_many_workers_may_die_at_once()
{
	expect 0 run $way-farm --count 3000
	mv out want
	for n in 16 100; do
		expect 0 run $way-farm --count 3000 --kill-every 1 --workers $n
		cmp out want || fail "another output with kills, $n workers"
		err_is ''
	done
}

test_what_a_dead_worker_had_goes_to_the_others()
{
	random_pairs 500 13 >pairs
	products <pairs >want
	mkfifo fifo
	"$BUSSCEN" run $way-farm --workers 2 --input - <fifo >out 2>err &
	pid=$!
	exec 3>fifo
	wait_for has_children $pid 2
	set -- $(children_of $pid)
	kill -STOP $1 # it has work and does not do it
	cat pairs >&3
	sleep 0.3 # and the other does what it was given
	kill -KILL $1
	exec 3>&-
	wait $pid || fail "exit status $?"
	cmp out want || fail "not all results, or not once"
	rm fifo
}

test_json_is_json()
{
	printf '1,2\nx"\\y\n-9223372036854775808,1\n' >in
	expect 1 run $way-farm --format json --input in --keep-going
	mv out farm
	expect 0 run $way-farm --format json --count 2000 --kill-every 500
	mv out kills
	expect 0 run $way-farm --format json
	mv out demo
	expect 0 run $way-hello --format json
	mv out hello
	expect 2 run $way-farm --format json --input in
	mv out fatal
	if command -v python3 >/dev/null; then
		python3 - <<-'END' || fail "not the JSON that was expected"
			import json, os
			way = os.environ["way"]
			def load(name):
			    return [json.loads(line) for line in open(name)]
			def check(summary, **want):
			    assert summary.pop("seconds") >= 0
			    assert summary == want, summary
			*lines, summary = load("farm")
			assert lines[0] == dict(line=1, a=1, b=2, product=2)
			assert lines[1]["line"] == 2
			assert lines[1]["error"].startswith("not a pair"), lines
			assert lines[2]["product"] == -2**63
			check(summary, scenario=way + "-farm", results=2, errors=1,
			      workers=2, kills=0)
			*lines, summary = load("kills")
			assert [x["line"] for x in lines] == list(range(1, 2001))
			assert all(x["a"] * x["b"] == x["product"] for x in lines)
			check(summary, scenario=way + "-farm", results=2000, errors=0,
			      workers=2, kills=4)
			*lines, summary = load("demo")
			assert [x["product"] for x in lines] == [2, 12, 30]
			*lines, summary = load("fatal")
			assert len(lines) == 2 and "error" in lines[1]
			assert summary["errors"] == 1
			*lines, summary = load("hello")
			assert lines == [{"received": "Hello from the main process!"},
			                 {"reply": "Reply from the worker"}]
			assert summary["scenario"] == way + "-hello"
		END
	elif command -v jq >/dev/null; then
		jq -e . farm kills demo hello fatal >/dev/null || fail "no JSON"
	else
		echo "  neither python3 nor jq"
	fi
}

test_a_failing_output_is_reported()
{
	# status of the writer, whose reader goes away at once
	{ "$BUSSCEN" run $way-farm --count 1000000 2>err; echo $? >status; } |
		head -1 >out
	test "$(cat status)" -eq 1 || fail "exit status $(cat status), pipe closed"
	err_is 'busscen: cannot write standard output: Broken pipe\n'
	if test -w /dev/full; then
		for args in "$way-farm --output /dev/full" \
			"$way-farm --count 100000 --output /dev/full" \
			"$way-farm --format json --output /dev/full"; do
			expect 1 run $args
			err_is 'busscen: cannot write /dev/full: No space left on device\n'
		done
		expect 1 run $way-hello --output /dev/full
		err_has 'No space left on device'
		"$BUSSCEN" --help >/dev/full 2>err && fail "--help into a full disk"
	fi
	"$BUSSCEN" run $way-farm >&- 2>err && fail "success without an output"
	err_has 'cannot write standard output'
}

test_files_that_cannot_be_used()
{
	expect 1 run $way-farm --input missing
	err_is "busscen: cannot open 'missing': No such file or directory\n"
	expect 1 run $way-farm --input .
	err_has "cannot read '.': Is a directory"
	expect 1 run $way-farm --output ./missing/file
	err_has "cannot open './missing/file': No such file"
	echo 1,2 >in
	expect 2 run $way-farm --input in --output ./in
	err_has 'same file'
	test "$(cat in)" = 1,2 || fail "the input was overwritten"
	echo something longer than the result >old
	expect 0 run $way-farm --input in --output old
	test "$(cat old)" = 2 || fail "the output was not emptied"
}

test_wrong_options_name_the_remedy()
{
	expect 2
	err_has 'list, or run NAME'
	expect 2 run
	err_has 'queue-hello, queue-farm, pipe-hello, pipe-farm, pipe-file, pool'
	err_has 'backpressure, fanout, drain'
	expect 2 run nothing
	err_has "no scenario 'nothing'; there are queue-hello, queue-farm"
	expect 2 walk
	err_has "no command 'walk'; there are list and run"
	expect 2 run queue-farm queue-hello
	err_has "'queue-hello' is one too many"
	for n in 0 201 -1 x '' 1.5 2x 99999999999999999999 ' 2'; do
		expect 2 run queue-farm --workers "$n"
		err_has "--workers '$n' must be a number from 1 to 200"
	done
	expect 2 run queue-farm --kill-every 0
	err_has "--kill-every '0' must be"
	expect 2 run queue-farm --count -5
	err_has "--count '-5' must be"
	expect 2 run queue-farm --seed x
	err_has "--seed 'x' must be"
	expect 2 run queue-farm --format xml
	err_has "--format 'xml' must be text or json"
	expect 2 run queue-farm --wait never
	err_has "--wait 'never' must be auto, uring or futex"
	expect 2 run queue-farm --workers
	err_has '--workers needs a value'
	expect 2 run queue-farm --worker-s=3
	err_has "no option '--worker-s=3'"
	expect 2 run queue-farm -x
	err_has "no option '-x'"
	expect 2 run queue-farm --keep-going=yes
	err_has 'takes no value'
	expect 2 run queue-farm --input in --count 5
	err_has 'exclude each other'
	for name in queue-hello pipe-hello pipe-file; do
		expect 2 run $name --workers 3
		err_has "--workers means nothing to $name"
	done
	expect 2 run pipe-hello --input in
	err_has '--input means nothing to pipe-hello'
	expect 2 run pipe-file --input in --format json
	err_has '--format means nothing to pipe-file'
	expect 2 run pipe-file
	err_has 'pipe-file needs --input FILE'
	out_is ''
}

test_help_version_and_list()
{
	expect 0 --help
	grep -q '^Usage: busscen list' out || fail "no usage"
	for o in workers input count seed output format keep-going kill-every \
		chunk ordered unordered poison stuck deadline wait; do
		grep -q -e "--$o" out || fail "--help does not tell of --$o"
	done
	expect 0 --version
	grep -q '^busscen (shmbus) [0-9]' out || fail "no version"
	expect 0 list
	test "$(awk '{ print $1 }' out | tr '\n' ' ')" = \
		'queue-hello queue-farm pipe-hello pipe-farm pipe-file pool-pipe pool-queue pool-map crash backpressure fanout drain ' ||
		fail "not the list"
	# options before and after the name
	expect 0 run --workers 3 queue-farm
	out_is 'Result: 2\nResult: 12\nResult: 30\nAll results: [2, 12, 30]\n'
}

# python with a filter that denies io_uring_setup (425 on every machine but
# alpha), as containers do
without_uring()
{
	python3 - "$@" <<-'END'
		import ctypes, os, struct, sys
		libc = ctypes.CDLL(None, use_errno=True)
		filter = (struct.pack("HBBI", 0x20, 0, 0, 0) +      # load nr
		          struct.pack("HBBI", 0x15, 0, 1, 425) +    # if io_uring_setup
		          struct.pack("HBBI", 0x06, 0, 0, 0x50001) + # EPERM
		          struct.pack("HBBI", 0x06, 0, 0, 0x7fff0000))
		code = ctypes.create_string_buffer(filter)
		prog = struct.pack("HxxxxxxP", 4, ctypes.addressof(code))
		if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, prog, 0, 0):
		    sys.exit(77)
		os.execv(sys.argv[1], sys.argv[1:])
	END
}

test_both_ways_of_waiting()
{
	random_pairs 20000 23 >pairs
	products <pairs >want
	expect 0 run $way-farm --input pairs --wait futex --kill-every 500
	cmp out want || fail "wrong with futex"
	"$BUSSCEN" run $way-hello --wait uring >out 2>err
	case $? in
	0)
		out_is 'Received: Hello from the main process!\nReceived Reply: Reply from the worker\n'
		expect 0 run $way-farm --input pairs --wait uring \
			--kill-every 500
		cmp out want || fail "wrong with io_uring"
		;;
	1)
		err_has --wait
		echo "  no io_uring here"
		;;
	*)
		fail "$way-hello --wait uring"
		cat err
		;;
	esac
	command -v python3 >/dev/null || { echo "  no python3"; return; }
	without_uring "$BUSSCEN" run $way-farm --wait uring >out 2>err
	status=$?
	test $status -eq 77 && { echo "  no seccomp here"; return; }
	test $status -eq 1 || fail "exit status $status where io_uring is denied"
	err_has --wait
	out_is ''
	BUS_WAIT=uring without_uring "$BUSSCEN" run $way-hello >out 2>err &&
		fail "BUS_WAIT=uring was ignored"
	err_has BUS_WAIT
	without_uring "$BUSSCEN" run $way-farm --input pairs >out 2>err ||
		fail "no fall-back to futex"
	cmp out want || fail "wrong after the fall-back"
}

test_results_are_shown_as_they_come()
{
	mkfifo fifo
	"$BUSSCEN" run $way-farm --input - <fifo >out 2>err &
	pid=$!
	exec 3>fifo
	printf '1,2\n3,4\n5' >&3
	wait_for has_lines out 2
	out_is '2\n12\n'
	printf ',6\n' >&3
	wait_for has_lines out 3
	printf '7,8' >&3
	exec 3>&-
	wait $pid || fail "exit status $?"
	out_is '2\n12\n30\n56\n'
	rm fifo
}

test_nobody_stays_when_busscen_is_killed()
{
	mkfifo fifo
	# HUP for INT, which a shell's background job ignores.
	for signal in HUP TERM KILL; do
		"$BUSSCEN" run $way-farm --workers 3 --input - <fifo >out 2>err &
		exec 3>fifo
		echo 1,2 >&3
		wait_for has_lines out 1
		wait_for has_survivors 4
		kill -$signal $!
		wait $! 2>/dev/null
		nobody_left
		exec 3>&-
	done
	# in the middle of work
	"$BUSSCEN" run $way-farm --workers 3 --count 100000000 >/dev/null 2>&1 &
	wait_for has_survivors 4
	kill -KILL $!
	wait $! 2>/dev/null
	nobody_left
	rm fifo
}

test_progress_is_for_terminals_only()
{
	expect 0 run $way-farm --count 300000 --output file
	err_is ''
	command -v python3 >/dev/null || { echo "  no python3"; return; }
	python3 - "$BUSSCEN" <<-'END' || fail "progress on a terminal"
		import os, pty, sys
		pid, fd = pty.fork()
		if pid == 0:
		    os.execv(sys.argv[1], [sys.argv[1], "run",
		             os.environ["way"] + "-farm",
		             "--count", "100000000", "--output", "file"])
		seen = b""
		while b" results (" not in seen:
		    seen += os.read(fd, 1000)
		os.kill(pid, 9)
		os.waitpid(pid, 0)
	END
}

run_tests "$@"
