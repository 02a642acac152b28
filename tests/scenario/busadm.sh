#!/bin/sh
# busadm.sh - list, info, ps, inspect and dump show a bus as it is, whose
# processes live, are stopped, or are dead, or of which there is but a copy
#
# Runs from `make check`; by hand: BUSADM=tools/adm/busadm \
# ADM_STAGE=tests/adm/stage sh busadm.sh [NAME...] runs the named tests only.
# Exit 0, 1, or 77 without the programs or jq.

. "$(dirname "$0")/busadm_lib.sh"

# change FILE OFFSET BYTES: overwrite some, given in printf's way
change()
{
	printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

test_usage()
{
	expect 0 --help
	out_has "Usage: busadm COMMAND"
	expect 0 --version
	out_has "busadm 0."
	expect 2
	err_has "Usage:"
	expect 2 nonsense
	err_has "there is no command 'nonsense'"
	for command in list info ps inspect dump; do
		expect 0 $command --help
		out_has "Usage: busadm $command"
		expect 2 $command --nonsense
		err_has "--nonsense"
		expect 2 $command --format xml
		err_has "not 'xml'"
		expect 2 $command --format
		err_has "needs a value"
		expect 2 $command a b c d
		err_has "is one too many"
	done
	for command in info ps inspect dump; do
		expect 2 $command
		err_has "needs a BUS"
		expect 1 $command no-such-bus $(test $command = inspect && echo q;
			test $command = dump && echo file)
		err_has "there is no bus 'no-such-bus'"
	done
	expect 2 inspect $bus q seven
	expect 2 inspect $bus q --hex
	test -e file && fail "a dump of nothing"
}

# What busadm prints is gone, and says so.
test_full_disk()
{
	stage $bus
	for command in list "info $bus" "ps $bus" "info --format json $bus"; do
		"$BUSADM" $command >/dev/full 2>err
		test $? -eq 1 || fail "busadm $command >/dev/full"
		err_has "cannot write standard output"
	done
}

test_list()
{
	stage $bus
	expect 0 list
	row_is $bus "live $(who stage) $(row $bus | cut -d' ' -f4-5) 8 10 12"
	expect 0 list --format json
	json_is '.schema == 1'
	json_is ".buses[] | select(.bus == \"$bus\") | .state == \"live\" and
		.creator == $(who stage) and .endpoints == 8 and
		.channels == 10 and .waiting == 12 and .processes == 8"
}

# Files that are called so and are none; and one that others made.
test_list_knows_strangers()
{
	stage $bus
	for what in zeros text short abi; do
		cp /dev/shm/shmbus.$bus /dev/shm/shmbus.$bus-$what
	done
	change /dev/shm/shmbus.$bus-zeros 0 '\0\0\0\0\0\0\0\0'
	echo hello >/dev/shm/shmbus.$bus-text
	truncate -s 100000 /dev/shm/shmbus.$bus-short
	change /dev/shm/shmbus.$bus-abi 8 '\77'
	mkdir /dev/shm/shmbus.$bus-dir
	mkfifo /dev/shm/shmbus.$bus-fifo
	ln -s shmbus.$bus /dev/shm/shmbus.$bus-link
	expect 0 list
	rmdir /dev/shm/shmbus.$bus-dir
	row_is $bus-zeros "no bus $(row $bus-zeros | cut -d' ' -f4-)"
	row_is $bus-text "no bus - 4 KiB - - -"
	row_is $bus-short "truncated $(row $bus-short | cut -d' ' -f3-)"
	row_is $bus-abi "other version $(row $bus-abi | cut -d' ' -f4-)"
	row_is $bus-dir "no bus - - - - -"
	row_is $bus-fifo "no bus - - - - -"
	row_is $bus-link "no bus - - - - -"
	for what in zeros text abi; do
		expect 1 info $bus-$what
		err_has "cannot be read: "
	done
	expect 0 info $bus-short
	out_has "truncated"
}

test_info()
{
	stage $bus
	expect 0 info $bus
	row_is state "live, its creator is pid $(who stage)"
	row_is endpoints "8 of 30"
	row io_uring | grep -qE '^io_uring in [0-8] of 8 processes$' ||
		fail "$(row io_uring)"
	row_is orders "queue 8 x 24 B 4 1 - 3 - open"
	row_is full "queue 4 x 24 B 4 - - 0 1 writer open"
	row_is hungry "queue 16 x 24 B - - - 16 1 reader open"
	row_is closed "queue 4 x 24 B - - - 4 - closed"
	row_is sums "requests 8 x 24 B - - 2 6 1 worker open"
	row_is log "pipe, 0 to 1 2 x 8 KiB 3 - - - - 0 open (pid $(who stage)); 1 not opened"
	row_is "#9" "pipe, 0 to 1 2 x 8 KiB - - - - 1 reader 0 open (pid $(who stage)); 1 open (pid $(who listener))"
	expect 0 info --format json $bus
	json_is '.channels | map(.name) == ["orders", "full", "hungry",
		"closed", "sums", "work", "", "", "log", ""]'
	json_is '.channels[0] | .waiting == 4 and .held == 1 and .free == 3 and
		.tail == 5 and .head == 1 and (.closed | not)'
	json_is '.channels[5] | .waiting == 1 and .held == 2 and
		.workers.submitted == 3 and
		(.workers.places | map(select(.task)) | length == 2)'
	json_is '.channels[8] | .sides[1].state == "not opened" and
		.directions[0].records == 3 and .directions[0].bytes == 24'
	end_stage
	expect 1 info $bus
	err_has "there is no bus"
}

