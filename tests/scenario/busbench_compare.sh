#!/bin/sh
# busbench_compare.sh - busbench compare does what busbench(1) says
#
# Mostly on rows that are made up here.  Runs from `make check`; by hand:
# BUSBENCH=bench/busbench sh busbench_compare.sh.  Exit 0, 1, or 77 without a
# program to test or without jq.

subcommand=compare
. "$(dirname "$0")/busbench_lib.sh"

# row WORKLOAD FIGURE TRANSPORT VALUES PINGPONG: a row on standard output
row()
{
	jq -nc --arg load "$1" --arg figure "$2" --arg transport "$3" \
		--argjson values "$4" --argjson pingpong "$5" '{
		schema: 2, workload: $load, case: "64 B", transport: $transport,
		status: "ok", bytes: 64, wait: "adaptive", pinned: true,
		ours: ($transport | startswith("shmbus")),
		figure: $figure, values: $values,
		pingpongs: ($values | map($pingpong)),
		msgs_per_s: ($values | sort | .[length / 2 | floor]),
		ns: {p50: 800, p99: 51000}, lost: 0,
		env: {cpu: "made up", kernel: "none", version: "0", commit: "c",
		      cpus_allowed: 2, date: "2026-11-22T08:30:00Z"}}'
}

slow='[100, 105, 95, 101, 99]'
fast='[120, 126, 114, 121, 119]'
noisy='[101, 90, 110, 96, 104]'
three='[300, 305, 310]'

{
	row stream msgs_per_s shmbus "$slow" 90
	row rtt ns.p50 shmbus "$slow" 90
	row mpmc msgs_per_s shmbus "$slow" 90
	row duplex msgs_per_s shmbus-pipe "$slow" 90
	row farm msgs_per_s shmbus "$three" 90
	row wake ns.p50 shmbus "$slow" 90
	row stream msgs_per_s pipe "$slow" 90
} >old
{
	row stream msgs_per_s shmbus "$fast" 95
	row rtt ns.p50 shmbus "$fast" 95
	row mpmc msgs_per_s shmbus "$noisy" 95
	row duplex msgs_per_s shmbus-pipe "$slow" 500
	row farm msgs_per_s shmbus "$fast" 95
	row stream msgs_per_s pipe "$slow" 95
	row pool msgs_per_s shmbus "$slow" 95
} >new

echo "= each verdict"
expect 0 old new --format json
whole 'map({key: "\(.workload) \(.transport)", value: .verdict}) |
	from_entries == {
		"stream shmbus": "faster", "rtt shmbus": "slower",
		"mpmc shmbus": "same", "duplex shmbus-pipe": "regimes differ",
		"farm shmbus": "slower", "stream pipe": "same",
		"pool shmbus": "only in new", "wake shmbus": "only in old"}'
whole '.[0] | .old == 100 and .new == 120 and .ratio > 1.15 and
	.ratio_low > 1 and .ratio_high < 1.4 and .p < 0.01 and
	.regime == "near" and .old_rounds == 5 and .new_rounds == 5'
whole '.[1].ratio > 0.8 and .[1].ratio < 0.87'

echo "= a rival that was not built, and that nobody named, is in no comparison"
jq -c 'select(.transport == "pipe") | .transport = "qb" | .status = "absent" |
	.values = [] | .asked = false' old | cat old - >unbuilt
expect 0 unbuilt new --format json
whole 'length == 8 and all(.[]; .transport != "qb")'
expect 1 new unbuilt --fail-if '*/*:missing>0'
grep -q qb err && fail "qb is missing: $(cat err)"

echo "= the same file is the same"
expect 0 old old --format json
whole 'map(select(.verdict != "too few rounds")) |
	length == 6 and all(.[]; .verdict == "same" and .ratio == 1)'
whole 'any(.[]; .workload == "farm" and .verdict == "too few rounds" and
	.p == 1 and (.why | contains("--runs")))'

echo "= text says it, with remedies"
expect 0 old new
for text in "only in old" --normalise "95 % interval" "1 faster" "2 slower" \
	"0.83x" "100/s" "old: old, 7 rows; shmbus 0 (c)"; do
	out_has "$text"
