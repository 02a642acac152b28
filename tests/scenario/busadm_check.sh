#!/bin/sh
# busadm_check.sh - check finds who is stuck and what is damaged, and nothing
# on a bus that is well, also under load and while its processes are killed;
# stats and top show what happens
#
# Runs from `make check`; by hand as busadm.sh.  Exit 0, 1, or 77, as with
# CHECK_QUICK.

top=${top_builddir:-${builddir:-.}}
BUSSCEN=$(realpath "${BUSSCEN:-$top/tools/busscen}")
ADM_FLIP=$(realpath "${ADM_FLIP:-$top/tests/adm/flip}")

if test -n "${CHECK_QUICK-}"; then
	echo "skipped: CHECK_QUICK is set"
	exit 77
fi
. "$(dirname "$0")/busadm_lib.sh"

FLIPS=${FLIPS:-1000}

# finds RULE SEVERITY: did check say so, in JSON?  finds_by adds: of which pid
finds()
{
	json_is "any(.buses[0].findings[]; .rule == \"$1\" and
		.severity == \"$2\")"
}

finds_by()
{
	json_is "any(.buses[0].findings[]; .rule == \"$1\" and
		.severity == \"$2\" and .pid == $3)"
}

stop()
{
	kill -STOP "$1"
	wait_for is_state "$1" T
}

test_usage()
{
	for command in check stats top; do
		expect 0 $command --help
		out_has "Usage: busadm $command"
		expect 2 $command --nonsense
		expect 2 $command --interval soon
		err_has "not 'soon'"
		expect 2 $command --interval -1
	done
	for command in check stats; do
		expect 2 $command --format xml
		expect 1 $command no-such-bus
		err_has "there is no bus 'no-such-bus'"
	done
	expect 2 check --long long
	expect 2 stats --count 3
	expect 2 stats --interval 1 --count 0
	expect 2 stats --interval 0
	expect 2 stats --interval 1 --format prom
	expect 2 top a b
}

# ------------------------------------------------------------------ stuck --

test_stopped_with_a_message()
{
	stage $bus
	stop "$(who holder)"
	expect 1 check --format json $bus
	finds_by stopped warning "$(who holder)"
	json_is '.schema == 1 and (.buses | length) == 1'
	# What stands in info is the same.
	expect 0 info $bus
	out_has "it holds the message at position 0 of queue 'orders'"
	out_has "who:    endpoint"
	out_has "kill -CONT $(who holder)"
	kill -CONT "$(who holder)"
	expect 1 check --format json $bus
	json_is 'all(.buses[0].findings[]; .rule != "stopped")'
	end_stage
}

# Who holds nothing that others wait for is only mentioned.
test_stopped_with_nothing()
{
	stage $bus
	stop "$(who reader)"
	expect 1 check --format json $bus
	finds_by stopped note "$(who reader)"
	expect 1 check --quiet $bus
	out_lacks "note: "
	kill -CONT "$(who reader)"
	end_stage
}

test_full_and_nobody_reads()
{
	stage $bus
	expect 1 check $bus
	out_has "queue 'full': it is full with 4 messages that nobody takes"
	out_has "1 writer is asleep for room"
	out_has "remedy: start a reader"
	end_stage
}

test_coordinator_stopped()
{
	stage $bus
	stop "$(who stage)"
	expect 1 check $bus
	out_has "pid $(who stage) ("
	out_has "of requests 'sums' to collect"
	out_has "ends it, with its workers and their requests, and nobody can open the bus any more"
	kill -CONT "$(who stage)"
	end_stage
}

test_task_that_takes_long()
{
	stage $bus
	expect 1 check --format json --long 0.01 $bus
	json_is '[.buses[0].findings[] | select(.rule == "long-task" and
		.severity == "warning" and .where == "pool '\''work'\''")] |
		length == 2'
	end_stage
}

test_orphan_with_messages()
{
	stage $bus
	kill_stage
	expect 1 check --format json $bus
	finds orphan warning
	json_is '.buses[0].errors == 0'
	expect 1 check $bus
	out_has "its creator is dead"
	out_has "busadm gc"
}

test_all_buses()
{
	stage $bus
	expect 1 check --format json
	json_is "any(.buses[]; .bus == \"$bus\" and .warnings == 1)"
	end_stage
}

# ----------------------------------------------------------------- damaged --

