/*
 * torture.h - what the tests of bustorture have in common
 *
 * A test has parts, each a function in a file of its own that runs in a process
 * of its own: what hangs or crashes there is counted, and the next part runs.
 * A part has cases, with names, and a case has points, with numbers; part, case
 * and number name a point, and with the same seed it is the same point again.
 */
#ifndef TORTURE_H
#define TORTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Verdicts.  In memory that all processes of a test share. */
struct tally {
	_Atomic uint64_t points;
	_Atomic uint64_t hung;
	_Atomic uint64_t lost;
	_Atomic uint64_t duplicated;
	_Atomic uint64_t leaked;
	_Atomic uint64_t crashed;
	_Atomic uint64_t wrong;    /* anything else that should not be */
	_Atomic uint64_t rejected; /* told to be impossible: -EPROTO */
	_Atomic uint64_t skipped;  /* cases that cannot run here */
};

/* Points that are not as they should be. */
uint64_t tally_bad(const struct tally *t);

/* Names of cases, as --only takes them; in memory that all share. */
#define CASES_MAX  4096
#define CASE_BYTES 80

struct cases {
	_Atomic uint32_t n;
	char name[CASES_MAX][CASE_BYTES];
};

/* One part of a test, and what it is asked for. */
struct torture {
	const char *test, *part; /* part NULL: it has only one */
	bool full;
	bool verbose;
	uint64_t seed;
	const char *only; /* the case to run, NULL for all */
	long at;          /* ... and its point, -1 for all */
	struct tally *tally;
	_Atomic uint64_t *n_told;
	_Atomic uint32_t
		*has_at; /* some case has the point that is asked for */
	_Atomic uint32_t *paused; /* the run stands still: so do we, soon */
	struct cases *cases;      /* only note their names; NULL: run them */
};

/* The one that this process runs. */
extern const struct torture *torture;

typedef int (*torture_fn)(void);

/* 0, or 1 when it did not come to its end; these print their own reasons. */
int kill_ring(void);
int kill_bus(void);
int kill_pipe(void);
int kill_pool(void);
int flip_main(void);
int stop_main(void);
int chaos_main(void);
int faults_main(void);
int threats_main(void);

/* Is case @name what --only asks for: that one, or the beginning of its name up
 * to a '/'? */
bool torture_is_of(const char *name, const char *only);

/* Is @name what --only asks for, or is everything?  Called once for each case
 * that there is, and before anything is done for it. */
bool torture_wants(const char *name);

/* Is there the point that --at asks for, in this case?  Returns @is. */
bool torture_has(bool is);

/* A point is about to begin: no other is under way in this process, and nobody
 * waits for it.  While the run is stopped it does not come back. */
void torture_gate(void);

/*
 * torture_bad - a point of @name went wrong
 * @row:  counts of this file, which begin with a struct tally; or NULL
 * @what: offsetof(struct tally, lost), and so on
 * @at:   the point, -1 if the case has only one
 *
 * Counts it, and prints the first of them with the command that repeats it.
 */
void torture_bad(struct tally *row, size_t what, const char *name, long at,
		 const char *format, ...) __attribute__((format(printf, 5, 6)));

/* A point was made. */
void torture_point(struct tally *row);

/* A case cannot run here; says why with --verbose. */
void torture_skip(const char *name, const char *why);

/* Details, with --verbose. */
void torture_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Which verdict is it that a child ended with @status, as t_wait() has it? */
size_t torture_verdict(int status);

/* The same numbers from the same seed. */
uint64_t torture_random(uint64_t *state);

#endif
