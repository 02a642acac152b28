#!/bin/sh
# busadm_act.sh - put, get, close, abort, gc and doctor do what busadm(1) says,
# to buses whose processes live, are stopped, or are dead
#
# Runs from `make check`; by hand: BUSADM=tools/adm/busadm \
# ADM_ACTOR=tests/adm/actor ADM_STAGE=tests/adm/stage sh busadm_act.sh [NAME...]
# runs the named tests only.  Exit 0, 1, or 77 without the programs or jq.

start=$PWD
srcdir=$(cd "${srcdir:-$(dirname "$0")/../..}" && pwd)

. "$(dirname "$0")/busadm_lib.sh"

ADM_ACTOR=$(cd "$start" && realpath "${ADM_ACTOR:-$top/tests/adm/actor}")
test -x "$ADM_ACTOR" || {
	echo "skipped: there is no program '$ADM_ACTOR'"
	exit 77
}
mkfifo orders answers orders2 answers2
trap 'actor_ends; clean_up' EXIT

out_is()
{
	printf "$1" | cmp -s - out || { fail "output, not '$1':"; head -5 out; }
}

err_is()
{
	printf "$1" | cmp -s - err || { fail "standard error:"; cat err; }
}

# actor_begins: somebody who does what we `ask`
actor_begins()
{
	"$ADM_ACTOR" <orders >answers &
	actor=$!
	exec 3>orders 4<answers
	ask pid
	actor_pid=$answer # behind libtool's wrapper, if there is one
}

# What he holds is his until then.
actor_ends()
{
	test -n "$actor" || return 0
	exec 3>&- 4<&-
	wait "$actor" 2>/dev/null
	actor=
}

actor_dies()
{
	echo die >&3
	actor_ends
}

# ask ORDER: and get the answer
ask()
{
	answer=
	echo "$*" >&3
	read -r answer <&4
}

told()
{
	want=$1
	shift
	ask "$@"
	test "$answer" = "$want" || fail "$*: '$answer', not '$want'"
}

# A bus $bus with a queue q, of a process that lives.
scene()
{
	actor_begins
	told ok create $bus "$@"
	told ok queue q 256
}

# ------------------------------------------------------------- put and get --

test_messages_of_the_command_line_come_out_as_they_went_in()
{
	scene
	expect 0 put $bus q one 'two words' '' -- -%s
	out_is ''
	err_is ''
	told '4 0 0' left q
	expect 0 get --timeout 60 $bus q
	out_is 'one\n'
	expect 0 get --timeout 60 $bus q --count 2
	out_is 'two words\n\n'
	expect 0 get --drain $bus q
	test "$(cat out)" = -%s || fail "not what comes after --"
	actor_ends
}

test_lines_and_the_last_without_a_newline()
{
	scene
	printf 'a\n\nb\000c\nlast' | "$BUSADM" put $bus q || fail "put"
	told '4 0 0' left q
	"$BUSADM" get --drain $bus q >out || fail "get"
	out_is 'a\n\nb\000c\nlast\n'
	printf '' | "$BUSADM" put $bus q || fail "put of nothing"
	told '0 0 0' left q
	printf '' | "$BUSADM" put --format raw $bus q || fail "put of nothing"
	told '1 0 0' left q
	actor_ends
}

test_any_bytes_come_back_in_every_format()
{
	scene
	head -c 65536 /dev/urandom >random
	for format in hex json; do
		"$BUSADM" put --format raw $bus q <random || fail "put raw"
		"$BUSADM" get --timeout 60 --format $format $bus q |
			"$BUSADM" put --format $format $bus q ||
			fail "$format to $format"
		"$BUSADM" get --timeout 60 --format raw $bus q | cmp - random ||
			fail "other bytes by $format"
	done
	expect 0 put --format hex $bus q 00ff '0A 0b' ''
	expect 0 get --timeout 60 --count 3 $bus q --format json
	json_is '.schema == 1 and has("bytes") and .attempts == 0'
	expect 0 put --format json $bus q '{"text": "\u0000\u00e4"}'
	expect 0 get --timeout 60 $bus q --format hex
	out_is '00c3a4\n'
	actor_ends
}

