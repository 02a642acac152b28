#!/bin/sh
# arm.sh - build for aarch64, and run what can run there by qemu
#
# For `make arm`, which sets ARM_CC, ARM_RUN, MAKE and srcdir.  The tree is
# built in arm.d, without liburing, Criterion and jansson, of which there may
# be no such build.  What needs ptrace does not run under qemu.  The processor
# below qemu may order more than an ARM does: this shows that the code works
# there, and ORDERING.md why the orders are enough.

if test -z "$ARM_CC"; then
	echo "arm: aarch64-linux-gnu-gcc is missing" \
	     "(Debian package: gcc-aarch64-linux-gnu)" >&2
	exit 1
fi
if test -z "$ARM_RUN"; then
	echo "arm: qemu-aarch64 is missing (Debian package: qemu-user)" >&2
	exit 1
fi
mkdir -p arm.d && cd arm.d || exit 1
if ! test -e Makefile; then
	"$srcdir/configure" -q --host=aarch64-linux-gnu CC="$ARM_CC" \
		--without-uring --disable-tests --disable-tools \
		--disable-shared >configure.log 2>&1 || {
		cat configure.log
		exit 1
	}
fi
$MAKE -s programs || exit 1

# Where the cross compiler has its C library.
QEMU_LD_PREFIX=$(dirname "$(dirname "$("$ARM_CC" -print-file-name=libc.so)")")
FUZZ_CORPUS=$srcdir/tests/fuzz/corpus
export QEMU_LD_PREFIX FUZZ_CORPUS
bad=0
for p in tests/fuzz/fuzz_* tests/stress/explore_* tests/stress/stress_* \
	tests/soak/soak; do
	case $p in
	*.*) continue ;;
	esac
	test -x "$p" || continue
	begin=$(date +%s)
	timeout -k 10 600 "$ARM_RUN" "$p" >test.log 2>&1
	ret=$?
	case $ret in
	0) echo "arm: $p: passed in $(($(date +%s) - begin)) s" ;;
	77) echo "arm: $p: skipped" ;;
	*)
		tail -20 test.log
		echo "arm: $p: failed ($ret)"
		bad=1
		;;
	esac
done
exit $bad
