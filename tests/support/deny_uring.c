/*
 * deny_uring.c - run a command as in a container that forbids io_uring
 *
 *	tests/deny_uring make check
 *
 * Docker's and others' seccomp filters do so: io_uring_setup(2) says EPERM to
 * whatever the command starts.  Nobody may gain rights from then on either.
 * Exit status of the command; 77 where no filter can be had.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/proc.h"

int main(int argc, char **argv)
{
	int ret;

	if (argc < 2) {
		fprintf(stderr, "usage: deny_uring COMMAND [ARG...]\n");
		return 2;
	}
	ret = t_deny_io_uring(EPERM);
	if (ret) {
		fprintf(stderr, "deny_uring: no filter of system calls: %s\n",
			strerror(-ret));
		return 77;
	}
	execvp(argv[1], argv + 1);
	fprintf(stderr, "deny_uring: cannot run '%s': %s\n", argv[1],
		strerror(errno));
	return 127;
}