test_what_is_no_message_is_named()
{
	scene
	printf '00\n0g\n11\n' >in
	"$BUSADM" put --format hex $bus q <in >out 2>err && fail "bad hex"
	err_has 'message 2'
	err_has '1 were put'
	told '1 0 0' left q
	expect 1 put --format json $bus q '{"a": 1}'
	err_has '"text"'
	actor_ends
}

test_too_large_names_the_limit()
{
	scene 5000
	head -c 5000 /dev/zero | "$BUSADM" put --format raw $bus q || fail 5000
	for format in raw lines; do
		head -c 5001 /dev/zero |
			"$BUSADM" put --format $format $bus q 2>err &&
			fail "5001 bytes"
		err_has '5000 bytes'
	done
	# without reading all of it
	timeout 20 "$BUSADM" put $bus q </dev/zero 2>err
	test $? -eq 1 || fail "of a line without end"
	told '1 0 0' left q
	actor_ends
}

test_a_full_queue_says_how_many_were_put()
{
	scene
	told ok queue small 4
	seq 10 >ten
	"$BUSADM" put --timeout 0 $bus small <ten 2>err && fail "into a full one"
	err_has 'is full: 4 of 4'
	err_has '4 messages were put'
	expect 1 put --timeout 0.05 $bus small x
	err_has 'time is up'
	# and waits for room
	seq 5 10 | "$BUSADM" put $bus small &
	putter=$!
	for i in $(seq 10); do
		"$BUSADM" get $bus small --timeout 20 || fail "get"
	done >out
	wait $putter || fail "the put that waited"
	cmp out ten || fail "not in order"
	actor_ends
}

test_no_room_for_large_messages_is_said()
{
	scene 65536
	head -c 60000 /dev/zero >large
	for _ in $(seq 100); do
		"$BUSADM" put --timeout 0 --format raw $bus q <large 2>err ||
			break
	done
	err_has 'blob pool'
	expect 0 put --timeout 0 $bus q small
	actor_ends
}

test_progress_is_for_terminals()
{
	command -v script >/dev/null || { echo "  no script(1)"; return; }
	scene
	told ok queue small 2
	seq 3 >three
	script -qc "$BUSADM put --timeout 1.5 $bus small <three" /dev/null >out
	out_has '2 messages, 0.0 MB'
	expect 1 put --timeout 0.5 $bus small x
	test "$(wc -l <err)" -eq 1 || fail "more than an error"
	actor_ends
}

test_a_signal_ends_a_put_that_waits()
{
	scene
	told ok queue small 2
	printf '1\n2\n3\n' >three
	"$BUSADM" put $bus small <three 2>err &
	putter=$!
	wait_for eval 'ask left small; test "$answer" = "2 0 0"'
	kill -TERM $putter
	wait $putter
	test $? -eq 143 || fail "exit status $?"
	err_has '2 messages were put'
	actor_ends
}

test_get_says_why_there_is_none()
{
	scene
	expect 1 get --timeout 0.05 $bus q
	err_has 'time is up'
	expect 1 get --timeout 0 $bus q
	err_has 'is empty'
	expect 0 get --drain $bus q
	out_is ''
	told ok put q last
	expect 0 close $bus q
	expect 0 get --timeout 60 $bus q
	expect 1 get --timeout 60 $bus q
	err_has 'closed and empty; 0 of 1'
	expect 0 get --timeout 60 --count 0 $bus q
	actor_ends
}

# ------------------------------------------------ nothing is lost, whatever --

test_what_head_does_not_want_stays()
{
	scene
	told ok fill q 100 10
	"$BUSADM" get --count 0 $bus q | head -1 >out
	out_is '0001......\n'
	told '99 0 0' left q
	"$BUSADM" get --drain $bus q | head -2 >out
	out_is '0002......\n0003......\n'
	told '97 0 0' left q
	actor_ends
}