test_ps()
{
	stage $bus
	expect 0 ps --format json $bus
	json_is ".endpoints[] | select(.pid == $(who holder)) |
		.holds[0].name == \"orders\" and .holds[0].position == 0 and
		.holds[0].state == \"held\" and .n_holds == 1 and .got == 1"
	json_is ".endpoints[] | select(.pid == $(who writer)) |
		.sleeps_for == \"room in full\" and .parked and
		.process.state == \"asleep\""
	json_is ".endpoints[] | select(.pid == $(who reader)) |
		.sleeps_for == \"a message in hungry\""
	json_is ".endpoints[] | select(.pid == $(who listener)) |
		.sleeps_for == \"a message in #9\""
	json_is ".endpoints[] | select(.pid == $(who summer)) |
		.sleeps_for == \"a request in sums\" and .put == 2"
	json_is '[.endpoints[] | select(.holds[0].name == "work") |
		.holds[0].since_ns > 0] == [true, true]'
	expect 0 ps $bus
	out_has "orders:0"
	out_has "work:0 for"
	out_has "room in full"
}

test_ps_tells_who_is_stopped_or_dead()
{
	stage $bus
	kill -STOP "$(who holder)"
	wait_for is_state "$(who holder)" T
	expect 0 ps $bus
	grep -qE "^ *[0-9]+ +$(who holder) +stopped .* orders:0 " out ||
		fail "no stopped holder in $(cat out)"
	expect 0 inspect $bus orders 0
	out_has "(pid $(who holder), stopped)"
	kill -9 "$(who stage)"
	wait_for is_orphan
	expect 0 list
	row_is $bus "orphan - $(row $bus | cut -d' ' -f4-)"
	expect 0 ps $bus
	grep -qE "^ *1 +$(who stage) +(dead|zombie)" out ||
		fail "the creator is not dead in $(cat out)"
	out_has "orders:0"
	expect 0 info $bus
	row_is state "orphan, its creator is dead"
	row_is orders "queue 8 x 24 B 4 1 - 3 - open"
}

is_orphan()
{
	"$BUSADM" list | grep -qE "^$bus +orphan"
}

