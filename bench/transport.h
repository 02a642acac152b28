/*
 * transport.h - the one interface through which ours and every rival is run
 *
 * A transport carries messages through a lane, one way, from any of its
 * writers to any of its readers.  Requests and answers are calls: a transport
 * may have its own; otherwise they are made of two lanes (calls.c).  A rival
 * that is another program (python) runs the whole round by itself.
 *
 * The parent opens, forks the processes of the round, which use what they
 * inherited, and closes when they have ended.  What is opened must vanish by
 * itself when all of them are killed.
 */
#ifndef BENCH_TRANSPORT_H
#define BENCH_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "bench/outcome.h"
#include "bench/spec.h"

struct lane;  /* each transport has its own */
struct calls; /* likewise */
struct tasks;
struct crash;
struct source;
struct sink;

/*
 * Requests (id, a, b) and answers (id, a * b).  @wait false: do not wait for
 * room or for an answer, but return -EAGAIN; collect may always say so.
 */
struct call_ops {
	/* Parent.  On failure sets @out and returns -1. */
	int (*open)(const struct spec *spec, struct calls **calls,
		    struct outcome *out);
	void (*close)(struct calls *calls);

	/* A worker's whole life.  NULL: start() makes the workers. */
	int (*serve)(struct calls *calls);

	/* The coordinator. */
	int (*start)(struct calls *calls);
	int (*submit)(struct calls *calls, uint64_t id, uint64_t a, uint64_t b,
		      bool wait);
	int (*collect)(struct calls *calls, uint64_t *id, uint64_t *product,
		       bool wait);
	int (*stop)(struct calls *calls);

	/* The workers' pids; only where start() makes them. */
	int (*pids)(struct calls *calls, pid_t *pids, size_t n);
};

/*
 * Both sides send and receive at once, each in one process, through one lane
 * that has two ends.
 */
struct duplex_ops {
	/* Parent.  On failure sets @out and returns -1. */
	int (*open)(const struct spec *spec, struct lane **lane,
		    struct outcome *out);
	void (*close)(struct lane *lane);

	/* A process becomes side 0 or 1. */
	int (*side)(struct lane *lane, unsigned side);

	/* Send up to @n messages and take up to @n; wait until at least one was
	 * sent or taken.  Nothing more is sent when @source has ended, nothing
	 * more taken when @sink has; not both. */
	int (*turn)(struct lane *lane, struct source *source, struct sink *sink,
		    size_t n);
};

/* Two numbers, of which the product is wanted. */
struct operands {
	uint64_t a, b;
};

/* The next item of an imap; false at the end. */
typedef bool (*task_source)(void *ctx, struct operands *item);

/*
 * A pool whose workers multiply.  All that waits, waits until it is done;
 * -EBADMSG: a task ended in another way than with a product, and why() says
 * how.
 */
struct task_ops {
	/* Parent.  On failure sets @out and returns -1. */
	int (*open)(const struct spec *spec, struct tasks **tasks,
		    struct outcome *out);
	void (*close)(struct tasks *tasks);

	/* The process whose pool it is.  stop() waits for the workers, and
	 * then says how many multiplications they did. */
	int (*start)(struct tasks *tasks);
	int (*stop)(struct tasks *tasks, uint64_t *n_run);
	const char *(*why)(const struct tasks *tasks);

	int (*apply)(struct tasks *tasks, const struct operands *item,
		     uint64_t *product);

	int (*submit)(struct tasks *tasks, const struct operands *item,
		      void **future);
	int (*get)(struct tasks *tasks, void *future, uint64_t *product);

	/* @chunk 0: the default.  Products that did not come stay as they
	 * are. */
	int (*map)(struct tasks *tasks, const struct operands *items,
		   uint64_t *products, size_t n, size_t chunk);

	/* One at a time; next() says the number of the item, from 0 on, and
	 * -ENODATA at the end. */
	int (*imap)(struct tasks *tasks, bool ordered, size_t chunk,
		    task_source source, void *ctx);
	int (*next)(struct tasks *tasks, uint64_t *idx, uint64_t *product);
};

/* What a worker does with request @id; says the result. */
typedef uint64_t (*crash_task)(void *ctx, uint64_t id);

/* Workers that are killed.  One request at a time. */
struct crash_ops {
	/* Parent.  On failure sets @out and returns -1. */
	int (*open)(const struct spec *spec, crash_task task, void *ctx,
		    struct crash **crash, struct outcome *out);
	void (*close)(struct crash *crash);

	/* The process whose workers they are. */
	int (*start)(struct crash *crash);
	int (*stop)(struct crash *crash);
	int (*submit)(struct crash *crash, uint64_t id);
	/* Waits; -ENODATA: there will be none. */
	int (*result)(struct crash *crash, uint64_t *id, uint64_t *value);
};

/* Messages that are held while they are worked on, and go to another reader if
 * this one dies.  One at a time. */
struct lease_ops {
	/* @attempts: how many readers died with it. */
	int (*take)(struct lane *lane, size_t bytes, const void **msg,
		    unsigned *attempts);
	int (*release)(struct lane *lane);
	/* No more puts; take() says -EPIPE when all have been released. */
	int (*close)(struct lane *lane);
};

struct transport {
	const char *name;
	const char *what;  /* half a line for --help */
	unsigned loads;    /* LOAD_BIT()s of what it can run */
	const char *waits; /* how it waits, for the reports; NULL: as told */
	bool ours;
	bool floor;       /* no rival, but the least that anybody could take */
	bool batches;     /* put and get take more than one at a time */
	bool bursts;      /* keeps messages back until it has many */
	bool lends;       /* send and recv can work in place */
	unsigned variant; /* see struct spec */
	unsigned methods; /* METHOD_BIT()s, of a rival that can LOAD_POOL */

