#!/bin/sh
# run.sh - build the fuzz targets with libFuzzer and ASan, and run them
#
#	run.sh SOURCE...	those of the library, from the top
#
# For `make fuzz`, which sets FUZZ_CC, FUZZ_RUNS, srcdir and LIBURING.  All is
# done in fuzz.d: objects, the corpora as they grow, and inputs that failed
# (crash-*, timeout-*).  An empty FUZZ_CC means that configure found none.

if test -z "$FUZZ_CC"; then
	echo "fuzz: clang with libFuzzer is missing" \
	     "(Debian packages: clang-14 libclang-rt-14-dev)" >&2
	exit 1
fi
case $srcdir in
/*) top=$srcdir ;;
*) top=$(pwd)/$srcdir ;;
esac
build=$(pwd)
jobs=$(nproc 2>/dev/null || echo 1)
mkdir -p fuzz.d && cd fuzz.d || exit 1

flags="-std=gnu11 -g -O2 -pthread -fno-omit-frame-pointer -D_GNU_SOURCE
	-I$top -I$build -include $top/tests/fuzz/world.h $LIBURING"
for f in "$@"; do
	case $f in
	*.c) echo "$f" ;;
	esac
done | FUZZ_FLAGS=$(echo $flags) top=$top xargs -P "$jobs" -I@ sh -c '
	$FUZZ_CC $FUZZ_FLAGS -fsanitize=fuzzer-no-link,address \
		-Wno-unused-command-line-argument \
		-c "$top/@" -o "$(echo @ | tr / _).o"' || exit 1

$FUZZ_CC $flags -DFUZZ_NO_WORLD -fsanitize=fuzzer-no-link,address \
	-Wno-unused-command-line-argument \
	-c "$top/tests/fuzz/fuzz_bus.c" -o fuzz_bus.o || exit 1

# What a target does not call is not in it: libFuzzer looks at the counters of
# all that is there after each run.
rm -f library.a
ar cr library.a *.o || exit 1

build_target()
{
	$FUZZ_CC $flags -DFUZZ_NO_WORLD -fsanitize=fuzzer,address \
		-o "fuzz_$1" "$top/tests/fuzz/fuzz_$1.c" \
		"$top/tests/fuzz/world.c" library.a $LIBURING
}

# The inputs of a corpus, each into a file of its own.
unpack()
{
	od -An -v -tu1 -w1 "$1" | awk '
		left == 0 { left = $1; line = ""; next }
		{ line = line sprintf("\\%03o", $1) }
		--left == 0 { print line }' |
	while read -r line; do
		n=$((${n:-0} + 1))
		printf "$line" >"$2/seed-$n"
	done
}

# What each gets of all runs, in percent; so they take about the same time.
#
# Without -entropic=0 libFuzzer counts how rare each feature of each run is,
# which takes longer than the run: half of the runs a second, and in the same
# time it reaches less.  Nobody else writes into the corpus, so -reload=0.
run_target()
{
	runs=$((FUZZ_RUNS / 100 * $2))
	mkdir -p "$1"
	unpack "$top/tests/fuzz/corpus/$1" "$1"
	begin=$(date +%s)
	if ./"fuzz_$1" "-runs=$runs" -max_len=100 -timeout=20 \
		-entropic=0 -reload=0 "$1" >"$1.log" 2>&1; then
		echo "fuzz: $1: $runs runs in $(($(date +%s) - begin)) s"
	else
		grep -E 'not so|fuzz:|ERROR|    #[0-9]|Test unit' "$1.log" |
			head -30
		echo "fuzz: $1 failed; see fuzz.d/$1.log"
		touch failed
	fi
}

rm -f failed
for t in attach blob recv ring spsc; do
	build_target $t || exit 1
done
# The longest first, by two at a time.
set -- 'blob 50' 'spsc 25' 'ring 18' 'recv 5' 'attach 2'
if test "$jobs" -eq 1; then
	for t in "$@"; do
		run_target $t
	done
else
	{ run_target $1; run_target $5; } &
	{ run_target $2; run_target $3; run_target $4; } &
	wait
fi
test ! -e failed