test_inspect()
{
	stage $bus
	expect 0 inspect $bus orders
	row_is 0 "held 1 (pid $(who stage), asleep) 2 (pid $(who holder), asleep) - 7 \"order 1\""
	row_is 2 "waiting 1 (pid $(who stage), asleep) - - 7 \"order 3\""
	row_is 3 "waiting 1 (pid $(who stage), asleep) - - 10000 \"$(printf %040d 0 | tr 0 x)\"..."
	out_has '"a\tb\n\x1b[31mred\\\xff"'
	test -z "$(row 5)" || fail "a free slot"
	expect 0 inspect --all $bus orders
	row_is 5 "free - - - -"
	row_is 7 "free - - - -"
	expect 0 inspect $bus orders 4 --hex
	out_has "61 09 62 0a 1b 5b 33 31  6d 72 65 64 5c ff        |a.b..[31mred\\.|"
	expect 0 inspect $bus orders 3 --hex
	test "$(grep -c '|xxxxxxxxxxxxxxxx|' out)" -eq 625 ||
		fail "not all of a large message"
	expect 0 inspect --format json --hex $bus orders 3
	json_is '.slots | length == 1 and (.[0].hex | length) == 20000'
	expect 0 inspect $bus sums
	out_has '07 00 00 00 00 00 00 00'
	out_has '"two numbers, not 3 bytes"'
	row_is owner "endpoint 1, pid $(who stage)"
	expect 0 inspect $bus work
	row_is tasks "3 submitted: 0 ok, 0 failed, 0 dead, 0 canceled, 0 late"
	expect 0 inspect $bus log
	row_is "0 to 1" "3 0 3 24 B 8 KiB -"
	row_is 1 "not opened both - - -"
	expect 0 inspect $bus '#9'
	row_is "0 to 1" "0 0 0 0 B 8 KiB 1 reader"
	expect 1 inspect $bus nobody
	err_has "has no channel 'nobody'"
	expect 0 inspect $bus orders 5
	row_is 5 "free - - - -"
	expect 1 inspect $bus orders 99
	err_has "position 99 is in no slot now"
	expect 1 inspect $bus log 1
	err_has "only slots of queues and request rings have positions"
}

# Where the screen is too narrow for the last column, a line of it may be longer.
test_a_narrow_terminal_shows_messages()
{
	command -v script >/dev/null || { echo "  no script(1)"; return; }
	stage $bus
	for columns in 60 72 78 80 90 110; do
		script -qc "stty cols $columns; '$BUSADM' inspect $bus orders" \
			/dev/null >out
		out_has '"order 1"'
	done
}

# channels FILE: what is to be the same in a copy
channels()
{
	jq -S '.channels | map(del(.workers?.places?))' "$1"
}

# Whatever is called like a bus, a pattern of the shell finds it; `expect` looks
# at what is printed.
test_errors_give_no_orders_to_a_terminal()
{
	evil=$bus$(printf '\033[31m\tred\302\233')
	echo "no bus" >"/dev/shm/shmbus.$evil"
	mkdir "/dev/shm/shmbus.$evil-folder"
	for name in "$evil" "$evil-folder" "$evil-nothing"; do
		for command in info ps stats check dump get close; do
			expect 1 $command "$name" $(case $command in
				dump | get | close) echo x ;;
				esac)
		done
		expect 2 list "$name"
		expect 2 "$name"
	done
	err_has '\x1b[31m\tred\xc2\x9b-nothing'
	rm -r "/dev/shm/shmbus.$evil" "/dev/shm/shmbus.$evil-folder"
}