test_a_reader_that_never_reads_gets_nothing()
{
	scene
	told ok fill q 3 30000
	# The reader goes without a look, one message is larger than the pipe.
	for round in 1 2 3; do
		(
			trap '' PIPE
			"$BUSADM" get --drain $bus q 2>err
			echo $? >status
		) | sleep 0.3
		test "$(cat status)" = 1 || fail "$round: status $(cat status)"
		err_has 'stays in the queue'
	done
	told '3 0 0' left q
	expect 0 get --drain $bus q
	cut -c1-4 out >order
	printf '0001\n0002\n0003\n' | cmp - order || fail "another order"
	actor_ends
}

# It has to end, and the message stays.
test_a_signal_ends_a_get_to_a_socket()
{
	command -v python3 >/dev/null || { echo "  no python3"; return; }
	scene 4000000
	told ok fill q 1 3000000
	python3 - "$BUSADM" $bus <<-'END' || fail "the socket"
	import select, signal, socket, subprocess, sys

	ours, theirs = socket.socketpair()
	with open("err", "w") as err:
	    get = subprocess.Popen([sys.argv[1], "get", sys.argv[2], "q"],
	                           stdout=theirs, stderr=err)
	select.select([ours], [], [], 30)
	get.send_signal(signal.SIGTERM)
	try:
	    get.wait(30)
	except subprocess.TimeoutExpired:
	    get.kill()
	    sys.exit("  SIGTERM does not end it")
	sys.exit(get.returncode != -signal.SIGTERM)
	END
	err_has "stays in the queue"
	told '1 0 0' left q
	actor_ends
}

test_a_full_disk_loses_nothing()
{
	scene
	told ok fill q 3 10
	"$BUSADM" get --drain $bus q >/dev/full 2>err && fail "to a full disk"
	err_has 'No space left'
	"$BUSADM" get --timeout 60 $bus q >&- 2>err && fail "to nowhere"
	err_has 'Bad file descriptor'
	told '3 0 0' left q
	actor_ends
}

# Nor is half a message in the file, before the whole one of the next get.
test_a_full_disk_leaves_no_half_message()
{
	scene
	told ok fill q 3 3000
	echo before >file
	(
		ulimit -f 8
		trap '' XFSZ
		"$BUSADM" get --drain $bus q >>file 2>err
	) && fail "all was written"
	err_has 'stays in the queue'
	"$BUSADM" get --drain $bus q >>file || fail "the rest"
	test "$(wc -l <file)" -eq 4 || fail "not four lines"
	test "$(grep -cE '^.{3000}$' file)" -eq 3 || fail "not three messages"
	actor_ends
}

# Written, but not read: then it comes again.
test_killed_at_any_time_loses_nothing()
{
	scene
	told ok fill q 20 10
	for signal in INT TERM KILL; do
		"$BUSADM" get --count 0 $bus q 2>err | sleep 0.5 &
		reader=$!
		wait_for eval 'ask left q; test "${answer#* }" = "1 0"'
		for p in /proc/[0-9]*; do
			case $(tr '\0' ' ' 2>/dev/null <$p/cmdline) in
			*"get --count 0 $bus q"*) kill -$signal ${p#/proc/} ;;
			esac
		done 2>/dev/null
		wait $reader
	done
	expect 0 get --drain --format json $bus q
	test "$(wc -l <out)" -eq 20 || fail "$(wc -l <out) of 20"
	told '0 0 0' left q
	actor_ends
}

test_two_get_each_message_once()
{
	scene
	"$BUSADM" get --timeout 60 --count 0 $bus q >one &
	"$BUSADM" get --timeout 60 --count 0 $bus q | cat >two &
	seq 5000 | "$BUSADM" put $bus q || fail "put"
	expect 0 close $bus q
	wait_for eval 'cat one two | wc -l | grep -qx 5000'
	seq 5000 >want
	sort -n one two | cmp - want || fail "not each once"
	actor_ends
}