# word FILE OFFSET: the 8 bytes there become nonsense
word()
{
	printf '\377\376\375\374\373\372\371\370' |
		dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

test_damaged_bus()
{
	stage $bus
	"$BUSADM" dump $bus copy >/dev/null
	end_stage
	expect 0 check ./copy
	truncate -s -4096 copy
	expect 1 check --format json ./copy
	finds truncated error
	word copy 0
	expect 1 check --format json ./copy
	finds no-bus error
	: >empty
	expect 1 check --format json ./empty
	finds no-bus error
}

test_damaged_while_it_lives()
{
	stage $bus
	word /dev/shm/shmbus.$bus 512 # beyond the header: endpoint 0, nobody's
	expect 1 check --format json $bus
	json_is '.buses[0].errors == 0'
	word /dev/shm/shmbus.$bus $((512 + 4 * 384 + 128)) # state of endpoint 4
	expect 1 check --format json $bus
	finds damaged error
	kill_stage
}

test_flipped_bytes()
{
	test -x "$ADM_FLIP" || { echo "  no $ADM_FLIP"; return; }
	stage $bus
	"$BUSADM" dump $bus copy >/dev/null
	end_stage
	"$ADM_FLIP" copy 1 "$FLIPS" || fail "bytes flipped"
}

# -------------------------------------------------------------------- well --

# no_alarm SCENARIO...: while it runs, nothing that counts is found
no_alarm()
{
	"$BUSSCEN" run "$@" >/dev/null 2>&1 &
	load=$!
	wait_for "$BUSADM" info pid:$load >/dev/null 2>&1
	for _ in 1 2 3 4; do
		"$BUSADM" check --interval 0.05 pid:$load >out 2>err
		got=$?
		kill -0 $load 2>/dev/null || break
		test $got -eq 0 || {
			fail "check: status $got, of $*"
			cat out err
		}
	done
	kill -9 $load 2>/dev/null
	wait $load 2>/dev/null
}

test_no_alarm_under_load()
{
	test -x "$BUSSCEN" || { echo "  no busscen"; return; }
	no_alarm queue-farm --count 100000000 --workers 16
	no_alarm pipe-farm --count 100000000 --workers 4
	no_alarm pool-map --count 100000000 --workers 16
	no_alarm pool-queue --count 100000000 --workers 4
	no_alarm pool-map --count 100000000 --workers 4 --stuck 1000 \
		--deadline 100 --keep-going
}

test_no_alarm_while_workers_are_killed()
{
	test -x "$BUSSCEN" || { echo "  no busscen"; return; }
	no_alarm queue-farm --count 100000000 --workers 8 --kill-every 20
	no_alarm pool-map --count 100000000 --workers 8 --kill-every 20
	no_alarm pool-queue --count 100000000 --workers 4 --kill-every 20
}

# ------------------------------------------------------------- stats, top --

test_stats()
{
	stage $bus
	expect 0 stats $bus
	row_is waiting "12 that nobody has yet"
	row_is full "queue 4 0 4 0 0 4 0 1"
	row_is work "pool 3 2 1 2 2045 2048 0 0"
	grep -qE "^ *work +3 +0 +0 +0 +0 +0 +2 +2 +0$" out || fail "no pool"
	expect 0 stats --format json $bus
	json_is '.schema == 1 and .buses[0].waiting == 12 and
		any(.buses[0].channels[]; .name == "full" and .free == 0) and
		.buses[0].pools[0].submitted == 3 and
		(.buses[0].endpoints | length) == 8'
	expect 0 stats --interval 0.1 --count 2 --format json $bus
	test "$(wc -l <out)" -eq 2 || fail "not two lines"
	json_is '.buses[0].put_per_s == 0 and .buses[0].channels[0].put_per_s == 0'
	expect 0 stats --interval 0.1 --count 2 $bus
	test "$(grep -c "^$bus: put 0/s" out)" -eq 2 || fail "not twice"
	end_stage
}

# Has process $1 the file open that the name leads to now?
has_the_bus()
{
	stat -Lc %i "/proc/$1/fd"/* 2>/dev/null |
		grep -qx "$(stat -c %i /dev/shm/shmbus.$bus)"
}

# A bus that is gone is not kept in memory by who looks at it, and the next one
# of its name is shown.
test_stats_goes_with_the_name()
{
	stage $bus
	: >rates
	"$BUSADM" stats --interval 0.2 $bus >rates 2>gone 9>&- &
	pid=$!
	wait_for grep -q orders rates
	kill -STOP $pid
	kill_stage
	rm /dev/shm/shmbus.$bus
	stage $bus
	has_the_bus $pid && fail "the test looks at the wrong bus"
	kill -CONT $pid
	wait_for has_the_bus $pid
	end_stage
	wait $pid
	test $? -eq 1 || fail "the bus is gone, and the exit status is not 1"
	test "$(cat gone)" = "busadm: there is no bus '$bus'; 'busadm list' shows those that there are" ||
		fail "it says: $(cat gone)"
}

# Each metric once, with HELP and TYPE above its samples.
test_stats_for_prometheus()
{
	stage $bus
	expect 1 stats --format prom $bus no-such-bus
	out_has "shmbus_up{bus=\"$bus\"} 1"
	out_has 'shmbus_up{bus="no-such-bus"} 0'
	out_has "shmbus_waiting{bus=\"$bus\",channel=\"orders\",index=\"0\",kind=\"queue\"} 4"
	awk '/^# HELP/ { name = $3; if (seen[name]++) bad = 1; next }
		/^# TYPE/ { bad += $3 != name
			bad += $4 != (name ~ /_total$/ ? "counter" : "gauge")
			next }
		{ sub(/{.*/, "", $1); bad += $1 != name; n++ }
		END { exit bad || n < 50 }' out || { fail "prom"; cat out; }
	end_stage
}

