#!/bin/sh
# busbench_report.sh - busbench report makes the pages that busbench(1) says
#
# On rows that are made up here.  Runs from `make check`; by hand:
# BUSBENCH=bench/busbench sh busbench_report.sh.  Exit 0, 1, or 77 without a
# program to test or without jq.  Without gnuplot only pages without plots are
# looked at.

subcommand=report
. "$(dirname "$0")/busbench_lib.sh"

# has FILE TEXT...
has()
{
	file=$1
	shift
	for text in "$@"; do
		grep -qF -e "$text" "$file" || fail "no '$text' in $file"
	done
}

# A round trip in two regimes, a stream over three sizes and two batches, a
# farm over three numbers of workers, something absent, something behind.
jq -nc '
	def env: {cpu: "made <up> & so", cpus: 4, cpus_allowed: 2,
		l2_bytes: 2097152, l3_bytes: null, governor: null,
		kernel: "Linux none", virtual_machine: false, container: null,
		io_uring: false, why_no_io_uring: "forbidden here",
		version: "0", commit: "c0ffee", compiler: "cc",
		command: "busbench --format json", date: "2026-11-22T08:30:00Z"};
	def row: {schema: 2, status: "ok", why: null, wait: "adaptive",
		pinned: true, pingpong_ns: 90, regime: "near", warnings: [],
		values: [1], pingpongs: [90], hist: null, env: env,
		ours: (.transport | startswith("shmbus"))} + .;
	def rtt(t; ns; ratio): {workload: "rtt", case: "busy", transport: t,
		workers: 1, bytes: 16, figure: "ns.p50", ratio: ratio,
		best_rival: "spsc",
		ns: {min: ns, p50: (ns * 2), p90: (ns * 3), p99: (ns * 4),
		     p999: (ns * 5), max: (ns * 6)},
		hist: [range(1; 200) | [. * ns, (200 - .) * 3]]} | row;
	def stream(t; bytes; batch; rate): {workload: "stream",
		case: "\(bytes) B", transport: t, producers: 1, consumers: 1,
		bytes: bytes, batch: batch, by: "copy", figure: "msgs_per_s",
		msgs_per_s: rate, best_msgs_per_s: rate, ratio: 2,
		best_rival: "pipe"} | row;
	def farm(t; n; rate): {workload: "farm", case: "\(n) workers",
		transport: t, workers: n, bytes: 16, figure: "msgs_per_s",
		msgs_per_s: rate, ratio: 3, best_rival: "pipe"} | row;
	(rtt("shmbus"; 100; 0.8) | .loop = "closed" | .ci_low = 190 |
	 .ci_high = 210 | .switches_per_msg = 0.25), (rtt("spsc"; 80; 0.8) | .regime = "far"),
	(rtt("mq"; 80; null) | .status = "absent" | .why = "no <mq> here" |
	 .hist = null),
	(("shmbus-pipe", "pipe") as $t | (8, 1024, 1048576) as $bytes |
	 stream($t; $bytes; 1; 1e9 / $bytes)),
	(("shmbus-pipe", "pipe") as $t | (8, 64) as $batch |
	 stream($t; 64; $batch; 1e6 * $batch) |
	 .warnings = ["rounds disagree: all of them"]),
	(("shmbus", "pipe") as $t | (1, 2, 4) as $n | farm($t; $n; 1e6 * $n) |
	 if $n == 2 and $t == "shmbus" then .fairness = {workers: 2, min: 10,
		mean: 50, max: 90, stddev: 40} else . end)
	' >results || exit 1