test_what_a_stopped_reader_holds_is_his_and_a_dead_ones_is_not()
{
	scene
	told ok fill q 3 10
	told ok hold q
	kill -STOP $actor_pid
	expect 0 get --drain $bus q
	out_is '0002......\n0003......\n'
	kill -CONT $actor_pid
	actor_dies
	expect 0 get --drain $bus q --format json
	json_is '.attempts == 1 and .text == "0001......"'
	expect 0 gc $bus
}

# A writer is stopped in the middle of a put; what is behind it is there.
test_drain_goes_past_what_is_being_written()
{
	scene
	told ok put q before
	told ok loan q
	told ok put q behind
	expect 0 get --drain $bus q
	out_is 'before\nbehind\n'
	# unless the queue is strict
	told ok queue strict 8 8 2
	told ok loan strict
	told ok put strict behind
	expect 1 get --drain $bus strict
	err_has 'the queue is strict'
	actor_ends
}

test_newlines_are_remarked()
{
	scene
	printf 'a\nb' | "$BUSADM" put --format raw $bus q
	expect 0 get --timeout 60 $bus q
	out_is 'a\nb\n'
	err_has '1 of the messages had newlines'
	actor_ends
}

test_no_orders_to_a_terminal()
{
	command -v script >/dev/null || { echo "  no script(1)"; return; }
	scene
	printf '\033[31mred\007' | "$BUSADM" put --format raw $bus q
	printf '\033[31mred\007' | "$BUSADM" put --format raw $bus q
	script -qc "$BUSADM get --timeout 60 --count 2 --format raw $bus q" /dev/null >out
	out_has '\x1b[31mred\x07'
	grep -q "$(printf '\033')" out && fail "an escape"
	actor_ends
}

# ---------------------------------------------------------- close and abort --

test_close_ends_puts_and_leaves_what_is_there()
{
	scene
	told ok fill q 2 10
	expect 0 close $bus q
	out_has '2 messages left'
	told '2 0 1' left q
	expect 1 put $bus q x
	err_has 'is closed'
	expect 0 close $bus q --format json
	json_is '.schema == 1 and .was == "closed" and .waiting == 2'
	expect 0 abort $bus q --format json
	json_is '.was == "closed" and .waiting_before == 2 and .waiting == 0'
	told '0 0 2' left q
	expect 0 abort $bus q
	out_has 'closed before'
	actor_ends
}

# ---------------------------------------------------------------------- gc --
# By name, or --dry-run: other tests, and others, have leftovers, too.

leave()
{
	scene
	actor_dies
}

test_gc_removes_what_nobody_needs()
{
	leave
	expect 0 gc --dry-run $bus
	out_has 'would go'
	test -e /dev/shm/shmbus.$bus || fail "--dry-run removed it"
	expect 0 gc --format json /dev/shm/shmbus.$bus
	json_is '.schema == 1 and .dry_run == false and
		(.leftovers | length == 1) and .leftovers[0].messages == 0 and
		.leftovers[0].result == "removed"'
	test -e /dev/shm/shmbus.$bus && fail "it is not removed"
	expect 1 gc $bus
	out_has 'gone'
}

test_gc_leaves_what_is_in_use()
{
	scene
	expect 1 gc --force $bus
	out_has "its creator, pid $actor_pid, lives"
	"$BUSADM" gc --dry-run >out # others may have leftovers
	grep -q "^$bus " out && fail "what is in use has a line"
	test -e /dev/shm/shmbus.$bus || fail "it is removed"
	actor_ends
}

