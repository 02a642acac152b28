#!/bin/sh
# busbench.sh - busbench does what busbench(1) says
#
# Runs from `make check`; by hand: BUSBENCH=bench/busbench sh busbench.sh.
# Exit 0, 1, or 77 without a program to test, without jq or with CHECK_QUICK.

. "$(dirname "$0")/busbench_lib.sh"
skip_if_quick

short="--duration 0.02 --runs 2 --format json"

echo "= usage errors name what was given and what would be right"
expect 2 nonsense
err_has "unknown workload 'nonsense'; there are rtt, stream, duplex, mpmc"
expect 2 rtt --rival kafka
err_has "unknown rival 'kafka'; there are vyukov, spsc, spsc-mem, spsc-call"
expect 2 stream --size 7
err_has "--size '7' is not a number from 8 to"
expect 2 stream --size 64,x
err_has "--size 'x'"
expect 2 farm --workers 0
err_has "--workers '0'"
expect 2 rtt --duration soon
err_has "--duration 'soon' is not a number of seconds"
expect 2 rtt --wait asleep
err_has "unknown --wait 'asleep'; there are spin, adaptive"
expect 2 rtt --format xml
err_has "unknown --format 'xml'; there are text, json, csv and md"
expect 2 rtt --size 64
err_has "--size is only for stream, duplex, mpmc, wake, idle"
expect 2 rtt --transport kafka
err_has "unknown --transport 'kafka'; there are pipe and queue"
expect 2 rtt --profile fast
err_has "unknown --profile 'fast'; there are adaptive, latency, stream and all"
expect 2 rtt --transport queue --profile latency
err_has "--profile is only for --transport pipe"
expect 2 rtt farm --transport pipe
err_has "--transport pipe cannot do farm"
expect 2 duplex --transport queue
err_has "--transport queue cannot do duplex"
expect 2 rtt --loan
err_has "--loan is only for stream"
expect 2 pool --method starmap
err_has "unknown --method 'starmap'; there are apply, submit, map, imap and"
expect 2 pool --chunk 0
err_has "--chunk '0' is not a number from 1 to"
expect 2 pool --items many
err_has "--items 'many'"
expect 2 farm --method map
err_has "--method is only for pool"
expect 2 pool --transport pipe
err_has "--transport pipe cannot do pool"
expect 2 --bogus
err_has "bogus"
expect 0 --version
grep -q '^busbench [0-9]' out || fail "--version: $(cat out)"
expect 0 --help
grep -q vyukov out || fail "--help does not list the rivals"
# a line that is too long goes on at its left margin
sed -n '/^Rivals:/,/^$/p' out | grep '^[a-z]' && fail "--help: a rival's line is too long"
expect 2 sweep
err_has "Try \`busbench --help' or \`busbench --usage' for more information."
export BUS_WAIT=foo
expect 2 idle
err_has "BUS_WAIT='foo' in the environment is wrong; it may be auto, uring or futex"
test -s out && fail "something was measured: $(cat out)"
expect 2 sweep stream size 8
err_has "BUS_WAIT='foo'"
for BUS_WAIT in '' auto futex; do
	expect 0 rtt --wait adaptive --rival none --duration 0.01 --runs 1
done
unset BUS_WAIT

echo "= who there is to compare with"
expect 2 rivals all
err_has "rivals takes no argument, but was given 'all'"
expect 2 rivals --format csv
err_has "unknown --format 'csv'; there are text and json"
expect 0 rivals
grep -q 'vyukov *yield' out || fail "rivals: no vyukov"
expect 0 rivals --format json
cp out rivals
all '.schema == 1 and (.rival | type) == "string" and .what != ""'
all '(.built | type) == "boolean" and (.built or .package != null)'
all '(.workloads | length) > 0 and (.wait | type) == "string"'
all '.floor == (.rival == "line")'
some '.rival == "pipe" and .built and .package == null and
      (.workloads | contains(["rtt", "stream", "duplex", "mpmc", "farm"]))'

