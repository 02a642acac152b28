#!/bin/sh
# busbench_kill.sh - nothing is left behind by a busbench that is killed
#
# Runs from `make check`; by hand: BUSBENCH=bench/busbench sh busbench_kill.sh.
# Exit 0, 1, or 77 without a program to test, without jq or setsid or with
# CHECK_QUICK.
#
# SIGKILL comes to busbench alone, as from a person, or to its whole group of
# processes, as from timeout(1): to those as well that are there to clean up.

. "$(dirname "$0")/busbench_lib.sh"
skip_if_quick
command -v setsid >/dev/null || skip "setsid is not installed"

mark=BUSBENCH_KILL_TEST=$$
pids=none

# begin ARGUMENT...: in the background, in a group of its own; $pid
begin()
{
	env $mark setsid "$BUSBENCH" "$@" >out 2>err &
	pid=$!
	pids="$pids|$pid"
}

# end alone|group
end()
{
	if [ "$1" = group ]; then
		kill -KILL "-$pid"
	else
		kill -KILL $pid
	fi
	wait $pid 2>/dev/null
}

# Names with a pid of ours, and processes with our mark.
left()
{
	ls /dev/shm /dev/mqueue /tmp 2>/dev/null |
		grep -E "^busbench\.($pids)\."
	grep -lsz "^$mark\$" /proc/[0-9]*/environ
}

# Whoever cleans up may take a moment.
nothing_left()
{
	for _ in $(seq 50); do
		test -z "$(left)" && return
		sleep 0.1
	done
	fail "left behind, $*: $(left)"
	pids=none
}

# is_there FILE...: in /dev/shm, of $pid
is_there()
{
	for file; do
		test -e "/dev/shm/busbench.$pid.$file" && return
	done
	false
}

"$BUSBENCH" rivals --format json >rivals || fail "no rivals"
named='mq|qb|boost|zmq|nng|iceoryx|python-queue|python-pool-map|python-executor'
rivals=$(jq -r "select(.built and (.rival | test(\"^($named)\$\"))) |
	.rival" rivals)

echo "= in the middle of making what has a name"
for rival in $rivals; do
	case $rival in
	qb | boost) ;;
	*) continue ;;
	esac
	# Rings of 32 MiB take some milliseconds.
	for who in alone group alone group alone group alone group; do
		begin stream --copy --batch 1 --size 4M --duration 0.02 \
			--runs 1 --rival "$rival"
		until is_there 0 0-data || ! test -d /proc/$pid; do
			:
		done
		end $who 2>/dev/null # it was faster
	done
	nothing_left "by $rival"
done

echo "= in the middle of rounds"
for rival in $rivals; do
	case $rival in
	python-pool-map) what="pool --method map" ;;
	python-executor) what="pool --method submit" ;;
	*) what="stream --copy --batch 1 --size 64" ;;
	esac
	for who in alone group; do
		# shellcheck disable=SC2086
		begin $what --duration 0.3 --runs 20 --rival "$rival"
		sleep 1
		end $who
		nothing_left "by $rival, killed $who"
	done
done

case $rivals in
*iceoryx*)
	echo "= no memory of a daemon, unless one is running"
	no_roudi_left
	;;
esac

finish