echo "= usage errors"
expect 2 --output page.html
err_has "which result files?"
expect 2 results
err_has "--output is missing"
expect 2 results --output page.pdf
err_has "'page.pdf' ends neither with .html nor with .md"
expect 2 results --output page.html --plots p --format gif
err_has "unknown --format 'gif'; there are png, svg and both"
expect 2 results --output page.html --format png
err_has "--format is of --plots"
expect 2 results --output page.html --plots p --no-plots
err_has "exclude each other"
expect 2 nowhere --output page.html
err_has "cannot open 'nowhere'"
echo nonsense >bad
expect 2 bad --output page.html
err_has "bad:1: this is not JSON"
test ! -e page.html || fail "a page of nothing"
expect 1 results --no-plots --output nowhere/page.html
err_has "cannot write 'nowhere/page.html'"
expect 0 --help
has out --no-plots gnuplot-nox

echo "= without gnuplot: what to install, and tables all the same"
BUSBENCH_GNUPLOT=/nonexistent/gnuplot; export BUSBENCH_GNUPLOT
expect 1 results --output page.html
err_has "gnuplot is not installed (Debian package: gnuplot-nox); --no-plots"
test ! -e page.html || fail "a page in spite of that"
expect 0 results --no-plots --output page.html
has page.html "<h2 id=\"rtt\">" "<h2 id=\"stream\">" "<h2 id=\"farm\">"
grep -q '<svg' page.html && fail "plots without gnuplot"
BUSBENCH_GNUPLOT=false
expect 1 results --output other.html
err_has "could not draw"
test ! -e other.html || fail "half a page"
ls other.html* 2>/dev/null && fail "something of half a page"
unset BUSBENCH_GNUPLOT

echo "= HTML: the machine, all rows, who is behind; nothing from elsewhere"
expect 0 results --no-plots --output page.html --title 'A & B <c>'
has page.html "<title>A &amp; B &lt;c&gt;</title>" "made &lt;up&gt; &amp; so" \
	"forbidden here" c0ffee "busbench --format json" "4 on line, 2 allowed" \
	"BEHIND the best rival of like use in 1 of" "0.80x BEHIND spsc" \
	"rtt busy: shmbus (adaptive), 0.80x of spsc, near" \
	'<span class="regime far">far</span>' "absent: no &lt;mq&gt; here" \
	"rounds disagree: all of them" "prefers-color-scheme:dark"
# a file from before there were two bests has one
grep -q 'class="also' page.html && fail "a second ratio from nowhere"
# columns and remarks that not every run has
has page.html '<th class="n">+-95%</th>' '<td class="n">5.0%</td>' \
	'<th class="n">switches</th>' '<td class="n">0.25</td>' "; closed loop" \
	"of 2, the busiest had 90% of the messages, the least busy 10%"
grep -q '>syscalls<' page.html && fail "a column that no row has"
test "$(grep -c '<tr class=' page.html)" -eq 19 || fail "rows of HTML"
test "$(grep -c 'tr class="[a-z ]*behind"' page.html)" -eq 1 ||
	fail "rows that are behind"