# who LOAD FILTER: the rivals that can run it, without Python, as a list
who()
{
	jq -rs --arg load "$1" "map(select((.workloads | index(\$load)) and $2 and
		(.rival | startswith(\"python\") | not)) | .rival) |
		join(\",\")" rivals
}

# each of them runs LOAD ARGUMENT...
each()
{
	load=$1
	shift
	runs=$(who "$load" .built)
	expect 0 "$load" --duration 0.02 --runs 1 --format json "$@" \
		--rival "$runs"
	all "$unharmed"
	# Who can only poll starves on a machine with much other work; then
	# also nothing may have come within so short a time.
	starved=$(jq -rs 'map(select(.status == "hung") | .transport) |
		unique | join(",")' out)
	if [ -n "$starved" ]; then
		cp out before
		expect 0 "$load" --duration 0.02 --runs 1 --format json "$@" \
			--rival "$starved"
		jq -c 'select(.status != "hung")' before >>out
	fi
	# A system may lack what is absent without a package.
	for rival in $(echo "$runs" | tr , ' '); do
		some ".transport == \"$rival\" and (.status == \"ok\" or
		      .status == \"absent\" and .why != null and
		      (.why | startswith(\"install\") | not))"
	done
	all 'if .transport | test("^(rte|ck|qb|zmq|nng|boost|eventfd)")
	     then .status == "ok" else .status != "failed" end'
}

echo "= each rival that is built does what it says"
each rtt --wait adaptive
each stream --copy --size 20,100 --wait adaptive
each mpmc --producers 2 --consumers 2 --size 20,100
each farm --workers 3
each wake
each idle
runs=$(who stream '.built and .lends')
expect 0 stream --loan --size 70000 --duration 0.02 --runs 1 --format json \
	--rival "$runs"
all "$unharmed"
all '.by == "loan" and .status != "failed" and .status != "absent"'
for load in "stream" "mpmc --producers 2 --consumers 2"; do
	runs=$(who "${load%% *}" '.built and .batches')
	test -n "$runs" || continue
	# shellcheck disable=SC2086
	expect 0 $load --duration 0.02 --runs 1 --format json --batch 16 \
		--size 8,100 --rival "$runs"
	all "$unharmed"
	all '.batch == 16 and .status != "failed" and .status != "absent"'
done

echo "= round trips are compared with those who wait in that way"
expect 0 rtt $short --rival futex,pipe,seqpacket,mq,eventfd,spsc
whole 'map(select(.ours | not)) | group_by(.case) |
	map({(.[0].case): (map(.transport) | unique)}) | add == {
	busy: ["spsc"],
	adaptive: ["eventfd", "mq", "pipe", "seqpacket", "spsc"],
	parked: ["futex", "mq", "pipe", "seqpacket"]}'
all 'if .case == "parked" then .sleeps and .wait != "adaptive" else true end'

echo "= one that is not is absent, and says with which package it were there"
missing=$(who rtt '(.built | not)')
if [ -n "$missing" ]; then
	expect 0 rtt --wait adaptive --duration 0.02 --runs 1 --format json \
		--rival "$missing"
	all 'if .transport | startswith("shmbus") then .status == "ok"
	     else .status == "absent" and
	     (.why | test("^install lib[a-z0-9-]+-dev( lib[a-z0-9-]+-dev)* and build")) end'
	err_has "and build busbench again"

	echo "= whom nobody named is named once, below the tables"
	expect 0 rtt --wait adaptive --duration 0.02 --runs 1
	test "$(grep -c '^not built here, and so not compared with: ' out)" -eq 1 ||
		fail "who is not built: $(cat out)"
	grep -q 'absent: install' out && fail "rows of them: $(cat out)"
	expect 0 rtt --wait adaptive --duration 0.02 --runs 1 --format md
	grep -q '^Not built here, .*; busbench rivals says what to install\.$' out ||
		fail "who is not built: $(cat out)"
	expect 0 rtt --wait adaptive --duration 0.02 --runs 1 --format json
	all '.asked or (.status == "absent" and (.why | test("^install lib")))'
	all '(.asked | not) or (.why // "" | test("^install lib") | not)'
	some '.asked | not'
	err_has "busbench: not built here, and so not compared with: "
	test "$(grep -c 'not built\|install lib' err)" -eq 1 ||
		fail "much ado: $(cat err)"
fi
expect 0 rtt --wait adaptive --duration 0.02 --runs 1 --rival pipe
grep -q 'not built' out && fail "who was not asked for: $(cat out)"

if jq -es 'any(.[]; .rival == "iceoryx" and .built)' rivals >/dev/null; then
	echo "= iceoryx brings its daemon, unless there is one or no room for it"
	ices=iceoryx,iceoryx-poll,iceoryx-mem
	expect 0 stream --size 8,100000 --duration 0.02 --runs 2 --warmup 0.01 \
		--rival $ices --format json
	all "$unharmed"
	all 'if .ours then .status == "ok" else
	     .status == "ok" and .messages > 0 or .status == "absent" and
	     (.why | test("RouDi|has no name|/dev/shm")) end'
	expect 0 idle --workers 2 --duration 0.02 --runs 1 --rival iceoryx \
		--format json
	all 'if .transport == "iceoryx" and .workers == 2 then
	     .status == "absent" and .why == "a message would go to all workers"
	     else .status != "failed" end'
	lock=/tmp/iox-unique-roudi.lock
	if command -v flock >/dev/null && ! test -e $lock; then
		flock $lock "$BUSBENCH" rtt --wait adaptive --duration 0.02 \
			--runs 1 --rival iceoryx --format json >out 2>err
		some '.transport == "iceoryx" and .status == "absent" and
		      (.why | test("^a RouDi is running|has no name|/dev/shm"))'
		rm -f $lock
	fi
	cat >small <<-'END'
	mount -t tmpfs -o size=16m none /dev/shm || exit 77
	exec "$BUSBENCH" rtt --wait adaptive --duration 0.02 --runs 1 \
		--rival iceoryx --format json
	END
	export BUSBENCH
	if unshare -rm sh small >out 2>err; then
		some '.transport == "iceoryx" and .status == "absent" and
		      (.why | test("^RouDi takes [0-9.]+ MiB of /dev/shm, where 16.0 are free|has no name"))'
	fi
	# A member that is killed takes nothing with it but its round, and its
	# RouDi; all of that vanishes, also with busbench itself.
	"$BUSBENCH" stream --copy --size 64 --transport pipe --batch 1 \
		--duration 1 --runs 2 --rival $ices --format json >out 2>err &
	pid=$!
	for _ in $(seq 100); do
		victim=$(ls /tmp | sed -n "s/^busbench\.$pid\.\([0-9]*\)\$/\1/p" |
			head -1)
		test -n "$victim" && break
		sleep 0.1
	done
	test -z "$victim" || kill -KILL "$victim"
	wait $pid || fail "exit status $?"
	all 'if .ours then .status == "ok" else .status != "hung" end'
	test -z "$victim" ||
		some '.status == "failed" and (.why | test("killed by signal 9"))'
	for signal in INT TERM KILL; do
		# a script's background commands ignore SIGINT
		env --default-signal=INT "$BUSBENCH" stream --copy --size 64 \
			--transport pipe --duration 0.3 --runs 50 \
			--rival $ices >out 2>err &
		pid="$pid|$!"
		sleep 1
		kill -$signal $!
		wait $! 2>/dev/null
	done
	for _ in $(seq 50); do
		left=$(ls /tmp | grep -E "^busbench\.($pid)\.")
		test -z "$left" && break
		sleep 0.1
	done
	test -z "$left" || fail "left behind: $left"
	no_roudi_left
fi

echo "= all are all that can, and who is named and cannot is absent"
expect 0 rtt --wait adaptive --duration 0.01 --runs 1 --format json --rival all
all '.status != "absent" or (.why | test("cannot run") | not)'
test "$(jq -r 'select(.ours | not) | .transport' out | sort | paste -sd,)" = \
	"$(jq -r 'select(.workloads | index("rtt")) | .rival' rivals | sort |
		paste -sd,)" || { fail "who"; show; }
expect 0 rtt --wait adaptive --duration 0.01 --runs 1 --format json \
	--rival pipe-batch
some '.status == "absent" and .why == "pipe-batch cannot run rtt"'

echo "= rows have all fields, and nothing is lost"
expect 0 rtt stream mpmc farm $short --size 8,100 --workers 1,3 \
	--producers 2 --consumers 2 --rival vyukov,pipe,seqpacket
for field in workload transport bytes producers consumers workers batch \
	inflight wait seconds messages msgs_per_s ns cpu_ns_per_msg lost dup \
	pingpong_ns method chunk items again_ns; do
	all "has(\"$field\")"
done
all "$unharmed"
all '.status == "ok" and (.msgs_per_s > 0) == (.messages > 0)'
most '.messages > 0'
all '.runs == 2'
for load in rtt stream mpmc farm; do
	for transport in shmbus vyukov pipe; do
		some ".workload == \"$load\" and
		      .transport == \"$transport\""
	done
done
all 'if .workload == "rtt" or .workload == "farm"
     then .ns.min <= .ns.p50 and .ns.p50 <= .ns.p99 and .ns.p99 <= .ns.max
     and .producers == null else .ns == null and .workers == null end'

echo "= pipes, in each profile, by copy and by loan, one way and both ways"
expect 0 rtt stream duplex $short --size 8,100,300000 --transport pipe \
	--profile all --rival spsc,spsc-mem,pipe,seqpacket --wait adaptive
# On a busy machine 20 ms may go by before anything has come.
all '.status == "ok"'
all "$unharmed"
for load in rtt stream duplex; do
	for profile in "" -latency -stream; do
		some ".workload == \"$load\" and
		      .transport == \"shmbus-pipe$profile\""
	done
done
for transport in shmbus-pipe spsc spsc-mem; do
	for by in copy loan; do
		some ".transport == \"$transport\" and .by == \"$by\""
	done
done
some '.workload == "duplex" and .transport == "seqpacket"'
all 'if .workload == "stream" then .by != null else .by == null end'
all '.transport != "shmbus"'
expect 0 stream $short --size 8 --batch 32 --transport pipe,queue --rival spsc
some '.transport == "shmbus-pipe" and .batch == 32'
some '.transport == "shmbus" and .batch == 32'
all '.status == "ok" and .by == "copy"'

echo "= a pool in each way, and bare requests beside it"
expect 0 pool $short --workers 1,3 --rival none
all '.status == "ok" and (.msgs_per_s > 0) == (.messages > 0)'
most '.messages > 0'
all "$unharmed"
all '.chunk == "default" or .chunk == 1'
for way in apply/1 submit/1 map/1 map/default imap/1 imap_unordered/1; do
	for workers in 1 3; do
		some ".transport == \"shmbus\" and .workers == $workers and
		      \"\(.method)/\(.chunk)\" == \"$way\""
	done
done
all '(.transport == "shmbus-farm") == (.method == "farm")'
# of bare requests each 64th is timed; a busy machine may have fewer in 20 ms
all 'if .method == "map" then .ns == null
     else .ns != null or .method == "farm" and .messages < 200 end'
all '(.items != null) == (.method == "map")'
jq -es 'group_by(.case) | all(.[]; map(.transport) ==
	["shmbus", "shmbus-farm"])' out >/dev/null ||
	fail "a case without its yardstick"
expect 0 pool $short --workers 2 --rival vyukov --method map,imap --chunk 7 \
	--items 1000
all 'if .transport == "shmbus" then .chunk == 7 else true end'
some '.method == "map" and .items == 1000 and .messages % 1000 == 0'
some '.method == "imap" and .transport == "shmbus"'
all 'if .transport == "vyukov" then .status == "absent" else .status == "ok" end'

echo "= workers that are killed, of a pool and of a coordinator"
expect 0 recover --duration 0.2 --runs 1 --format json --workers 1,3
all '.status == "ok" and .messages > 0 and .lost == 0 and .dup == 0'
all '.wrong == 0 and .again_ns.min > 0 and .again_ns.p50 <= .ns.p50'
for transport in shmbus shmbus-farm; do
	some ".transport == \"$transport\" and .workers == 1"
	some ".transport == \"$transport\" and .workers == 3"
done

echo "= sleeping workloads"
expect 0 wake idle --duration 0.1 --runs 1 --format json --rival pipe,futex
some '.workload == "wake" and .transport == "shmbus-pipe" and .ns.p50 > 0'
some '.workload == "idle" and .transport == "shmbus-pipe" and .cpu_percent < 20'
some '.workload == "wake" and .transport == "shmbus" and .ns.p50 > 0'
some '.workload == "idle" and .transport == "shmbus" and .cpu_percent < 20'
all 'if .workload == "idle" then .cpu_percent != null and .ns == null
     else .cpu_percent == null end'

expect 0 idle --duration 0.05 --runs 1 --rival pipe
grep -q '^shmbus is not ranked here: idle has no ratios' out ||
	fail "idle has rivals: $(cat out)"
expect 0 idle --duration 0.05 --runs 1 --rival none
grep -q '^shmbus had no rival here' out || fail "idle had none: $(cat out)"

echo "= batches"
expect 0 mpmc $short --producers 1 --consumers 2 --batch 32 --rival none
all '.transport == "shmbus" and .batch == 32 and .dup == 0 and .lost == 0'

echo "= ways to wait"
expect 0 farm $short --workers 2 --wait spin --rival none
all '.wait == "spin"'
expect 0 farm $short --workers 2 --wait futex --rival none
all '.wait == "futex"'
expect 0 farm $short --workers 2 --wait uring --rival none
all '.status == "ok" or .status == "absent" and (.why | test("io_uring"))'

echo "= rivals that are not to be had are named, and no failure"
expect 0 stream $short --size 1048576 --rival mq
some '.transport == "mq" and .status == "absent" and .why != null'
err_has "mq"
expect 0 farm $short --workers 1 --rival python-pipe
some '.transport == "python-pipe" and .status == "absent"'
BUSBENCH_PYTHON=/nonexistent; export BUSBENCH_PYTHON
expect 0 mpmc $short --producers 1 --consumers 1 --rival python-queue
some '.transport == "python-queue" and .why == "no python3"'
unset BUSBENCH_PYTHON

if command -v python3 >/dev/null; then
	echo "= Python"
	expect 0 rtt stream duplex mpmc farm wake idle --workers 2 --size 8 \
		--producers 2 --consumers 2 --wait adaptive --duration 0.05 \
		--runs 1 --rival python-queue,python-pipe --format json
	all '.lost == 0 and .dup == 0 and .wrong == 0'
	some '.transport == "python-queue" and .status == "ok"'
	some '.transport == "python-pipe" and .status == "ok"'
	some '.transport == "python-pipe" and .workload == "duplex"'
	expect 0 duplex --size 100000 --duration 0.05 --runs 1 --format json \
		--rival python-pipe
	all '.status == "ok" and .lost == 0 and .dup == 0 and .wrong == 0'
	expect 0 pool --workers 2 --duration 0.05 --runs 1 --format json
	all '.status == "ok" and .lost == 0 and .dup == 0 and .wrong == 0'
	for way in pool-apply/apply/1 pool-apply/submit/1 pool-map/map/1 \
		pool-map/map/default pool-imap/imap/1 \
		pool-imap/imap_unordered/1 executor/submit/1 executor/map/1; do
		some "\"\(.transport)/\(.method)/\(.chunk)\" ==
		      \"python-$way\" and .messages > 0"
	done
fi

echo "= rows say where, each round, and all latencies"
expect 0 rtt stream --size 8 --duration 0.03 --runs 3 --format json \
	--rival pipe
all '.schema == 2 and .env.cpus >= .env.cpus_allowed and .env.cpu != null'
all '(.env.version, .env.commit, .env.compiler) | length > 0'
all '.env.date | fromdate > 1700000000'
all '.env.command | endswith("--duration 0.03 --runs 3 --format json --rival pipe")'
all "(.env.kernel | contains(\"$(uname -r)\")) and (.env.io_uring | type) == \"boolean\""
all '(.values | length) == .runs and (.pingpongs | length) == .runs'
# of seven digits
all 'getpath(.figure | split(".")) as $median | .values |
     any(. == $median or (. != null and $median != null and
         (. - $median | fabs) <= $median / 1000000))'
all '.ours == (.transport | startswith("shmbus"))'
all '[.regime] - ["near", "far", "mixed", "unknown"] == []'
all '. as $row | (.round_regimes | length) == .runs and
     all(.regimes | to_entries[]; .key as $regime | .value ==
         ($row.round_regimes | map(select(. == $regime)) | length))'
all '(.hist == null) == (.ns == null)'
all 'if .hist then .hist as $h | ($h | map(.[1]) | add) >= .messages and
     ($h | map(.[0])) == ($h | map(.[0]) | sort | unique) else true end'
all 'if .hist then .hist[0][0] <= .ns.min and .hist[-1][0] <= 4398046511103
     else true end'
all 'if .ours then true else .best_rival == null end'
all 'if .ours or .floor then true else .ratio_to_first == null end'
# Where no round of a row was as near as most were it is compared with nothing.
some '(.ours and .ratio > 0 and .best_rival == "pipe") or
      (.warnings | any(contains("with nothing")))'
some '((.ours | not) and .ratio > 0) or
      (.warnings | any(contains("with nothing")))'

echo "= a row is compared with those who offer the same, and with all"
expect 0 rtt stream --size 8 --duration 0.03 --runs 3 --format json \
	--rival pipe,pipe-batch,vyukov
all '(.sleeps | type) == "boolean" and (.bursts | type) == "boolean"'
all '.sleeps == (.wait != "yield" and .wait != "spin")'
all '.bursts == (.batch > 1 or .transport == "pipe-batch")'
all 'if .ours and .best_rival then .best_rival_sleeps == (.best_rival != "vyukov")
     and (.best_rival_bursts or .best_rival != "pipe-batch")
     else .best_rival_sleeps == null end'
all '(.best_alike == null) == (.ratio_alike == null)'
all 'if .ours then true else .best_alike == null end'
all 'if .sleeps then .best_alike != "vyukov" else true end'
all 'if .bursts then true else .best_alike != "pipe-batch" end'
# none is further behind those than behind all
all 'if .ratio and .ratio_alike then .ratio_alike >= .ratio else true end'
all 'if .ours and .best_alike == .best_rival then .ratio_alike == .ratio
     else true end'
# nobody but vyukov takes part in rtt busy, unless one was near and one far
all 'if .case == "busy" and .ours then .best_alike == .best_rival else true end'
some '.ours and .best_alike == "pipe"'

echo "= short messages are also handed over together, by those who can"
expect 0 stream --size 8,100 --duration 0.02 --runs 1 --format json \
	--transport pipe,queue --rival spsc,vyukov
test "$(jq -r .case out | uniq | paste -sd,)" = \
	"8 B,8 B loan,8 B many,100 B,100 B loan" || { fail "cases"; show; }
all '.batch == (if .case == "8 B many" and .transport != "vyukov"
		then 32 else 1 end)'
test "$(jq -r 'select(.case == "8 B many") | .transport' out | sort |
	paste -sd,)" = shmbus,shmbus-pipe,spsc,vyukov || { fail "who"; show; }
all '.status == "ok" and .by == (if .case | endswith("loan") then "loan" else "copy" end)'
for without in "--batch 1" --loan "--rate 1K"; do
	# shellcheck disable=SC2086 # two words
	expect 0 stream --size 8 --duration 0.02 --runs 1 --format json \
		--rival none $without
	all '.case != "8 B many" and .batch == 1'
done

echo "= CSV has a header, and all rows have its columns"
expect 0 rtt stream --size 8 --duration 0.02 --runs 1 --format csv \
	--rival pipe,futex
head -1 out | grep -q '^schema,workload,.*,ns_min,ns_p50,' ||
	fail "header: $(head -1 out)"
awk -F, 'NR == 1 { n = NF } NF != n { exit 1 }' out || fail "columns differ"

echo "= text"
expect 0 stream --size 64 --duration 0.02 --runs 1 --rival pipe
for text in "$(uname -r)" io_uring shmbus pipe "best rival" "ping-pong of a"; do
	grep -qF -e "$text" out || fail "no '$text' in the table"
done
# Where one has been near only and the other far only there is no ratio.
for _ in 1 2 3 4 5 6 7 8; do
	grep -qE '[0-9]x (ahead of|level with|BEHIND) pipe' out && break
	expect 0 stream --size 64 --duration 0.02 --runs 5 --rival pipe
done
grep -qE '[0-9]x (ahead of|level with|BEHIND) pipe' out ||
	fail "no standing in the table: $(cat out)"
grep -q '^shmbus is .* the best rival of like use in ' out || fail "no last word"
grep -q "$(printf '\033')" out && fail "colours without a terminal"
tr -d '\n' <err | grep -q . && fail "progress without a terminal: $(cat err)"

echo "= a floor is no rival"
expect 0 rtt --wait spin --transport queue --duration 0.05 --runs 1 \
	--rival line --format json
some '.transport == "line" and .floor'
all '.floor == (.transport == "line") and .ratio == null and .best_rival == null'
# how far the first row is from it, unless one was near and the other far
jq -es 'map(select(.ours))[0] as $first | all(.[]; .ours or
	.regime != $first.regime or .ratio_to_first > 0)' out >/dev/null ||
	{ fail "the floor is compared with nothing"; show; }
expect 0 rtt --wait spin --transport queue --duration 0.05 --runs 1 \
	--rival line,spsc --format json
all '.best_rival == null or .best_rival == "spsc"'
all '.floor or .transport == "shmbus" or .ratio_to_first == null'
expect 0 rtt --wait spin --transport queue --duration 0.05 --runs 1 --rival line
grep -q '^ .* line .*  the floor, no rival' out ||
	fail "the floor is not named: $(cat out)"
grep -q '^shmbus had no rival here' out || fail "a floor was a rival"

echo "= Markdown"
expect 0 rtt stream idle --size 64 --duration 0.02 --runs 1 --rival pipe \
	--format md
grep -q '^    .*busbench rtt stream idle' out || fail "no command"
test "$(grep -c '^### ' out)" -eq 3 || fail "headings: $(grep '^#' out)"
same_cells out
grep -q '^| 64 B .*| shmbus-pipe ' out || fail "no row: $(cat out)"

echo "= a killed run leaves a file of whole rows"
rm -f out
"$BUSBENCH" rtt --duration 0.2 --format json --rival pipe >out 2>err &
pid=$!
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	test -s out && break
	sleep 0.5
done
kill -KILL $pid
wait $pid 2>/dev/null
all '.workload == "rtt"'

echo "= killed, it leaves no process and no name"
# Whoever has a name at first, or threads, in turn: wherever it is killed, most
# likely one of them is running.
runs=mq,vyukov,$(jq -rs 'map(select(.built and
	(.rival | test("^(qb|boost|zmq|nng)$"))) | .rival) | join(",")' rivals)
for delay in 0.4 0.55 0.7 0.85 1; do
	"$BUSBENCH" farm --duration 0.101 --runs 50 --workers 2 \
		--rival "${runs%,}" >out 2>err &
	pid=$!
	sleep $delay
	kill -KILL $pid
	wait $pid 2>/dev/null
done
sleep 0.5
# Its names have its pid in them; others are of tests that run beside us.
left=$(ls /dev/shm /dev/mqueue 2>/dev/null | grep -E "[.-]$pid([.-]|\$)")
test -z "$left" || fail "left behind: $left"
for stat in /proc/[0-9]*/stat; do
	{ read -r line <"$stat"; } 2>/dev/null || continue
	case $line in
	*"(busbench)"*) ;;
	*) continue ;;
	esac
	tr '\0' ' ' <"${stat%stat}cmdline" 2>/dev/null |
		grep -qF -e '--duration 0.101 --runs 50' &&
		fail "still there: $line"
done

finish
