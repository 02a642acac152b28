#!/bin/sh
# busscen_file.sh - busscen run pipe-file does what busscen(1) says
#
# Runs from `make check`; by hand: BUSSCEN=tools/busscen sh busscen_file.sh
# [NAME...] runs the named tests only.  Exit 0, 1, or 77 without a program.

. "$(dirname "$0")/busscen_lib.sh"

# copied FILE ARGUMENT...: pipe-file with these gives the same in `copy`
copied()
{
	original=$1
	shift
	rm -f copy
	expect 0 run pipe-file "$@" --output copy
	cmp "$original" copy || fail "another file: $*"
	out_is ''
	err_is ''
}

random_bytes()
{
	head -c "$1" /dev/urandom
}

# no_file_but NAME...: in this folder; `out` and `err` do not count
no_file_but()
{
	for f in $(ls -A); do
		case " out err $* " in
		*" $f "*) ;;
		*) fail "there is a file '$f'" ;;
		esac
	done
}

# start_in_the_middle OUTPUT: run pipe-file from a FIFO, which fd 3 writes,
# until it has sent something and its child runs; its pid to $pid
start_in_the_middle()
{
	mkfifo fifo
	"$BUSSCEN" run pipe-file --input fifo --output "$1" >out 2>err &
	pid=$!
	exec 3>fifo
	random_bytes 300000 >&3
	wait_for has_children $pid 1
}

# stop_in_the_middle: after that
stop_in_the_middle()
{
	exec 3>&-
	rm fifo
}

# ends_with STATUS PID
ends_with()
{
	wait $2 2>/dev/null
	status=$?
	test $status -eq $1 || fail "exit status $status, not $1"
}

# ------------------------------------------------------------------ tests --

test_sizes_at_every_edge()
{
	# of a page, a read, what fits a slot, a slot, two slots
	for n in 0 1 7 8 4095 4096 4097 131071 131072 131073 917503 917504 \
		917505 1048575 1048576 1048577 2097151 2097152 2097153 \
		5000000; do
		random_bytes $n >in
		copied in --input in
	done
}

test_a_hundred_megabytes()
{
	random_bytes 100000000 >in
	copied in --input in
}

test_standard_input_and_output()
{
	random_bytes 3000000 >in
	"$BUSSCEN" run pipe-file --input - <in >copy || fail "exit status"
	cmp in copy || fail "from a file to a file"
	cat in | "$BUSSCEN" run pipe-file --input - | cat >copy
	cmp in copy || fail "from a pipe to a pipe"
	"$BUSSCEN" run pipe-file --input in --output - >copy || fail "to -"
	cmp in copy || fail "to -"
	echo before >copy
	"$BUSSCEN" run pipe-file --input in >>copy || fail "appending"
	test "$(wc -c <copy)" -eq 3000007 || fail "it does not append"
	: | "$BUSSCEN" run pipe-file --input - >copy || fail "nothing"
	test ! -s copy || fail "something from nothing"
}

test_a_size_that_nobody_knows()
{
	cat /proc/filesystems >in
	test -s in || { echo "  nothing in /proc"; return; }
	copied in --input /proc/filesystems
	head -c 1000000 /dev/zero >in
	mkfifo fifo
	{ head -c 3 in; sleep 0.1; tail -c +4 in; } >fifo &
	copied in --input fifo
	rm fifo
}

test_what_comes_is_written_at_once()
{
	mkfifo fifo
	"$BUSSCEN" run pipe-file --input fifo >out 2>err &
	pid=$!
	exec 3>fifo
	echo one >&3
	wait_for has_lines out 1
	out_is 'one\n'
	echo two >&3
	wait_for has_lines out 2
	exec 3>&-
	ends_with 0 $pid
	out_is 'one\ntwo\n'
	rm fifo
}

test_nothing_is_seen_before_it_is_complete()
{
	rm -f *
	start_in_the_middle copy
	sleep 0.2
	test ! -e copy || fail "there is half a file"
	stop_in_the_middle
	ends_with 0 $pid
	test "$(wc -c <copy)" -eq 300000 || fail "not all of it"
	no_file_but copy
}

# one_is_killed READER|WRITER STATUS MESSAGE: in the middle, without and with
# an old file, which stays; the status is that of busscen
one_is_killed()
{
	rm -f *
	for old in '' before; do
		test -z "$old" || echo $old >copy
		start_in_the_middle copy
		case $1 in
		READER) kill -KILL $pid ;;
		WRITER) kill -KILL $(children_of $pid) ;;
		esac
		# the other end of the FIFO is still open: it knows at once
		ends_with $2 $pid
		nobody_left
		err_is "$3"
		stop_in_the_middle
		no_file_but $(test -z "$old" || echo copy)
	done
	test "$(cat copy)" = before || fail "the old file was touched"
}

