#!/bin/sh
# busbench_sweep.sh - how busbench runs: sweeps, rates, runs, kills
#
# Runs from `make check`; by hand:
# BUSBENCH=bench/busbench sh busbench_sweep.sh.
# Exit 0, 1, or 77 without a program to test, without jq or with CHECK_QUICK.

. "$(dirname "$0")/busbench_lib.sh"
skip_if_quick

clean=".status == \"ok\" and $unharmed"
short="--duration 0.02 --runs 1 --format json"

echo "= usage errors of a sweep name what was given and what would be right"
expect 2 sweep
err_has "such as: sweep stream size 8:1M:x4"
expect 2 sweep stream size
err_has "such as: sweep stream size 8:1M:x4"
expect 2 sweep stream colour 1:4
err_has "sweep has no parameter 'colour'; there are batch, chunk,"
expect 2 sweep stream size 8:1M:4
err_has "'8:1M:4' is neither a value of size nor a range of them; say 8,64,1K"
expect 2 sweep stream size 64:8
err_has "'64:8' is neither a value of size"
expect 2 sweep stream size 8:1M
err_has "'8:1M' would be more than 64 values of size; say a larger step"
expect 2 sweep stream size 4:16:x2
err_has "--size '4' is not a number from 8 to"
expect 2 sweep farm size 8,16
err_has "--size is only for stream, duplex, mpmc"
expect 2 sweep nothing size 8,16
err_has "unknown workload 'nothing'"
expect 2 sweep pipe size 8,16
err_has "sweep takes one workload"
expect 2 sweep stream wait spin,never
err_has "unknown --wait 'never'; there are spin, adaptive"
expect 2 sweep stream slots 64,100
err_has "--slots '100' is not a power of two from 2 to 1048576"
expect 2 sweep stream size 8:16:x2 --size 64
err_has "sweep runs through --size by itself; leave out --size, or add"
expect 2 sweep farm workers 1:2 --duration 0.01 --worke=3 --runs 1
err_has "sweep runs through --workers by itself"
expect 2 stream --size 8:1M
err_has "--size '8:1M' would be more than 64 numbers; say a larger step"
expect 2 farm --slots 64
err_has "--slots is only for stream, mpmc"
expect 0 sweep --help
grep -q 'sweep WORKLOAD PARAMETER VALUES' out || fail "--help: no sweep"

echo "= a sweep has a row for each value and transport"
expect 0 sweep stream size 8:1K:x4 $short --rival vyukov,pipe
all "$clean"
all '.sweep == "size" and .sweep_value == .bytes and .by == "copy"'
whole '[.[].bytes] | unique == [8, 32, 128, 512]'
whole 'group_by(.bytes) | all(.[]; map(.transport) ==
	["shmbus-pipe", "shmbus", "vyukov", "pipe"])'
expect 0 sweep farm workers 1:3 $short --rival vyukov
all "$clean"
whole 'group_by(.workers) | map(.[0].workers) == [1, 2, 3] and
	all(.[]; map([.transport, .batch]) ==
	[["shmbus", null], ["shmbus", 32], ["vyukov", null]])'
expect 0 sweep mpmc slots 64,4K $short --rival vyukov
all "$clean and .slots == .sweep_value and .producers == 2"
whole '[.[].slots] == [64, 64, 4096, 4096]'
expect 0 sweep stream batch 1,32 $short --rival none --transport queue
whole 'map(.batch) == [1, 32]'
expect 0 sweep rtt wait spin,futex $short --rival pipe
whole 'map(select(.transport == "shmbus") | .wait) == ["spin", "futex"]'
all '.sweep_value == "spin" or .sweep_value == "futex"'
expect 0 sweep farm inflight 1:1K:x32 $short --rival none
whole 'map([.inflight, .batch]) == [[1, null], [32, null], [32, 32],
	[1024, null], [1024, 32]]'
expect 0 sweep pool method submit,imap $short --workers 1 --rival none
whole 'map(.method) == ["submit", "farm", "imap", "farm"]'
expect 0 sweep pool chunk 1,64 $short --workers 1 --rival none
all 'if .transport == "shmbus" then .chunk == .sweep_value else true end'
all '.lost == 0 and .dup == 0'
expect 0 sweep stream size 8,16 --duration 0.02 --runs 1 --rival none
grep -q '^  size 16 *shmbus-pipe' out || fail "no row of size 16 in the table"