test_dump()
{
	stage $bus
	kill -STOP "$(who holder)"
	wait_for is_state "$(who holder)" T
	expect 0 info --format json $bus
	channels out >live
	expect 0 dump $bus copy
	test "$(stat -c %a copy)" = 600 || fail "others may read a dump"
	test "$(stat -c '%b' copy)" -lt 3000 || fail "a dump without holes"
	cp /dev/shm/shmbus.$bus plain
	kill_stage
	expect 0 dump ./copy again
	for file in copy again plain; do
		expect 0 info --format json ./$file
		channels out | cmp -s - live || fail "$file is another bus"
		expect 0 inspect ./$file orders
		out_has '"a\tb\n\x1b[31mred\\\xff"'
		expect 0 inspect --hex ./$file orders 3
		test "$(grep -c '|xxxxxxxxxxxxxxxx|' out)" -eq 625 ||
			fail "not all of a large message in $file"
	done
	for file in copy again; do
		expect 0 ps ./$file
		out_has " stopped "
		expect 0 info ./$file
		out_has "copy, made 20"
	done
	expect 0 ps ./plain
	out_lacks " stopped "
}

test_dump_without_messages()
{
	stage $bus
	expect 0 info --format json $bus
	channels out >live
	expect 0 dump --no-payload $bus copy
	grep -qaE 'order 1|order 3|xxxx|red|first|third|two numbers|full.*full' \
		copy && fail "messages are in it"
	expect 0 info --format json ./copy
	channels out | cmp -s - live || fail "it is another bus"
	json_is .no_payload
	expect 0 inspect ./copy orders
	row_is 1 "waiting 1 (pid $(who stage), asleep) - - 7"
	row_is 3 "waiting 1 (pid $(who stage), asleep) - - 10000"
	expect 0 dump --format json --no-payload $bus copy
	json_is '.payload == false and .file == "copy"'
}

test_dump_goes_to_files_alone()
{
	stage $bus
	expect 1 dump $bus no/such/folder
	err_has "cannot create 'no/such/folder'"
	expect 1 dump $bus /dev/null
	expect 1 dump $bus -
	err_has "./-"
	echo precious >kept
	(ulimit -f 100; trap '' XFSZ; expect 1 dump $bus kept; exit $test_failed) ||
		fail "a dump larger than a file may be"
	test "$(cat kept)" = precious || fail "what was there is gone"
	test -z "$(find . -name '.shmbus*')" || fail "half a dump is left"
}

test_dump_never_takes_the_place_of_a_bus()
{
	stage $bus
	ln -s /dev/shm/shmbus.$bus link
	for file in /dev/shm/shmbus.$bus /dev/shm/shmbus.$bus-new link; do
		expect 1 dump $bus $file
		err_has "'$file' is where a bus of that name is"
	done
	(cd /dev/shm && "$BUSADM" dump $bus shmbus.$bus) >out 2>err &&
		fail "a dump in the place of the bus"
	test -e /dev/shm/shmbus.$bus-new && fail "a dump that looks like a bus"
	expect 0 list
	row_is $bus "live $(who stage) $(row $bus | cut -d ' ' -f 4-)"
	rm link
	expect 0 dump $bus shmbus.$bus # anywhere else it is a name like others
}

test_dump_is_for_who_makes_it()
{
	test "$(id -u)" -eq 0 || return
	stage $bus
	echo bait >copy
	chown 65534 copy
	chmod 666 copy
	expect 0 dump $bus copy
	test "$(stat -c '%u %a' copy)" = "0 600" ||
		fail "the dump is $(stat -c 'of %U, mode %a' copy)"
}

test_unnamed()
{
	stage -
	expect 0 list
	me=pid:$(who stage)
	row "$me" | grep -qE "^$me unnamed $(who stage) .* 8 10 12\$" ||
		fail "$(row "$me")"
	"$BUSADM" info "$me" >out 2>err || {
		grep -qF "it takes root" err || fail "why not? $(cat err)"
		return
	}
	row_is state "unnamed, read from process $(who stage)$(grep -o "'s memory" out)"
	row_is orders "queue 8 x 24 B 4 1 - 3 - open"
	expect 0 info "$me:1"
	expect 0 info "pid:$(who holder)" # another who has it
	row_is orders "queue 8 x 24 B 4 1 - 3 - open"
	expect 0 dump "$me" copy
	expect 0 inspect ./copy orders 3 --hex
	test "$(grep -c '|xxxxxxxxxxxxxxxx|' out)" -eq 625 ||
		fail "not all of a large message"
	expect 1 info "$me:2"
	err_has "has 1 unnamed bus, there is no 2"
	expect 1 info pid:$$
	err_has "has no unnamed bus"
	end_stage
	expect 1 info "$me"
	err_has "there is no process"
}