test_one_of_two_is_killed_in_the_middle()
{
	one_is_killed WRITER 1 'busscen: the process that writes copy was killed by signal 9 (Killed); it is not complete\n'
	one_is_killed READER 137 "busscen: the process that reads 'fifo' was killed; copy is not complete\n"
}

test_one_of_two_is_killed_in_a_stream()
{
	for i in 1 2 3 4 5; do
		"$BUSSCEN" run pipe-file --input /dev/zero --output /dev/null \
			2>err &
		wait_for has_children $! 1
		sleep 0.0$i
		kill -KILL $(children_of $!)
		ends_with 1 $!
		err_has 'was killed by signal 9'
		"$BUSSCEN" run pipe-file --input /dev/zero --output /dev/null \
			2>err &
		wait_for has_children $! 1
		sleep 0.0$i
		kill -KILL $!
		ends_with 137 $!
		nobody_left
		err_has "the process that reads '/dev/zero' was killed"
	done
}

# The exit status of the process that remains: whoever started busscen adopts
# its orphan.
test_who_remains_fails()
{
	command -v python3 >/dev/null || { echo "  no python3"; return; }
	python3 - "$BUSSCEN" <<-'END' || fail "the one that remains"
		import ctypes, os, subprocess, sys, time
		PR_SET_CHILD_SUBREAPER = 36
		ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
		p = subprocess.Popen([sys.argv[1], "run", "pipe-file", "--input",
		                      "/dev/zero", "--output", "/dev/null"],
		                     stderr=subprocess.DEVNULL)
		def is_busscen(pid): # and not a child of libtool's wrapper
		    try:
		        return "busscen" in os.readlink(f"/proc/{pid}/exe")
		    except OSError:
		        return False
		def children():
		    with open(f"/proc/{p.pid}/task/{p.pid}/children") as f:
		        return [int(x) for x in f.read().split() if is_busscen(x)]
		while not children():
		    time.sleep(0.01)
		child = children()[0]
		p.kill()
		p.wait()
		_, status = os.waitpid(child, 0)
		assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == 1, status
	END
}

# A process that hangs in its output is told of the other's death as well.
test_an_output_that_nobody_reads()
{
	mkfifo full
	sleep 20 <full &
	sleeper=$!
	exec 4>full
	"$BUSSCEN" run pipe-file --input /dev/zero >&4 2>err &
	pid=$!
	exec 4>&-
	wait_for has_children $pid 1
	sleep 0.2
	kill -KILL $pid
	ends_with 137 $pid
	nobody_left
	err_has 'standard output is not complete'
	kill $sleeper
	wait $sleeper 2>/dev/null
	rm full
}

test_no_room_for_the_output()
{
	rm -f *
	random_bytes 2000000 >in
	if test -w /dev/full; then
		expect 1 run pipe-file --input in --output /dev/full
		err_is 'busscen: cannot write /dev/full: No space left on device\n'
		"$BUSSCEN" run pipe-file --input in >/dev/full 2>err
		test $? -eq 1 || fail "exit status $?"
		err_is 'busscen: cannot write standard output: No space left on device\n'
	fi
	# a file system of our own; only root may, and not everywhere
	unshare -m sh -c 'mkdir small && mount -t tmpfs -o size=1m none small &&
		echo before >small/copy &&
		{ "$0" run pipe-file --input in --output small/copy
		echo $? >status; ls -A small >files; cp small/copy .; }' \
		"$BUSSCEN" >out 2>err || { echo "  no mount"; return; }
	test "$(cat status)" -eq 1 || fail "exit status $(cat status)"
	err_is 'busscen: cannot write small/copy: No space left on device\n'
	test "$(cat files)" = copy || fail "files are left: $(cat files)"
	test "$(cat copy)" = before || fail "the old file was touched"
}

test_a_reader_of_the_output_that_goes_away()
{
	{ "$BUSSCEN" run pipe-file --input /dev/zero 2>err; echo $? >status; } |
		head -c 1 >out
	test "$(cat status)" -eq 1 || fail "exit status $(cat status)"
	err_is 'busscen: cannot write standard output: Broken pipe\n'
}

