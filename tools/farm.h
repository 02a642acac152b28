/*
 * farm.h - what the farms share: pairs in, their products out in order
 *
 * Reads the pairs, keeps a window of them on their way, prints the answers in
 * the order of the input, shows progress, and kills workers when it was told
 * to.  How a pair gets to a worker and its product back is what a farm shows:
 * scen_queue_farm.c, scen_pipe_farm.c, scen_pool_queue.c, scen_pool_pipe.c and,
 * where pairs are pulled, scen_pool_map.c.  Knows no bus.
 */
#ifndef FARM_H
#define FARM_H

#include <sys/types.h>

#include "tools/scen.h"

#define FARM_WINDOW      1024 /* most pairs on their way; a power of two */
#define FARM_MAX_WORKERS 200  /* that --workers takes */

/* Those, ourselves, and places of the dead that are not free yet: as many as
 * a bus can have. */
#define FARM_MAX_ENDPOINTS 254

#define FARM_STOP_NS  10000000000 /* for workers to end by themselves */
#define FARM_FLUSH_NS 100000000   /* after this, what there is is shown */

/* The attempts that a pair has, on each of which a worker died. */
#define FARM_ATTEMPTS 3

struct farm; /* opaque */

/* What a worker gets. */
struct farm_pair {
	int64_t a;
	int64_t b;
};

/* One line of the input that is not answered yet. */
struct farm_job {
	uint64_t line;
	struct farm_pair pair;
	char *error; /* what is wrong with the line; else there is a pair */
};

/* What became of it. */
struct farm_answer {
	const struct farm_pair *pair;
	int64_t product;
	const char *error; /* NULL, or why there is no product */
	char text[256];    /* room for it */
};

/*
 * What each farm does itself; @ctx is its own.
 *
 * @submit:  the pair of @ticket is to be multiplied; tickets count from 0.
 *           Returns 0, -EAGAIN (no room just now and timeout_ns was 0), or
 *           another -errno, which ends the run.
 * @collect: the answer to @ticket, which is the oldest that was submitted and
 *           not collected; answer->pair is set.  Returns 0, -ETIMEDOUT, or
 *           another -errno.
 * @workers: the pids of the workers that live, up to @n; returns how many.
 * @label:   of each result of the demo; NULL: "Result: "
 */
struct farm_way {
	const char *name;
	int (*submit)(void *ctx, uint64_t ticket, const struct farm_pair *pair,
		      int64_t timeout_ns);
	int (*collect)(void *ctx, uint64_t ticket, struct farm_answer *answer,
		       int64_t timeout_ns);
	int (*workers)(void *ctx, pid_t *pids, size_t n);
	const char *label;
};

/* Open the input.  Returns the farm, or NULL after saying what is wrong. */
struct farm *farm_open(const struct scen_options *opt, struct out *out,
		       struct scen_summary *summary);

/* At most so many are on their way at a time: a power of two. */
uint32_t farm_window(const struct farm *f);

/* Before the run: at most @window, a power of two. */
void farm_limit(struct farm *f, uint32_t window);

/* The pair of a ticket that is on its way. */
const struct farm_pair *farm_pair(const struct farm *f, uint64_t ticket);

/* True if it was we who killed it, for --kill-every. */
bool farm_killed(const struct farm *f, pid_t worker);

/* The whole input.  Returns SCEN_... . */
int farm_run(struct farm *f, const struct farm_way *way, void *ctx);

/*
 * Job by job, for a farm whose pairs are pulled; of @way only name, workers and
 * label are used.
 *
 * farm_begin   - before all others
 * farm_read    - the next line.  @wait: false: rather say -EAGAIN than wait.
 *                Returns as pairs_next(), and 0 after a bad line that is to end
 *                the run: give it an answer when all others have theirs
 * farm_give    - a job and its answer: print it, kill somebody if it is time;
 *                frees job->error
 * farm_show    - print what is still buffered, before a long wait
 * farm_stop    - give no more; this is the status
 * farm_stopped - no more is to be given: an error ended the run
 * farm_end     - print the rest; @err: 0, or the -errno of reading the input.
 *                Returns SCEN_... .
 */
void farm_begin(struct farm *f, const struct farm_way *way, void *ctx);
int farm_read(struct farm *f, struct farm_job *job, bool wait);
void farm_give(struct farm *f, struct farm_job *job,
	       const struct farm_answer *answer);
void farm_show(struct farm *f);
void farm_stop(struct farm *f, int status);
bool farm_stopped(const struct farm *f);
int farm_end(struct farm *f, int err);

/* NULL does nothing. */
void farm_close(struct farm *f);

/* In a worker.  Returns 0 or -EOVERFLOW. */
int farm_multiply(const struct farm_pair *pair, int64_t *product);
extern const char farm_too_large[]; /* what -EOVERFLOW means */

/* The answer is an error: a worker's, with its text if there is one, or that
 * too many died, how the last one did. */
void farm_error(struct farm_answer *answer, int code, const char *text,
		size_t len_bytes);
void farm_death(struct farm_answer *answer, uint32_t n_died, pid_t pid,
		int signal, int exit_status);

/* Say that workers had to be killed at the end. */
void farm_stubborn(void);

#endif
