/*
 * run.h - the processes of one round
 *
 * The parent makes a crew, forks its members, starts them together, sleeps
 * for the duration, tells them to stop and reaps them.  A member that fails
 * or hangs ends the round: the others are killed and the outcome says why.
 *
 * What they share is the floor: anonymous memory, so that nothing is left
 * behind however they end.  The members die with the parent.
 */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "bench/hist.h"
#include "bench/outcome.h"
#include "bench/pace.h"
#include "bench/shares.h"
#include "bench/spec.h"

#define CREW_MAX (2 * MAX_PROCESSES + 2)

/* What a process and those that it has reaped have used. */
struct usage {
	uint64_t cpu_ns;
	uint64_t sleeps;    /* it gave the processor away, and was woken */
	uint64_t preempted; /* the processor was taken from it */
};

/* What one member did; written by it, read by the parent when it has ended. */
struct tally {
	alignas(128) uint64_t n; /* messages sent, or received */
	uint64_t n_before;       /* of these, before the span that counts */
	uint64_t n_sent;         /* requests, in that span */
	uint64_t sum;            /* of the keys received */
	uint64_t sum_squares;    /* of the keys received */
	uint64_t lost, dup, disorder, wrong;
	uint64_t begin_ns, end_ns;
	bool counted;        /* seat_begin() was there */
	struct usage before; /* when the span that counts began */
	struct usage used;   /* in it */
	char why[160];       /* it failed */
};

/* Messages in the span that counts: none, if it was over before the member
 * noticed. */
static inline uint64_t tally_counted(const struct tally *tally)
{
	return tally->counted ? tally->n - tally->n_before : 0;
}

struct floor {
	alignas(128) _Atomic uint32_t n_ready;
	alignas(128) _Atomic uint32_t go;    /* a futex word */
	alignas(128) _Atomic uint32_t stop;  /* a futex word */
	alignas(128) _Atomic uint32_t count; /* the warm-up is over */
	alignas(128) _Atomic uint32_t n_producing;
	alignas(128) _Atomic uint32_t n_watched; /* idle: whose time counts */
	pid_t watched[MAX_PROCESSES];
	bool uses_from_go;                  /* see crew_use_from_go() */
	alignas(128) _Atomic int32_t owner; /* chaos: whose children die */
	_Atomic uint32_t n_killed;
	_Atomic uint32_t n_again;     /* messages of the dead */
	_Atomic uint32_t killer_left; /* nobody is killed any more */
	struct pace pace; /* of an open loop; its begin is that of the round */
	struct shares shares; /* of workers */
	struct tally tally[CREW_MAX];
	struct hist hist;  /* of the one member that measures */
	struct hist again; /* recover: of the other thing */
};

/* A member's place. */
struct seat {
	struct floor *floor;
	struct tally *tally;
	unsigned idx; /* among those of its role */
	bool counts;  /* see seat_begins() */
	void *job;
};

/* Returns 0, or -errno; seat_fail() can say more. */
typedef int (*role_fn)(struct seat *seat);

struct crew {
	struct floor *floor;
	struct outcome *out;
	bool mortal; /* some may be killed: look after them often */

	struct {
		role_fn role; /* who is killed is replaced; NULL: must not be */
		void *job;
		int cpu;
	} heir[CREW_MAX];
	struct usage of_the_dead;
	unsigned n;
	pid_t pid[CREW_MAX]; /* 0: reaped */
	const char *title[CREW_MAX];
	unsigned idx[CREW_MAX];
};

/*
 * Parent.  Each call returns 0, or -1 after it has set the outcome's status;
 * from then on the crew is dead and crew_close() is all there is to do.
 */
int crew_open(struct crew *crew, struct outcome *out);
void crew_set_rate(struct crew *crew, double per_s); /* 0: none */
int crew_fork(struct crew *crew, const char *title, unsigned idx, role_fn role,
	      void *job, int cpu);
/* The same, and if it gets SIGKILL another takes its seat. */
int crew_fork_mortal(struct crew *crew, const char *title, unsigned idx,
		     role_fn role, void *job, int cpu);
int crew_start(struct crew *crew);
int crew_sleep(struct crew *crew, uint64_t ns);
int crew_finish(struct crew *crew);
void crew_kill(struct crew *crew); /* those who are left */
void crew_close(struct crew *crew);

/* Start, sleep, finish. */
int crew_run(struct crew *crew, double seconds);

/* The same after a warm-up, in which memory is touched for the first time and
 * whatever adapts does. */
int crew_run_warm(struct crew *crew, double warm_seconds, double seconds);

/* How long that is by default, of a round of @seconds. */
double crew_warm_seconds(double seconds);

/*
 * What members use counts from their start on, with the warm-up: for crews with
 * some who do not notice its end, as they serve without a look around.  Of that
 * sum the part counts that the messages of @tally have, of all it had.
 */
void crew_use_from_go(struct crew *crew);
void crew_use_part(const struct tally *tally, struct outcome *out);

/* What all members used together, into @out. */
void crew_sum_usage(const struct crew *crew, struct outcome *out);

/* The same, and what member 0 did, who has workers and measures. */
void crew_sum_owner(const struct crew *crew, struct outcome *out);

/* Members tell a tracer when the span that counts begins (1) and ends (0), by
 * prctl(RUN_MARK, 1 or 0), which the kernel does not know. */
#define RUN_MARK 0x62757362 /* "busb" */
extern bool run_marks;

/* Member: ready, and wait for the others. */
void seat_ready(struct seat *seat);

/* Member, with crew_run_warm(): true when the span that counts begins, just
 * once; then stamps the time and what it has used. */
bool seat_begin(struct seat *seat);

static inline bool seat_begins(struct seat *seat)
{
	if (__builtin_expect(seat->counts, 1))
		return false;
	return seat_begin(seat);
}

/* Member: its work is over; stamps the time, then what it used. */
void seat_end(struct seat *seat);
void seat_count_usage(struct seat *seat);

/* Member: wait until message @seq is due, if there is a rate.  False: stop. */
static inline bool seat_paces(struct seat *seat, uint64_t seq)
{
	const struct pace *pace = &seat->floor->pace;

	return pace->interval_ns <= 0 ||
	       pace_wait(pace, seq, &seat->floor->stop);
}

/* Member: message @seq is there.  Its latency counts if it was to be sent in
 * the span that counts. */
void seat_note_latency(struct seat *seat, uint64_t seq);

/* Member: wait until the parent says stop. */
void seat_wait_stop(struct seat *seat);

static inline bool seat_stopped(const struct seat *seat)
{
	return atomic_load_explicit(&seat->floor->stop, memory_order_relaxed);
}

/* Member: call @fn with @arg when its role has ended, before it exits; for
 * transports whose messages may then still be in hands of a thread. */
void crew_at_end(void (*fn)(void *arg), void *arg);

/* Member: keep the reason; returns @ret. */
int seat_fail(struct seat *seat, int ret, const char *what);

#endif
