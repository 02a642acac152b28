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

build_target()
{
	$FUZZ_CC $flags -DFUZZ_NO_WORLD -fsanitize=fuzzer,address \
		-o "fuzz_$1" "$top/tests/fuzz/fuzz_$1.c" \
		"$top/tests/fuzz/fuzz_bus.c" "$top/tests/fuzz/world.c" \
		*.o $LIBURING
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
run_target()
{
	runs=$((FUZZ_RUNS / 100 * $2))
	mkdir -p "$1"
	unpack "$top/tests/fuzz/corpus/$1" "$1"
	begin=$(date +%s)
	if ./"fuzz_$1" -runs=$runs -max_len=100 -timeout=20 \
		"$1" >"$1.log" 2>&1; then
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
case $jobs in
1)
	for t in 'recv 5' 'attach 2' 'ring 18' 'spsc 25' 'blob 50'; do
		run_target $t
	done
	;;
*)
	{ run_target recv 5; run_target ring 18; } &
	{ run_target attach 2; run_target spsc 25; run_target blob 50; } &
	wait
	;;
esac
test ! -e failed