test_gc_leaves_messages_unless_forced()
{
	scene
	told ok fill q 3 10
	told ok hold q
	actor_dies
	expect 1 gc $bus
	out_has 'it holds 3 messages'
	expect 0 get --drain $bus q
	expect 0 gc --dry-run $bus
	scene
	told ok put q x
	actor_dies
	expect 1 gc $bus
	expect 0 gc --force $bus
	out_has 'removed'
	# of a queue that was aborted nobody would get them
	scene
	told ok put q x
	expect 0 abort $bus q
	actor_dies
	expect 0 gc $bus
}

# The creator is dead, and a client goes on; so does one who has only inherited
# the mapping, of whom the bus knows nothing.
test_gc_leaves_what_somebody_has_mapped()
{
	scene
	"$ADM_ACTOR" <orders2 >answers2 &
	client=$!
	exec 5>orders2 6<answers2
	echo open $bus >&5
	read -r answer <&6
	test "$answer" = ok || fail "client: $answer"
	actor_dies
	expect 1 gc --force $bus
	out_has ' has it mapped'
	test -e /dev/shm/shmbus.$bus || fail "it is removed"
	echo 'fork' >&5
	read -r child <&6
	echo close >&5
	read -r answer <&6
	expect 1 gc --force $bus
	out_has "pid $child "
	kill -9 $child
	wait_for eval '! test -s /proc/$child/maps'
	expect 0 gc $bus
	exec 5>&- 6<&-
	wait $client
}

test_gc_leaves_what_is_no_bus()
{
	echo 'not a bus' >/dev/shm/shmbus.$bus-x
	ln -s /dev/null /dev/shm/shmbus.$bus-y
	expect 1 gc --force $bus-x $bus-y
	out_has 'it is no bus'
	out_has 'no regular file'
	test -e /dev/shm/shmbus.$bus-x && test -L /dev/shm/shmbus.$bus-y ||
		fail "removed"
	expect 1 gc a/b
	out_has 'only buses with a name'
	long=$bus-$(printf 'x%.0s' $(seq 201))
	: >"/dev/shm/shmbus.$long"
	expect 1 gc --force "$long"
	out_has 'no bus can have so long a name'
	expect 0 list --format json
	json_is ".buses[] | select(.bus == \"$long\") | .state == \"no bus\""
	rm "/dev/shm/shmbus.$long"
	rm /dev/shm/shmbus.$bus-x /dev/shm/shmbus.$bus-y
}

test_gc_leaves_what_it_cannot_read_unless_forced()
{
	leave
	# another version
	printf '\377' | dd of=/dev/shm/shmbus.$bus bs=1 seek=8 conv=notrunc \
		2>/dev/null
	expect 1 gc $bus
	out_has 'cannot be told'
	expect 0 gc --force $bus
	test -e /dev/shm/shmbus.$bus && fail "it is not removed"
}

# Of a container that is gone: on the machine itself all processes are seen.
test_gc_of_another_pid_namespace()
{
	test "$(id -u)" -eq 0 && unshare -pf true 2>/dev/null || {
		echo "  not root, or no namespaces"
		return
	}
	unshare -pf sh -c 'printf "create $2\ndie\n" | "$1" >/dev/null; true' \
		- "$ADM_ACTOR" $bus 2>/dev/null
	case $(readlink /proc/self/ns/pid) in
	*4026531836*) expect 0 gc $bus ;;
	*)
		expect 1 gc $bus
		out_has 'another pid namespace'
		;;
	esac
	# and from inside, nobody outside is seen
	leave
	unshare -pf --mount-proc "$BUSADM" gc $bus >out && fail "from inside"
	out_has 'another pid namespace'
	expect 0 gc $bus
}

# Whoever takes the name while gc is at it keeps it.
test_gc_never_takes_a_new_bus_away()
{
	for _ in 1 2 3 4 5 6 7 8; do
		leave
		actor_begins
		for _ in 1 2 3 4 5 6; do
			"$BUSADM" gc --force $bus >/dev/null
		done &
		collector=$!
		# gc may have the lock just now
		wait_for eval 'ask create $bus; test "$answer" = ok'
		wait $collector
		test -e /dev/shm/shmbus.$bus || fail "a live bus is removed"
		expect 1 gc $bus
		actor_ends
	done
}