# As another user: what is not his is named, with what it takes.
test_not_ours()
{
	test "$(id -u)" -eq 0 && command -v setpriv >/dev/null || return
	setpriv --reuid=65534 --clear-groups "$BUSADM" --version >/dev/null 2>&1 ||
		return # he cannot read the program
	stage $bus
	setpriv --reuid=65534 --clear-groups "$BUSADM" info $bus >out 2>err &&
		fail "everybody may look"
	err_has "it takes its owner or root"
	setpriv --reuid=65534 --clear-groups "$BUSADM" list >out 2>err ||
		fail "no list"
	row_is $bus "closed to us - - - - -"
	kill_stage
	stage -
	setpriv --reuid=65534 --clear-groups \
		"$BUSADM" info "pid:$(who stage)" >out 2>err && fail "everybody may"
	err_has "it takes root"
}

# From above a container its processes are seen, by the pids that they have
# here.
test_container()
{
	unshare --pid --mount --fork --kill-child --mount-proc \
		mount -t tmpfs none /dev/shm 2>/dev/null ||
		return
	unshare --pid --mount --fork --kill-child --mount-proc sh -c '
		mount -t tmpfs none /dev/shm && exec "$@"' - "$ADM_STAGE" $bus \
		<cue >stage.out &
	stage_pid=$!
	exec 9>cue
	wait_for grep -qx ready stage.out
	test "$(who stage)" -lt 10 || fail "it is no pid of a container"
	for pid in $(cat /proc/[0-9]*/task/$stage_pid/children); do
		test "$(readlink -f "/proc/$pid/exe")" = "$ADM_STAGE" && break
	done
	test ! -e /dev/shm/shmbus.$bus || fail "it is here"
	for name in pid:$pid /proc/$pid/root/dev/shm/shmbus.$bus; do
		expect 0 ps --format json $name
		json_is ".endpoints[0] | .pid == $pid and
			.process.state == \"asleep\""
		json_is '[.endpoints[] | select(.holds[0].name == "orders") |
			.process.command] | length == 1 and
			(.[0] | test("stage"))'
		json_is '[.endpoints[].process.state] == ["asleep", "asleep",
			"asleep", "asleep", "asleep", "asleep", "asleep",
			"asleep"]'
	done
	expect 0 info $name
	row_is state "live, its creator is pid $pid"
	expect 0 inspect $name '#9'
	row_is 0 "open both 1 $pid asleep $ADM_STAGE $bus"
	exec 9>&-
	wait $stage_pid
	stage_pid=
}

# By whatever path: what its creator has locked is no copy.
test_path()
{
	stage $bus
	ln -s /dev/shm/shmbus.$bus link
	for path in ./link "$(realpath --relative-to=. /dev/shm)/shmbus.$bus" \
		/dev/shm/shmbus.$bus; do
		expect 0 info "$path"
		row_is state "live, its creator is pid $(who stage)"
	done
	cp /dev/shm/shmbus.$bus plain
	expect 0 info ./plain
	row_is state copy
	kill_stage
	expect 0 info ./link
	row_is state copy
	expect 0 info /dev/shm/shmbus.$bus
	row_is state "orphan, its creator is dead"
}

# A name may have anything in it but a '/'; nothing of it is an order.
test_strange_names()
{
	strange=$(printf '%s-\303\244 b' $bus)
	stage "$strange"
	expect 0 list
	out_has "$bus-\\xc3\\xa4 b"
	expect 0 list --format json
	expect 0 info "$strange"
	row_is bus "$bus-\\xc3\\xa4 b"
	rm -f "/dev/shm/shmbus.$strange"
}

run_tests "$@"