echo "= names for several workloads, and slots"
expect 0 pipe $short --size 64 --rival pipe
all '.status == "ok" and .transport != "shmbus"'
whole '[.[].workload] | unique == ["duplex", "rtt", "stream"]'
expect 0 pipe rtt $short --size 64 --rival none
some '.workload == "rtt" and .transport == "shmbus"'
all '.workload == "rtt" or .transport != "shmbus"'
expect 0 all --duration 0.01 --runs 1 --format json --size 64 --workers 1 \
	--rival none
whole '[.[].workload] | unique == ["duplex", "farm", "idle", "mpmc", "pool",
	"recover", "rtt", "stream", "wake"]'
expect 0 all --duration 0.01 --runs 1 --format json --size 64 --rival none \
	--transport pipe
whole '[.[].workload] | unique == ["duplex", "idle", "rtt", "stream", "wake"]'
expect 0 stream $short --size 8 --batch 1 --slots 256 --rival vyukov
whole 'map([.transport, .slots]) == [["shmbus", 256], ["vyukov", 256]]'

echo "= rounds: regimes, the interval of the median, switches"
expect 2 rtt --warmup never
err_has "--warmup 'never' is not a number of seconds from 0 to 3600"
expect 0 rtt stream --size 8 --duration 0.01 --runs 6 --warmup 0.02 \
	--format json --rival pipe
all '.runs == 6 and (.regimes | .near + .far + .mixed + .unknown) == 6'
all '.regimes[.regime] > 0 and .regimes[.regime] <= 6'
all '.warmup_seconds == 0.02'
all 'if .regimes[.regime] < 6 then .ci_low == null and .ci_high == null
     else .ci_low <= .ci_high end'
all 'if .workload == "rtt" then .figure == "ns.p50" and
	(.ci_low == null or (.ci_low <= .ns.p50 and .ns.p50 <= .ci_high))
     else .figure == "msgs_per_s" and
	(.ci_low == null or (.ci_low <= .msgs_per_s * 1.001 and
	 .msgs_per_s <= .ci_high * 1.001)) end'
all '.switches_per_msg >= .wakeups_per_msg and .wakeups_per_msg >= 0'
# who sleeps for each answer switches; two sides, but the woken one may run on
some '.transport == "pipe" and .workload == "rtt" and .switches_per_msg > 0.5'
# six rounds would do, but those that found the other regime are set aside
expect 0 stream --size 8 --duration 0.01 --runs 24 --rival none
grep -q '+-95%  *switches' out || fail "no columns of runs: $(cat out)"
expect 0 stream --size 8 --duration 0.01 --runs 5 --format csv --rival none
head -1 out | grep -q ',regimes_near,regimes_far,' || fail "$(head -1 out)"
awk -F, 'NR == 1 { n = NF } NF != n { exit 1 }' out || fail "columns differ"

echo "= open loop: latencies from the intended time"
expect 2 stream --rate 0
err_has "--rate '0' is not a number of messages a second from 1 to 100M, such as"
expect 2 stream --rate 5/min
err_has "--rate '5/min' is not a number of messages a second"
expect 2 mpmc --rate 5K
err_has "--rate is only for rtt, stream, farm"
expect 2 stream --rate 5K --batch 8
err_has "--rate sends single messages; leave out --batch"
expect 0 rtt stream farm --rate 2K/s --size 8 --workers 1 --wait adaptive \
	--duration 0.1 --runs 1 --format json --rival vyukov,python-pipe
all 'if .transport == "python-pipe" then .status == "absent" else .status == "ok" and .rate == 2000 and
	.loop == "open" and .figure == "ns.p50" and .lost == 0 and .dup == 0
     end'
some '.transport == "python-pipe" and (.why | test("knows no rate"))'
# on a machine that is taken there may be no message in so short a round
all '.ns == null or (.ns.min <= .ns.p50 and .ns.p50 <= .ns.max and
	.sent_per_s > 0)'
some '.ns != null'
# no more than was asked for, but for what was late when the count began
all '.transport == "python-pipe" or .messages <= 2000 * (.seconds + 0.2)'
# the first one is sent in the warm-up, also where it takes a while to begin;
# the second a second later
expect 0 rtt --rate 1 --duration 0.01 --warmup 0.5 --runs 1 --wait adaptive \
	--format json --rival mq
all '.status == "ok" and .messages == 0 and .ns == null and .ratio == null and
	(.warnings | any(test("not one message in the time: .*mq .block.")) and
		(any(test("keep the rate")) | not))'