# as_nobody COMMAND...: another user, if we are root
as_nobody()
{
	setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
}

may_be_nobody()
{
	test "$(id -u)" -eq 0 && as_nobody test -x "$BUSADM" 2>/dev/null &&
		return
	echo "  not root, or no setpriv(1), or the program is in a closed folder"
	return 1
}

test_other_users_buses()
{
	may_be_nobody || return 0
	scene
	told ok put q x
	as_nobody "$BUSADM" get $bus q 2>err && fail "a closed bus"
	err_has 'mode 0600'
	as_nobody "$BUSADM" gc $bus >out && fail "gc of root's"
	out_has 'as its owner or as root'
	actor_ends
	actor_begins
	told ok create $bus 65536 0664
	told ok queue q
	told ok put q x
	chgrp 65534 /dev/shm/shmbus.$bus
	as_nobody "$BUSADM" get $bus q 2>err && fail "another's bus"
	err_has '--any-owner'
	as_nobody "$BUSADM" get --timeout 60 --any-owner $bus q >out || fail "any owner"
	out_is 'x\n'
	chmod o+w /dev/shm/shmbus.$bus
	as_nobody "$BUSADM" get --any-owner $bus q 2>err && fail "everybody's"
	err_has 'chmod o-w'
	chmod o-w /dev/shm/shmbus.$bus
	# A root process that has it cannot be looked into, and is an endpoint.
	"$ADM_ACTOR" <orders2 >answers2 &
	client=$!
	exec 5>orders2 6<answers2
	echo open $bus >&5
	read -r answer <&6
	actor_dies
	as_nobody "$BUSADM" gc $bus >out && fail "gc of what root has"
	out_has 'has it mapped'
	exec 5>&- 6<&-
	wait $client
	# and other processes of root might have inherited it
	as_nobody "$BUSADM" gc --force $bus >out && fail "gc of root's"
	out_has 'closed to us'
	expect 0 gc $bus
}

# ------------------------------------------------------------------ doctor --

test_doctor_has_a_line_for_each_check()
{
	"$BUSADM" doctor >text 2>err
	status=$?
	err_is ''
	test $status -eq 0 || test $status -eq 1 || fail "exit status $status"
	for check in kernel io_uring membarrier 'locked memory' 'open files' \
		'file size' /dev/shm 'room there' RemoveIPC 'pid namespace' \
		/proc 'a named bus' 'an unnamed bus'; do
		grep -qE "^(ok|note|warning) +$check( |\$)" text ||
			fail "no line of $check"
	done
	# others may have made leftovers since
	"$BUSADM" doctor --format json >out
	test $? -eq $(($(jq .warnings out) > 0)) || fail "another status"
	json_is '.schema == 1 and (.checks | length) > 15 and
		([.checks[] | select(.level == "note")] | length) == .notes and
		([.checks[] | select(.level == "warning")] | length) ==
			.warnings and
		all(.checks[]; (.level == "ok") == (.remedy == null))'
	awk 'length > 80' text | grep . && fail "lines that are too long"
}

test_doctor_warns_with_a_remedy()
{
	(
		ulimit -f 100
		"$BUSADM" doctor 2>err
		echo $? >status
	) | cat >out
	test "$(cat status)" -eq 1 || fail "exit status $(cat status)"
	out_has 'ulimit -f'
	BUS_WAIT=nonsense
	export BUS_WAIT
	expect 1 doctor
	unset BUS_WAIT
	out_has 'auto, uring or futex'
}