done
out_has "Rivals, whose code is the same in both: 1.00x"
grep -q "$(printf '\033')" out && fail "colours without a terminal"
jq -c '.env.cpu = "another"' new >elsewhere
expect 0 old elsewhere
out_has "the cpu differs: 'made up' and 'another'"

echo "= Markdown: all rows have as many cells"
expect 0 old new --format md
same_cells out
test "$(grep -c '^|' out)" -eq 10 || fail "rows: $(cat out)"

echo "= in ping-pongs, near and far are compared"
expect 0 old new --normalise --format json
whole 'all(.[]; .in_pingpongs) and
	any(.[]; .workload == "duplex" and .verdict == "faster")'

echo "= limits"
expect 1 old new --fail-if 'slower>5%'
err_has "--fail-if 'slower>5%': rtt 64 B: shmbus (adaptive) has 1"
expect 0 old new --fail-if 'mpmc:slower>5%'
expect 0 old new --fail-if 'slower>90%'
expect 0 old old --fail-if 'slower>5%' --fail-if 'ratio<0.99'
expect 1 old new --fail-if 'p99>50us'
expect 0 old new --fail-if 'p99>52us'
expect 1 old new --fail-if 'rtt/shmbus:msgs_per_s<1M'
expect 0 old new --fail-if 'msgs_per_s<1'
expect 1 old new --fail-if 'missing>0'
err_has "wake 64 B: shmbus"
expect 1 old new --fail-if 'duplex:undecided>0'
expect 0 old new --fail-if '/pipe:ratio<0.9'
# a rival alone is no reason
jq -c 'if .transport == "pipe" then .values = (.values | map(. / 2)) else . end' \
	old >rival
expect 0 old rival --fail-if 'slower>5%'
expect 1 old rival --fail-if '*/*:slower>5%'

echo "= one of the two from standard input"
expect 0 - new --format json <old
whole 'length == 8'

echo "= runs put one behind the other are taken together"
row farm msgs_per_s shmbus '[301, 302, 303]' 90 | cat old - >longer
expect 0 longer new --format json
whole 'any(.[]; .workload == "farm" and .old_rounds == 6)'

echo "= usage errors, and files that are none"
expect 2 old
err_has "two result files are needed"
expect 2 old new more
err_has "'more' is too many"
expect 2 - -
err_has "only one of OLD and NEW"
expect 2 old new --format xml
err_has "unknown --format 'xml'; there are text, json and md"
expect 2 old new --alpha 2
err_has "--alpha '2' is not a number from"
expect 2 old new --fail-if slower
err_has "--fail-if 'slower': it is to be"
expect 2 old new --fail-if 'p99>50'
err_has "there are ns, us, ms and s"
expect 2 old new --fail-if 'p98>50'
err_has "no row of workload '*' and transport 'shmbus*' has 'p98'"
expect 2 old nowhere
err_has "cannot open 'nowhere': No such file or directory; make one with"
: >empty
expect 2 empty new
err_has "'empty' has no rows; make one with"
{ cat old; echo '{"schema": 2, "work'; } >cut
expect 2 cut new
err_has "cut:8: this is not JSON"
{ head -1 old; echo '{"name": "no row"}'; } >other
expect 2 old other
err_has "other:2: this is no row of busbench; make one with"
jq -c '.schema = 1' old >older
expect 2 older new
err_has "older:1: schema 1, but this busbench reads 2; measure again"
jq -c '.schema = 3' old >newer
expect 2 newer new
err_has "take the busbench that wrote it"
expect 0 --help
out_has "--fail-if=EXPR"

echo "= what busbench prints can be compared"
"$BUSBENCH" farm wake idle --workers 1 --wait futex --duration 0.02 --runs 4 \
	--format json --rival pipe >real 2>err || fail "busbench: $(cat err)"
expect 0 real real --format json --fail-if 'slower>0%'
whole 'all(.[]; .verdict == "same" or .verdict == "too few rounds" or
	.verdict == "not measured" or .verdict == "regimes differ")'
whole 'any(.[]; .verdict == "same")'
expect 1 real real --fail-if 'wake:p50>1ns'

finish
