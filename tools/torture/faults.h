/*
 * faults.h - the parts of bustorture's faults
 *
 *	faults.c        which calls fail and how, who is traced, verdicts
 *	faults_works.c  what is done with a bus meanwhile: queues, names, sleep
 *	faults_pipe.c   with pipes
 *	faults_crew.c   with workers
 */
#ifndef TORTURE_FAULTS_H
#define TORTURE_FAULTS_H

#include "tests/bus/t_bus.h"

/* Of the run that this shard is at, seen by all its processes. */
struct fa_shared {
	_Atomic int32_t child;
	_Atomic uint32_t seized, inside, over;
	_Atomic uint32_t follows; /* whom it forks is traced, too */
	const char *_Atomic file; /* of what was wrong, or stuck: */
	_Atomic uint32_t wrong, leaked, stuck; /* a line */
	_Atomic int32_t error, again;          /* that the work said */
	/* by the child, and by all that it forks: */
	_Atomic uint32_t n_allocs[2], fail_alloc[2]; /* of them this, from 1 */
};

extern struct fa_shared *fa_sh;

/* What is done with a bus: 0, or the first error that a call said.  What was
 * made is fa_undo()'s. */
struct fa_work {
	const char *name;
	int (*fn)(void);
	bool inherits; /* fa_inherited, made by its parent */
};

extern const struct fa_work fa_works[];
extern const uint32_t fa_n_works;

extern struct bus *fa_inherited;

#define LIMIT_NS ((int64_t)(20 * SB_NS_PER_S))
#define TICK_NS  ((int64_t)(2 * SB_NS_PER_MS))
#define BIG      600u
#define LARGE    30000u

/* What was made, and is undone after the work. */
extern struct fa_made {
	struct bus *bus, *other;
	struct bus_queue *q;
	struct bus_pipe *a, *b;
	struct bus_coord *coord;
	struct bus_pool *pool;
} fa;

/* A call of the library failed: that is an error, and the work is over. */
#define TRY(call)                                                              \
	do {                                                                   \
		int ret_ = (call);                                             \
		if (ret_ < 0)                                                  \
			return fa_failed(ret_, __FILE__, __LINE__);            \
	} while (0)

/* It did not, and so this must be true. */
#define MUST(what)                                                             \
	do {                                                                   \
		if (!(what))                                                   \
			fa_wrong(__FILE__, __LINE__);                          \
	} while (0)

/* A call must have said @ret, and it did say @is. */
#define EXPECT(is, ret)                                                        \
	do {                                                                   \
		if ((is) != (ret))                                             \
			return (is) ? fa_failed(is, __FILE__, __LINE__)        \
				    : -EPROTO;                                 \
	} while (0)

int fa_failed(int ret, const char *file, uint32_t line);
void fa_wrong(const char *file, uint32_t line);

struct bus_config fa_settings(uint32_t wait);

/* What follows is not the library's, until fa_sh->inside is what it was: that
 * is returned. */
uint32_t fa_ours(void);

/* The works of the other files. */
int fa_do_pipe(void);
int fa_do_parts(void);
int fa_do_exchange(void);
int fa_do_named_pipe(void);
int fa_do_spawn(void);
int fa_do_coord(void);
int fa_do_coord_many(void);
int fa_do_pool(void);
int fa_do_deadline(void);
int fa_do_split(void);

void fa_undo(void);

#endif
