/*
 * newfile.h - a file that is there when it is complete, or not at all
 *
 * It is written without a name, beside where it will be, and gets its name,
 * or takes the place of the file that has it, in one step at the end.  Until
 * then, and whoever is killed, what was there before stays as it was.  Only
 * what is not a regular file, such as a device, a FIFO or standard output, is
 * written directly.
 */
#ifndef NEWFILE_H
#define NEWFILE_H

#include <stdbool.h>

struct newfile {
	int fd;
	const char *name; /* for messages */
	char *path;       /* where it shall be; NULL: it is written directly */
	char *temp;       /* where it is: a name that shall go away, or NULL */
};

/* @path NULL or "-" is standard output.  Returns 0 or -errno. */
int newfile_open(struct newfile *f, const char *path);

/* It is complete.  Also reports what only close() tells.  Returns 0 or -errno;
 * call newfile_drop() in either case. */
int newfile_commit(struct newfile *f);

/* Close what is open; what was not committed is gone. */
void newfile_drop(struct newfile *f);

#endif