	/* The Debian package that it is built with; NULL: it needs none.
	 * Without the package all that is below is NULL. */
	const char *package;
	bool built; /* where there is a package: was it there */

	/* Parent.  On failure sets @out and returns -1. */
	int (*open)(const struct spec *spec, struct lane **lane,
		    struct outcome *out);
	void (*close)(struct lane *lane);

	/* A process that is going to write, or to read, makes its connections
	 * before the clock runs.  It may wait for the other side to do so.
	 * NULL: there is nothing to do. */
	int (*attach)(struct lane *lane, bool writes);

	/*
	 * Put or get up to @n messages of @bytes each, one after the other in
	 * @msgs.  With @wait at least one.  Returns how many, or -errno.
	 */
	int (*put)(struct lane *lane, const void *msgs, size_t bytes, size_t n,
		   bool wait);
	int (*get)(struct lane *lane, void *msgs, size_t bytes, size_t n,
		   bool wait);

	/* Send or receive @n messages, waiting; see chunk.h.  NULL: made with
	 * put and get.  Returns 0 or -errno. */
	int (*send)(struct lane *lane, struct source *source, size_t n);
	int (*recv)(struct lane *lane, struct sink *sink, size_t n);

	const struct call_ops *calls; /* NULL: made of two lanes */

	const struct duplex_ops *duplex; /* NULL: it cannot */
	const struct task_ops *tasks;    /* NULL: pool goes by calls */
	const struct crash_ops *crash;   /* NULL: it cannot */
	const struct lease_ops *lease;   /* NULL: it cannot */

	/* NULL, or runs all of it and sets @out. */
	void (*run)(const struct transport *transport, const struct spec *spec,
		    struct outcome *out);
};

/* Ours first, then the rivals; ends with NULL. */
extern const struct transport *const transports[];

extern const struct transport transport_shmbus;
extern const struct transport transport_farm;
extern const struct transport transport_pipe;
extern const struct transport transport_pipe_latency;
extern const struct transport transport_pipe_stream;
extern const struct transport rival_vyukov;
extern const struct transport rival_spsc;
extern const struct transport rival_spsc_mem;
extern const struct transport rival_spsc_call;
extern const struct transport rival_spsc_mem_call;
extern const struct transport rival_line;
extern const struct transport rival_futex;
extern const struct transport rival_eventfd;
extern const struct transport rival_eventfd_mpmc;
extern const struct transport rival_pipe;
extern const struct transport rival_pipe_batch;
extern const struct transport rival_seqpacket;
extern const struct transport rival_mq;
extern const struct transport rival_ck_spsc;
extern const struct transport rival_ck_spsc_mem;
extern const struct transport rival_ck_mpmc;
extern const struct transport rival_ck_mpmc_mem;
extern const struct transport rival_rte_spsc;
extern const struct transport rival_rte_spsc_mem;
extern const struct transport rival_rte_spsc_b32;
extern const struct transport rival_rte_spsc_b32_mem;
extern const struct transport rival_rte_mpmc;
extern const struct transport rival_rte_mpmc_mem;
extern const struct transport rival_rte_mpmc_b32;
extern const struct transport rival_rte_hts;
extern const struct transport rival_rte_hts_b32;
extern const struct transport rival_rte_rts;
extern const struct transport rival_rte_rts_b32;
extern const struct transport rival_qb;
extern const struct transport rival_qb_mem;
extern const struct transport rival_boost;
extern const struct transport rival_boost_mem;
extern const struct transport rival_zmq;
extern const struct transport rival_nng;
extern const struct transport rival_iceoryx;
extern const struct transport rival_iceoryx_poll;
extern const struct transport rival_iceoryx_mem;
extern const struct transport rival_python_queue;
extern const struct transport rival_python_pipe;
extern const struct transport rival_python_pool_map;
extern const struct transport rival_python_pool_imap;
extern const struct transport rival_python_pool_apply;
extern const struct transport rival_python_executor;

static inline bool transport_is_ours(const struct transport *transport)
{
	return transport->ours;
}

static inline bool transport_is_built(const struct transport *transport)
{
	return !transport->package || transport->built;
}

static inline int transport_attach(const struct transport *transport,
				   struct lane *lane, bool writes)
{
	return transport->attach ? transport->attach(lane, writes) : 0;
}

/* By name among the rivals, or NULL. */
const struct transport *rival_find(const char *name);

/* The slots that our queue has by default for messages of spec->bytes, and
 * their size, into @spec. */
void shmbus_geometry(struct spec *spec);

/* The memory of one direction of our pipe, of the profile that is
 * spec->variant, into @spec. */
void pipe_geometry(struct spec *spec);

/* Our pool as a transport's tasks; what is killed, in both. */
extern const struct task_ops pool_tasks;
extern const struct crash_ops pool_crash;
extern const struct crash_ops coord_crash;

/* What was taken over from the dead on @bus, for the reports. */
struct bus;
struct shares;
void shmbus_note_again(struct bus *bus, struct shares *shares);

/* An unnamed bus that waits as @spec says.  On failure sets @out and returns
 * -1. */
int shmbus_create(const struct spec *spec, struct bus **bus,
		  struct outcome *out);

/* Whether there can be a bus that waits as the environment says: 0 or -errno,
 * -EINVAL if that says nonsense. */
int shmbus_try(void);

/* Whether io_uring can be used for waiting; if not, why not. */
bool shmbus_has_uring(const char **why);

#endif