test_files_that_cannot_be_used()
{
	rm -rf *
	echo before >copy
	expect 1 run pipe-file --input missing --output copy
	err_is "busscen: cannot open 'missing': No such file or directory\n"
	expect 1 run pipe-file --input . --output copy
	err_is "busscen: cannot read '.': Is a directory\n"
	expect 1 run pipe-file --input . --output new
	test "$(cat copy)" = before || fail "the old file was touched"
	no_file_but copy
	expect 1 run pipe-file --input copy --output .
	err_is "busscen: cannot open '.': Is a directory\n"
	expect 1 run pipe-file --input copy --output missing/new
	err_is "busscen: cannot open 'missing/new': No such file or directory\n"
	expect 1 run pipe-file --input copy --output copy/new
	err_is "busscen: cannot open 'copy/new': Not a directory\n"
	expect 1 run pipe-file --input copy --output ''
	err_is "busscen: cannot open '': No such file or directory\n"
	ln -s nowhere link
	expect 1 run pipe-file --input copy --output link
	err_is "busscen: cannot open 'link': No such file or directory\n"
	expect 2 run pipe-file --input copy --output ./copy
	err_has 'same file'
	test "$(cat copy)" = before || fail "the input was overwritten"
	no_file_but copy link
}

# Permissions are not for root: run as nobody if we are.
test_files_that_we_may_not_use()
{
	rm -rf *
	mkdir closed
	echo secret >secret
	echo before >closed/old
	chmod 600 secret
	chmod 444 closed/old
	chmod 755 . closed
	as=
	if test "$(id -u)" -eq 0; then
		as="setpriv --reuid=65534 --regid=65534 --clear-groups"
		$as "$BUSSCEN" --version >/dev/null 2>&1 ||
			{ echo "  cannot be somebody else"; return; }
	else
		chmod 000 secret
		chmod 555 closed
	fi
	$as "$BUSSCEN" run pipe-file --input secret >out 2>err
	test $? -eq 1 || fail "exit status $?"
	err_is "busscen: cannot open 'secret': Permission denied\n"
	for f in closed/old closed/new; do
		echo x | $as "$BUSSCEN" run pipe-file --input - --output $f \
			>out 2>err
		test $? -eq 1 || fail "exit status $?"
		err_is "busscen: cannot open '$f': Permission denied\n"
	done
	test "$(cat closed/old)" = before || fail "a read-only file was written"
	chmod 755 closed
	chmod 600 secret
}

test_what_is_replaced()
{
	rm -rf *
	echo new >in
	echo something longer than the new one >old
	chmod 640 old
	ln old other
	ln -s old link
	expect 0 run pipe-file --input in --output link
	test -h link || fail "the link was replaced, not the file"
	cmp in old || fail "the file was not replaced"
	test "$(stat -c %a old)" = 640 || fail "other permissions"
	test "$(wc -c <other)" -gt 10 || fail "another name's file was changed"
	(umask 027; "$BUSSCEN" run pipe-file --input in --output made)
	test "$(stat -c %a made)" = 640 || fail "not as umask says"
	no_file_but in old other link made
}

test_ways_of_waiting()
{
	random_bytes 3000000 >in
	copied in --input in --wait futex
	cat in | "$BUSSCEN" run pipe-file --input - --wait futex | cmp - in ||
		fail "another file with futex"
	"$BUSSCEN" run pipe-file --input in --wait uring >copy 2>err
	case $? in
	0)
		cmp in copy || fail "another file with io_uring"
		cat in | "$BUSSCEN" run pipe-file --input - --wait uring |
			cmp - in || fail "another file with io_uring"
		;;
	1)
		err_has --wait
		echo "  no io_uring here"
		;;
	*)
		fail "--wait uring"
		cat err
		;;
	esac
}

test_progress_is_for_terminals_only()
{
	command -v python3 >/dev/null || { echo "  no python3"; return; }
	python3 - "$BUSSCEN" <<-'END' || fail "progress on a terminal"
		import os, pty, select, sys
		def run(*args):
		    pid, fd = pty.fork()
		    if pid == 0:
		        os.execv(sys.argv[1], [sys.argv[1], "run", "pipe-file",
		                 *args])
		    return pid, fd
		def read(fd):
		    try:
		        return os.read(fd, 1000)
		    except OSError: # how a terminal says that nobody is left
		        return b""
		def rest(pid, fd):
		    seen = b""
		    while part := read(fd):
		        seen += part
		    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
		    return seen
		pid, fd = run("--input", "/dev/zero", "--output", "/dev/null")
		seen = b""
		while b" MB, " not in seen:
		    seen += os.read(fd, 1000)
		# no message stands behind it: of the parent, of the child
		with open(f"/proc/{pid}/task/{pid}/children") as f:
		    os.kill(int(f.read()), 9)
		seen += rest(pid, fd)
		assert b"\r\x1b[Kbusscen: the process" in seen, seen[-300:]
		os.mkfifo("tty.fifo")
		pid, fd = run("--input", "/dev/zero", "--output", "tty.fifo")
		with open("tty.fifo", "rb") as f:
		    while not select.select([fd], [], [], 0)[0]:
		        f.read(100000)
		seen = rest(pid, fd)
		assert b"\r\x1b[Kbusscen: cannot write" in seen, seen[-300:]
		os.remove("tty.fifo")
	END
}

run_tests "$@"