# A machine of our own, as far as the kernel lets us make one.
test_doctor_in_a_container()
{
	test "$(id -u)" -eq 0 && unshare -mpf --mount-proc true 2>/dev/null || {
		echo "  not root, or no namespaces"
		return
	}
	unshare -mpf --mount-proc sh -c 'mount -t tmpfs -o size=2m,mode=1777 \
		tmpfs /dev/shm && "$0" doctor --format json' "$BUSADM" >out
	test $? -eq 1 || fail "exit status"
	json_is '(.checks[] | select(.check == "room there") | .level) ==
		"warning"'
	json_is '(.checks[] | select(.check == "pid namespace") | .level) ==
		"note"'
	json_is '(.checks[] | select(.check == "a named bus") | .level) == "ok"'
}

# ------------------------------------------------------ which bus, and whose --

test_what_is_no_bus_is_said_with_a_remedy()
{
	scene
	expect 1 get $bus-none q
	err_has 'busadm list'
	expect 1 get $bus none
	err_has 'busadm info'
	expect 1 get pid:1 q
	err_has 'without a name'
	expect 1 get ./copy q
	err_has 'is a file'
	expect 0 get --drain /dev/shm/shmbus.$bus q
	echo nonsense >/dev/shm/shmbus.$bus-x
	expect 1 get $bus-x q
	err_has 'busadm check'
	rm /dev/shm/shmbus.$bus-x
	expect 1 get "$(printf 'a\033b')" q
	err_has 'a\x1bb'
	actor_ends
}

test_an_orphan_gives_and_does_not_take()
{
	scene
	told ok fill q 2 10
	actor_dies
	expect 1 put $bus q x
	err_has 'its creator is dead'
	expect 0 get --timeout 60 $bus q
	expect 0 close $bus q
	expect 0 get --timeout 60 --count 0 $bus q
	out_is '0002......\n'
	expect 0 gc $bus
}

test_wrong_options_are_named()
{
	for args in 'put' 'get x' 'get a b c' 'put --bad a b' \
		'get --count x a b' 'get --timeout -1 a b' 'close a' \
		'get --drain --timeout 1 a b' 'get --format xml a b' \
		'put --timeout' 'abort a b c' 'gc --bad' 'doctor x'; do
		expect 2 $args
		err_has "try 'busadm ${args%% *} --help'"
	done
	for command in put get close abort gc doctor; do
		expect 0 $command --help
		out_has "Usage: busadm $command"
		expect 0 --version
	done
}

# completes WORD... WANT: the last WORD, with TAB behind it, may be WANT (words
# with blanks between, in order)
completes()
{
	cat >complete.bash <<-'END'
		source "$1"
		shift
		COMP_WORDS=("${@:1:$#-1}")
		COMP_CWORD=$(($# - 2))
		_busadm
		got=$(printf '%s\n' "${COMPREPLY[@]}" | sort | paste -sd ' ')
		test "$got" = "${@: -1}" || echo "'$got', not '${@: -1}'"
	END
	answer=$(bash complete.bash "$completion" "$BUSADM" "$@" 2>&1)
	test -z "$answer" || fail "completion of $*: $answer"
}

test_bash_completes()
{
	command -v bash >/dev/null || { echo "  no bash"; return; }
	completion=$srcdir/tools/adm/bash-completion/busadm
	scene
	told ok queue quite
	completes '' "$("$BUSADM" --help | sed -n 's/^  \([a-z][a-z]*\) .*/\1/p' |
		sort | paste -sd ' ')"
	completes ab abort
	completes --v --version
	completes put --f --format
	completes put --format h hex
	completes get --timeout ''  ''
	completes close --format '' 'json text'
	completes get $bus $bus
	completes get --count 3 $bus $bus
	completes get --drain $bus '' 'q quite'
	completes get $bus qu quite
	completes inspect $bus '' 'q quite'
	completes get $bus q '' ''
	completes gc --d --dry-run
	completes gc a b $bus $bus
	touch a-copy
	completes info ./a-c ./a-copy
	completes doctor '' ''
	for command in $("$BUSADM" --help | sed -n 's/^  \([a-z][a-z]*\) .*/\1/p')
	do
		completes $command --hel --help
	done
	actor_ends
}

run_tests "$@"
