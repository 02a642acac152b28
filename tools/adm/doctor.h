/*
 * doctor.h - what busadm doctor looks at, one group of checks a file
 *
 * A check is a function that looks at one thing of the machine and says one
 * line about it: ok; a note, where everything works but not as well as it
 * could, or not for everybody; or a warning, where something of shmbus fails.
 * What is not ok has a remedy, a sentence.
 */
#ifndef ADM_DOCTOR_H
#define ADM_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum doctor_level { DOCTOR_OK, DOCTOR_NOTE, DOCTOR_WARNING, DOCTOR_N_LEVELS };

#define DOCTOR_LINES 40

struct doctor_line {
	enum doctor_level level;
	const char *what; /* a word or two */
	char text[400];
	char remedy[600]; /* "" if it is ok */
};

struct doctor {
	struct doctor_line line[DOCTOR_LINES];
	size_t n;
};

/* The next line; its remedy comes after it. */
void doctor_say(struct doctor *d, enum doctor_level level, const char *what,
		const char *format, ...) __attribute__((format(printf, 4, 5)));
void doctor_remedy(struct doctor *d, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The groups, in the order in which they are printed. */
void doctor_kernel(struct doctor *d);
void doctor_limits(struct doctor *d);
void doctor_shm(struct doctor *d);
void doctor_space(struct doctor *d);
void doctor_works(struct doctor *d);

/* ------------------------------------------------------- for all of them -- */

/* The first line of a file, without its newline; "" if there is none. */
void doctor_read(char *line, size_t size, const char *path);

/* A number in a file; -1 if there is none. */
long doctor_number(const char *path);

/* Has this process that capability now? */
bool doctor_may(unsigned capability);

/* Does a seccomp filter watch this process?  It may be why something fails. */
bool doctor_has_filter(void);

/* Is the kernel as new as that, by its own word? */
bool doctor_linux_is(unsigned major, unsigned minor);
bool doctor_release_is(const char *release, unsigned major, unsigned minor);

/* Memory that a bus with default settings takes when it is made, and the size
 * of its file. */
void doctor_default_bus(uint64_t *memory_bytes, uint64_t *file_bytes);

/*
 * The least of a limit of the control groups that we are in, and of those that
 * they are in: as memory.max of @v2, or as @v1 of the controller @name.
 * UINT64_MAX where there is none.
 */
uint64_t doctor_group_limit(const char *v2, const char *name, const char *v1);

/* The path of our group of controller @name (v1), or "" (v2), in the text of
 * /proc/self/cgroup.  False: there is none. */
bool doctor_group_path(const char *text, const char *name, char *path,
		       size_t size);

/*
 * What systemd-logind is told of RemoveIPC, below @root ("" is the machine's):
 * "yes", as it is by default, or whatever its files say last.
 */
bool doctor_removes_ipc(const char *root);

#endif