test_top_wants_a_terminal()
{
	expect 1 top
	case $(cat err) in
	*"wants a terminal"* | *"built without ncurses"*) ;;
	*) fail "top without a terminal:"; cat err ;;
	esac
}

# On a terminal that python makes: what it shows, and that the terminal is as it
# was, however it ends.
test_top_on_a_terminal()
{
	command -v python3 >/dev/null || { echo "  no python3"; return; }
	"$BUSADM" top </dev/null 2>&1 | grep -q ncurses &&
		{ echo "  no ncurses"; return; }
	stage $bus
	BUS=$bus python3 - "$BUSADM" <<-'END' || fail "top"
		import fcntl, os, pty, re, select, signal, struct, sys, termios, time

		def start(*args):
		    pid, fd = pty.fork()
		    if pid == 0:
		        os.environ["TERM"] = "vt100"
		        os.environ["LINES"] = os.environ["COLUMNS"] = ""
		        del os.environ["LINES"], os.environ["COLUMNS"]
		        time.sleep(0.2)
		        os.execv(sys.argv[1], ["busadm", "top", *args])
		    size(fd, 40, 120)
		    return pid, fd, termios.tcgetattr(fd)

		def size(fd, rows, columns):
		    fcntl.ioctl(fd, termios.TIOCSWINSZ,
		                struct.pack("HHHH", rows, columns, 0, 0))

		def read_until(fd, text):
		    seen, end = b"", time.time() + 30
		    while text not in re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b" ", seen):
		        assert time.time() < end, (text, seen)
		        if select.select([fd], [], [], 1)[0]:
		            seen += os.read(fd, 65536)
		    return seen

		def ends(pid, fd, before, want):
		    end = time.time() + 30
		    while select.select([fd], [], [], 0.2)[0]:
		        try:
		            if not os.read(fd, 65536):
		                break
		        except OSError:
		            break
		    while True:
		        got, status = os.waitpid(pid, os.WNOHANG)
		        if got:
		            break
		        assert time.time() < end, "it does not end"
		        time.sleep(0.05)
		    assert want(status), status
		    after = termios.tcgetattr(fd) if before else None
		    assert after == before, (before, after)

		bus = os.environ["BUS"]
		pid, fd, before = start(bus)
		read_until(fd, b"orders")
		os.write(fd, b"h")
		read_until(fd, b"this help")
		os.write(fd, b"h\t")
		size(fd, 10, 60)
		os.kill(pid, signal.SIGWINCH)
		read_until(fd, b"ENDPOINT")
		size(fd, 2, 5)
		os.kill(pid, signal.SIGWINCH)
		time.sleep(0.3)
		os.write(fd, b"q")
		# the pty is closed with its last process: attributes while it lives
		ends(pid, fd, None, lambda s: os.WIFEXITED(s) and not os.WEXITSTATUS(s))
		for sig in signal.SIGTERM, signal.SIGHUP:
		    pid, fd, before = start()
		    read_until(fd, b"CHANNEL")
		    os.kill(pid, sig)
		    ends(pid, fd, None,
		         lambda s: os.WIFSIGNALED(s) and os.WTERMSIG(s) == sig)
		# a terminal that a shell keeps
		pid, fd = pty.fork()
		if pid == 0:
		    os.environ["TERM"] = "vt100"
		    os.execv("/bin/sh", ["sh", "-c",
		        'trap : INT; stty -a >before; "$0" top; stty -a >after; echo end=$?',
		        sys.argv[1]])
		size(fd, 24, 80)
		read_until(fd, b"CHANNEL")
		os.write(fd, b"\x03") # ctrl-C
		read_until(fd, b"end=0")
	END
	cmp -s before after || { fail "the terminal has changed"; diff before after; }
	end_stage
}

run_tests "$@"
