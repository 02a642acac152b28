#!/bin/sh
# run.sh - build the fuzz targets with libFuzzer and ASan, and run them
#
#	run.sh SOURCE...	those of the library, from the top
#
# For `make fuzz`, which sets FUZZ_CC, FUZZ_RUNS, srcdir and LIBURING.  All is
# done in fuzz.d: objects, logs, and inputs that failed (crash-*, timeout-*).
# An empty FUZZ_CC means that configure found none: exit status 77.
#
# FUZZ_MUTANT=NAME: in fuzz.d/mutant, with the objects that are in fuzz.d, and
# without the check that is called NAME; see README.md.  Exit status 0 then
# means that it was not missed.

if test -z "$FUZZ_CC"; then
	echo "fuzz: skipped, there is no clang with libFuzzer" \
	     "(Debian packages: clang-14 libclang-rt-14-dev)" >&2
	exit 77
fi
case $srcdir in
/*) top=$srcdir ;;
*) top=$(pwd)/$srcdir ;;
esac
build=$(pwd)
jobs=$(nproc 2>/dev/null || echo 1)
begin=$(date +%s)
mkdir -p fuzz.d && cd fuzz.d || exit 1

# What costs and finds nothing is left out.  Of coverage that is the trace of
# comparisons, by which libFuzzer guesses numbers: our inputs are calls, and
# changes of what is there.  The counters of world.c say nothing about ours.
# Memory of the library comes from the arena of world.c, so that ASan's malloc
# serves libFuzzer alone: no leak can be ours, and nothing has to be kept for a
# later look at it.
flags="-std=gnu11 -g1 -O2 -pthread -fno-omit-frame-pointer -D_GNU_SOURCE
	-I$top -I$build -include $top/tests/fuzz/world.h
	-fsanitize=address $LIBURING -Wno-unused-command-line-argument"
flags=$(echo $flags)
counters="-fsanitize-coverage=inline-8bit-counters,pc-table"
ASAN_OPTIONS=quarantine_size_mb=1:malloc_context_size=2:$ASAN_OPTIONS
export ASAN_OPTIONS

sources=
for f in "$@"; do
	case $f in
	*.c) sources="$sources $f" ;;
	esac
done
if test -n "$FUZZ_MUTANT"; then
	mkdir -p mutant && cd mutant || exit 1
	cp -p ../*.o . || exit 1
	sources=$(cd "$top" && grep -l "SB_MUTATED($FUZZ_MUTANT)" $sources)
	test -n "$sources" || {
		echo "fuzz: there is no check '$FUZZ_MUTANT'" >&2
		exit 1
	}
	flags="$flags -DSB_MUTANT=\"$FUZZ_MUTANT\""
fi

# compile OPTION...: each source that is named on standard input
compile()
{
	xargs -P "$jobs" -I{} sh -c '
		top=$1
		shift
		exec "$@" -c "$top/{}" -o "$(echo {} | tr / _).o"' \
		sh "$top" $FUZZ_CC $flags "$@"
}

harness()
{
	for t in fuzz_bus fuzz_image fuzz_attach fuzz_blob fuzz_recv fuzz_ring \
		fuzz_spsc fuzz_view; do
		echo "tests/fuzz/$t.c"
	done
}

printf '%s\n' $sources | compile $counters || exit 1
if test -z "$FUZZ_MUTANT"; then
	harness | compile $counters -DFUZZ_NO_WORLD || exit 1
	echo tests/fuzz/world.c | compile -DFUZZ_NO_WORLD || exit 1
fi
# What a target does not call is not in it: libFuzzer looks at the counters of
# all that is there after each run.
rm -f library.a
ar cr library.a bus_*.o lib_*.o tools_*.o tests_fuzz_fuzz_bus.c.o \
	tests_fuzz_fuzz_image.c.o tests_fuzz_world.c.o || exit 1
for t in attach blob recv ring spsc view; do
	echo "$t"
done | xargs -P "$jobs" -I{} $FUZZ_CC -pthread -fsanitize=address,fuzzer \
	-o fuzz_{} tests_fuzz_fuzz_{}.c.o library.a $LIBURING || exit 1

# The inputs of a corpus, each in a file of its own.
unpack()
{
	rm -rf "$2"
	mkdir "$2" || exit 1
	od -An -v -tu1 -w1 "$1" | awk '
		left == 0 { left = $1; line = ""; next }
		{ line = line sprintf("\\%03o", $1) }
		--left == 0 { print line }' |
	while read -r line; do
		n=$((${n:-0} + 1))
		printf "$line" >"$2/$n"
	done
	printf '%s,' "$2"/* | sed 's/,$//' >"$2.seeds"
}

# run_target NAME PERCENT: so much of all runs
#
# Without -entropic=0 libFuzzer counts how rare each feature of each run is,
# which takes longer than the run: half of the runs a second, and in the same
# time it reaches less.  What it finds to be new it keeps in memory: to write it
# to files takes time, and the corpus that we have is to stay small.
run_target()
{
	runs=$((FUZZ_RUNS / 100 * $2))
	since=$(date +%s)
	unpack "$top/tests/fuzz/corpus/$1" "$1"
	if ./"fuzz_$1" "-runs=$runs" -max_len=100 -timeout=20 -entropic=0 \
		-detect_leaks=0 "-seed_inputs=@$1.seeds" >"$1.log" 2>&1; then
		echo "fuzz: $1: $runs runs in $(($(date +%s) - since)) s"
		return
	fi
	grep -E 'not so|fuzz:|ERROR|    #[0-9]|Test unit|Base64' "$1.log" |
		head -30
	echo "fuzz: $1 failed; see $(pwd)/$1.log"
	touch failed
}

# What each gets, in percent: the first four take about the same time.  The
# longest first, one a processor.
set -- 'recv 7' 'view 5' 'spsc 25' 'blob 40' 'ring 20' 'attach 3'
rm -rf failed taken.*
lane=0
while test $lane -lt "$jobs"; do
	(
		for t in "$@"; do
			test -z "$FUZZ_MUTANT" || test ! -e failed || break
			# Who makes the directory has it.
			mkdir "taken.${t% *}" 2>/dev/null || continue
			run_target $t
		done
	) &
	lane=$((lane + 1))
done
wait
rmdir taken.*
echo "fuzz: $FUZZ_RUNS runs, $(($(date +%s) - begin)) s with the build"
if test -n "$FUZZ_MUTANT"; then
	test -e failed
else
	test ! -e failed
fi