grep -qE '(src|href)="[^#]|<script|@import|url\(' page.html &&
	fail "something from elsewhere: $(grep -nE '(src|href)="[^#]' page.html)"
test "$(grep -c 'rounds disagree' page.html)" -eq 1 ||
	fail "a warning more than once"

echo "= Markdown"
expect 0 results --no-plots --output page.md --title Results
has page.md "# Results" "    busbench --format json # 2026-11-22T08:30:00Z" \
	"### rtt" "**0.80x BEHIND spsc**" "absent: no <mq> here" \
	"- 64 B: rounds disagree: all of them"
same_cells page.md

echo "= rounds that were far: their rows say so, near ones beside them too"
jq -c 'select(.workload != "stream") | select(.status == "ok") |
	.regime = "far" | .pingpong_ns = 480 | .pingpongs = [480]' results >far
for page in page.html page.md; do
	expect 0 far --no-plots --output $page
	has $page "rtt busy: shmbus (adaptive), 0.80x of spsc, far"
	grep -q -e '>near<' -e '| near' $page && fail "near rows in $page"
	expect 0 results far --no-plots --output $page
	has $page "rtt busy: shmbus (adaptive), 0.80x of spsc, near" \
		"rtt busy: shmbus (adaptive), 0.80x of spsc, far"
done
expect 0 far --no-plots --output page.html
test "$(grep -c '<span class="regime far">far</span>' page.html)" -eq \
	"$(wc -l <far)" || fail "rows of HTML that do not say far"
expect 0 far --no-plots --output page.md
test "$(grep -c '| far    |' page.md)" -eq "$(wc -l <far)" ||
	fail "rows of Markdown that do not say far: $(cat page.md)"
same_cells page.md

echo "= rivals of like use, and the best of all"
jq -c 'select(.workload == "rtt" or .workload == "farm") |
	if .workload == "farm" then .ratio = 0.5 | .best_rival = "rte-hts-b32" |
		.best_rival_sleeps = false | .best_rival_bursts = true |
		.best_alike = (if .workers < 4 then "pipe" else null end) |
		.ratio_alike = (if .workers < 4 then 3 else null end)
	else .ratio = 0.09 | .best_rival = "spsc" | .best_rival_sleeps = false |
		.best_rival_bursts = false | .best_alike = "mq" |
		.ratio_alike = 0.8 end |
	.sleeps = true | .bursts = false' results >like
for page in page.html page.md; do
	expect 0 like --no-plots --output $page
	has $page "shmbus is BEHIND the best rival of like use in 1 of 3 rows" \
		"rtt busy: shmbus (adaptive), 0.80x of mq; 0.09x of spsc (never sleeps), near" \
		"In 3 more it is BEHIND rivals that never sleep or send in bursts" \
		"farm 2 workers: shmbus (adaptive), 0.50x of rte-hts-b32 (never sleeps, sends in bursts), near"
done
has page.html "0.80x BEHIND mq<div class=\"also behind\">0.09x BEHIND spsc (never sleeps)</div>" \
	"3.00x ahead of pipe<div class=\"also behind\">0.50x BEHIND rte-hts-b32 (never sleeps, sends in bursts)</div>" \
	"no rival of like use<div class=\"also behind\">0.50x BEHIND"
has page.md "| **0.80x BEHIND mq**; **0.09x BEHIND spsc (never sleeps)** |" \
	"| 3.00x ahead of pipe; **0.50x BEHIND rte-hts-b32 (never sleeps, sends in bursts)** |" \
	"| no rival of like use; **0.50x BEHIND rte"
same_cells page.md

echo "= who was not built: once, and in no row"
jq -c 'select(.workload == "rtt" and .transport == "spsc") |
	("ck-spsc", "ck-spsc-mem", "qb", "qb-mem") as $name |
	.transport = $name | .status = "absent" | .why = "install it" |
	.asked = false | .hist = null | .ratio = null' results >unbuilt
for page in page.html page.md; do
	expect 0 results unbuilt --no-plots --output $page
	has $page "Not built here, and so not compared with: ck-*, qb; busbench rivals says what to install."
	grep -q -e 'install it' -e 'ck-spsc' $page && fail "a row of it in $page"
	test "$(grep -c 'Not built here' $page)" -eq 1 || fail "$page"
done

echo "= several files: each has its own tables"
jq -c 'select(.workload == "rtt")' results >one
jq -c 'select(.workload == "rtt") | .env.cpu = "another"' results >two
expect 0 one two --no-plots --output page.html
has page.html "<h3>one</h3>" "<h3>two</h3>" another
test "$(grep -c '<tr class=' page.html)" -eq 6 || fail "rows of two files"

command -v gnuplot >/dev/null || {
	echo "= no gnuplot: no plots looked at"
	finish
}

echo "= plots in the page"
expect 0 results --output page.html
test ! -s err || fail "gnuplot said: $(cat err)"
figures="rtt busy: latency
stream copy: throughput over message size
stream 64 B copy: throughput over messages a call
farm: throughput over workers"
test "$(grep -c '<figure ' page.html)" -eq 4 || fail "figures"
echo "$figures" >wanted
while read -r title; do
	has page.html "aria-label=\"$title\"" ">$title</text>"
done <wanted
test "$(grep -c '<svg' page.html)" -eq 4 || fail "SVG"
has page.html "99.9 %" "1 MiB" "shmbus-pipe (adaptive)" "10 us" \
	"stroke='rgb(  0, 114, 178)'"
grep -qE '<\?xml|<!DOCTYPE svg|(src|href)="[^#]|xlink:href=.http' page.html &&
	fail "something from elsewhere"
grep -oE "id=['\"][^'\"]*['\"]" page.html | sort | uniq -d | grep . &&
	fail "names that are not unique"
if command -v xmllint >/dev/null; then
	xmllint --html --noout page.html 2>&1 | grep -v -e 'Tag [a-z]* invalid' |
		grep 'error' && fail "the page is not well made"
fi

echo "= plots beside Markdown"
mkdir sub
expect 0 results --output sub/page.md
has sub/page.md "![rtt busy: latency](page-rtt-busy-latency.svg)"
sed -n 's/^!\[.*\](\(.*\))$/\1/p' sub/page.md >links
test "$(wc -l <links)" -eq 4 || fail "links: $(cat links)"
while read -r link; do
	grep -q '</svg>' "sub/$link" || fail "no picture $link"
done <links

echo "= plots as files"
expect 0 results --output page.html --plots plots --format both
for name in rtt-busy-latency stream-copy-throughput-over-message-size \
	stream-64-B-copy-throughput-over-messages-a-call \
	farm-throughput-over-workers; do
	grep -q '</svg>' "plots/$name.svg" || fail "no $name.svg"
	test "$(dd if="plots/$name.png" bs=1 skip=1 count=3 2>/dev/null)" = PNG ||
		fail "no $name.png"
done
test "$(ls plots | wc -l)" -eq 8 || fail "plots: $(ls plots)"

echo "= sweeps, and queues whose slots follow from the size, are one plot each"
jq -c 'select(.workload == "farm") | .sweep = "workers" |
	.sweep_value = .workers' results >swept
jq -c 'select(.workload == "stream") | ., (.transport |= {"shmbus-pipe":
	"shmbus", "pipe": "vyukov"}[.] | .slots = (if .bytes < 1024 then 1024
	elif .bytes == 1024 then 512 else 8 end))' results >>swept