# two messages of a megabyte do not go through in a microsecond
expect 0 stream --rate 100M --size 1M --duration 0.05 --runs 1 --copy \
	--format json --rival none
all '.sent_per_s < 50000000 and (.warnings | any(test("could not keep the rate")))'
expect 0 rtt stream --size 8 $short --rival none
all '.rate == null and (if .workload == "rtt" then .loop == "closed"
     else .loop == null and .ns == null end)'
expect 0 sweep stream rate 1K:10K:x10 $short --rival none
whole '[.[].rate] | unique == [1000, 10000]'
expect 0 rtt --duration 0.02 --runs 1 --rival none
grep -q '^rtt: .*closed loop' out || fail "no closed loop: $(cat out)"
expect 0 stream --rate 1K --duration 0.02 --runs 1 --rival none --size 8
grep -q '^stream: .*open loop, 1000/s' out || fail "no open loop: $(cat out)"

echo "= how messages are spread over workers and readers"
expect 0 farm mpmc pool --workers 2 --producers 1 --consumers 2 \
	--method submit --duration 0.05 --runs 1 --format json --rival vyukov
all 'if .status == "absent" then true else .fairness.workers == 2 and
	.fairness.min <= .fairness.mean and .fairness.mean <= .fairness.max
	and .fairness.stddev >= 0 end'
# all of them together did all of it, with what was done in the warm-up
all '.status == "absent" or .fairness.mean * 2 >= .messages - 0.5'
expect 0 rtt stream --size 8 $short --rival none
all '.fairness == null and .deaths == null and .again == null'

echo "= workers and readers that are killed at random"
expect 2 farm --chaos kill=0
err_has "--chaos 'kill=0' is not kill=N/s with N from 1 to 10000, such as"
expect 2 farm --chaos stop=1/s
err_has "--chaos 'stop=1/s' is not kill=N/s"
expect 2 recover --chaos kill=5/s
err_has "--chaos is only for rtt, mpmc, farm, pool"
expect 2 farm stream --chaos kill=5/s
err_has "--chaos is only for rtt, mpmc, farm, pool; leave out stream"
expect 2 pipe --chaos kill=5/s
err_has "leave out stream"
expect 2 rtt --chaos kill=5/s --transport pipe
err_has "nobody takes the place of an end of a pipe; leave out --transport pipe"
expect 2 farm --chaos kill=5/s --rival pipe
err_has "--chaos is for shmbus alone"
expect 2 mpmc --chaos kill=5/s --batch 4
err_has "leave out --batch and --rate"
expect 0 --chaos kill=100/s --duration 0.2 --runs 1 --format json \
	--workers 2 --producers 2 --consumers 2 --method submit,imap
whole '[.[].workload] | unique == ["farm", "mpmc", "pool", "rtt"]'
whole '[.[] | select(.workload == "rtt") | .wait] ==
	["spin", "adaptive", "uring", "futex"]'
all ".status == \"absent\" and .wait == \"uring\" or
	$clean and .kills_per_s == 100 and .again >= 0 and .messages > 0"
all '.transport == "shmbus" or .transport == "shmbus-farm"'
for load in farm mpmc pool rtt; do
	some ".workload == \"$load\" and .deaths > 0"
done
expect 0 farm --chaos kill=50 --workers 2 --duration 0.1 --runs 1
grep -q 'killed, .* of all rounds 0 lost, 0 twice' out || fail "$(cat out)"

echo "= system calls a message, in a round of their own"
expect 0 rtt stream farm --syscalls --size 64 --workers 2 --copy \
	--wait adaptive --duration 0.05 --runs 1 --format json --rival pipe,vyukov
if grep -q 'system calls cannot be counted' err; then
	echo "not counted here: $(grep 'cannot be counted' err | head -1)"
	all '.syscalls_per_msg == null'
else
	# a write and a read a message, twice that for an answer; none of the
	# rings' is for a message
	some '.workload == "stream" and .transport == "pipe" and
	      .syscalls_per_msg > 1.5 and .syscalls_per_msg < 2.5'
	some '.workload == "rtt" and .transport == "pipe" and
	      .syscalls_per_msg > 3.9 and .syscalls_per_msg < 5'
	some '.workload == "stream" and .transport == "shmbus-pipe" and
	      .syscalls_per_msg < 1'
fi
expect 0 stream --size 64 $short --rival none
all '.syscalls_per_msg == null'

finish