rm -rf plots
expect 0 swept --output page.html --plots plots
test ! -s err || fail "gnuplot said: $(cat err)"
test "$(ls plots | wc -l)" -eq 3 || fail "plots: $(ls plots)"
legend()
{
	grep -o '<title>[a-z][^<]*' "plots/$1.svg" | sed 's/<title>//' |
		sort >legend
	tr ',' '\n' >wanted
	cmp -s wanted legend || fail "the key of $1: $(cat legend)"
}
all="pipe,shmbus (adaptive),shmbus-pipe (adaptive),vyukov"
echo "$all" | legend stream-copy-throughput-over-message-size
echo "$all" | legend stream-64-B-copy-throughput-over-messages-a-call
echo "pipe,shmbus (adaptive)" | legend farm-throughput-over-workers

echo "= a key of many lines is one column, and the plot is higher"
jq -c 'select(.workload == "stream" and .transport == "pipe" and .bytes != 64) |
	range(40) as $i | .transport = "rival-\($i + 10)"' results >many
rm -rf plots
expect 0 many --output page.html --plots plots
test ! -s err || fail "gnuplot said: $(cat err)"
svg=plots/stream-copy-throughput-over-message-size.svg
test "$(grep -B1 '<text>rival-' $svg | grep -o 'translate([0-9.]*' |
	sort -u | wc -l)" -eq 1 || fail "columns of the key"
test "$(grep -c '<text>rival-' $svg)" -eq 40 || fail "the key is not whole"

echo "= the same case in two files is two plots"
expect 0 one two --output page.md --plots both
test "$(ls both | wc -l)" -eq 2 || fail "plots: $(ls both)"
test "$(ls page-rtt-busy-latency-file[12].svg | wc -l)" -eq 2 || fail "$(ls)"

finish
