/*
 * shmbus.h - the whole public interface of the bus
 *
 * Processes on one Linux machine exchange messages through lock-free rings in
 * shared memory.  A bus is one piece of such memory; on it live channels:
 * queues (one way, many writers, many readers, each message to exactly one),
 * pipes (two ends, messages of any size, the fastest of them) and request
 * rings (a coordinator, its workers, one result a request).  bus_wait() waits
 * for any number of them at once, and for descriptors and timers.
 *
 * Any process may be killed at any instruction: nobody hangs, nothing that was
 * accepted is lost, no result is delivered twice.
 *
 * Calls return 0 or a count on success and -errno on failure; errno itself is
 * not part of the interface.  These values always mean the same:
 *
 *	-EAGAIN      would have to wait, and timeout_ns was 0
 *	-ETIMEDOUT   timeout_ns went by
 *	-EPIPE       the channel is closed (and, for a reader, drained)
 *	-EBADF       this end of a pipe is not ours, or we have closed it
 *	-EOWNERDEAD  who it was of is dead: the writer of a pipe, in the middle
 *	             of a message; the creator of a bus that shall be opened
 *	-EMSGSIZE    a message or a buffer is too large or too small; nothing
 *	             was sent, or the message is still there
 *	-EPROTO      shared memory says something impossible: a peer is broken
 *	             or hostile; a message like that is dropped and counted
 *	-EINTR       a signal handler ran (only with BUS_F_EINTR)
 *	-EINVAL      an argument or a setting is out of its range
 *	-E2BIG       a config has a setting that this library does not know
 *	-EUSERS      max_endpoints are attached, and one more is wanted; any
 *	             call that is the first one of a forked child may say it
 *	-ENAMETOOLONG
 *	             the name of a bus has more than 200 bytes, or that of a
 *	             channel more than 47
 *
 * Names have at least one byte.  That of a bus is the name of a file: it does
 * not begin with '.' and has no '/' and no control characters; else -EINVAL.
 * That of a channel may have any bytes.
 *
 * _bytes are bytes, _ns are nanoseconds of CLOCK_MONOTONIC, n_ is a count.
 * timeout_ns is 0 to try once, negative to wait without limit.
 *
 * Threads and fork.  A struct bus is one endpoint: one thread's end of the
 * bus.  It and all that was opened through it (queues, pipes, coordinators) are
 * used by one thread at a time; another thread takes its own with bus_attach().
 * After fork() the child may go on using the bus, queues and pipes that it
 * inherited: at its first call it silently becomes an endpoint of its own; that
 * call says -EUSERS when there is no room for one more.  Messages on loan to
 * the parent stay the parent's, and so do the ends of pipes that it has used.
 * Coordinators and pools, with their futures and imaps, stay the parent's too:
 * in the child their calls say -EINVAL, and bus_coord_stop() and
 * bus_pool_free() only free its copy.
 *
 * The library starts no thread, installs no signal handler, prints nothing,
 * and opens no descriptor without O_CLOEXEC.
 */
#ifndef SHMBUS_H
#define SHMBUS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define BUS_API __attribute__((visibility("default")))
#else
#define BUS_API
#endif

#define BUS_VERSION "0.1.0"

/* The version of the library that is running, as "0.1.0". */
BUS_API const char *bus_version(void);

/* ------------------------------------------------------------------ bus -- */

struct bus; /* one endpoint of a bus; opaque */

/* How an endpoint sleeps.  The environment variable BUS_WAIT (auto, uring or
 * futex) decides where the config says BUS_WAIT_AUTO. */
enum bus_wait_mode {
	BUS_WAIT_AUTO,  /* io_uring where it helps and is allowed, else futex */
	BUS_WAIT_URING, /* io_uring, or an error where it is not to be had */
	BUS_WAIT_FUTEX  /* never io_uring */
};

/* What an endpoint does before it sleeps. */
enum bus_spin {
	BUS_SPIN_ADAPTIVE, /* spin while cores are free, else yield; then sleep */
	BUS_SPIN_ALWAYS,   /* never sleep: lowest latency, a core for each */
	BUS_SPIN_NEVER     /* sleep at once: least processor time */
};

#define BUS_F_EINTR 1u /* a signal handler that runs while a call sleeps ends
			* it with -EINTR, mostly: see below */
#define BUS_F_ANY_OWNER 2u /* bus_open: accept another user's bus */
#define BUS_F_FENCE 4u /* bus_create: do without membarrier(2), for a bus that
			* is opened by processes which may not call it; costs
			* some ten ns a message */
#define BUS_F_ORPHAN 8u /* bus_open: a bus whose creator is dead, and no other:
			 * to take what is left in it */

/*
 * BUS_F_EINTR is for programs whose handlers want a call to come back some
 * time: of a signal that comes again, say.  A single one may go unnoticed, and
 * the call goes on to its end:
 *
 *	- before the call sleeps, or between two sleeps: while it spins, yields
 *	  or looks at what woke it; so always with BUS_SPIN_ALWAYS, where it
 *	  never sleeps;
 *	- as a sleep of limited length ends.  How long they are is nobody's
 *	  business, but without io_uring an endpoint that watches processes (has
 *	  workers, a pool or pipes) or waits for descriptors sleeps 1 to 50 ms at
 *	  a time, and then many a signal may be missed.
 *
 * To be sure of each signal, block it, and let bus_wait() wait for a
 * signalfd(2) as well (BUS_POLL_FD), or for a pipe(2) that the handler writes
 * to: what is in there stays until it is read.
 */

/*
 * Settings of bus_create() and bus_open().  Fields are only ever added at the
 * end; size tells the library which ones the caller was compiled with.  A
 * field left zero takes its default.
 */
struct bus_config {
	size_t size; /* set by BUS_CONFIG_INIT */

	/* This endpoint; both calls. */
	uint32_t wait;        /* enum bus_wait_mode */
	uint32_t spin;        /* enum bus_spin */
	uint32_t spin_max_ns; /* most that adaptive spins; default 50000 */
	uint32_t flags;       /* BUS_F_*; unknown bits give -EINVAL */

	/* The bus; bus_create() only. */
	uint32_t mode;          /* permissions of a named bus; default 0600 */
	uint32_t max_endpoints; /* 2 .. 254; default 128 */
	uint64_t channel_bytes; /* room for channels; memory is taken only for
				 * what is made and used; default 1 GiB */
	uint64_t max_message_bytes; /* default 1 MiB */
	uint64_t blob_bytes; /* room for messages that are larger than a slot;
			      * default 16 MiB, at least 4 of the largest */
};
#define BUS_CONFIG_INIT { sizeof(struct bus_config), 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/*
 * bus_create - make a bus and become its first endpoint
 * @name:   others open it by this name; NULL for a bus that only forked
 *          children share, which leaves nothing behind whatever happens
 * @config: NULL for all defaults
 *
 * A name can be opened for as long as the creating process lives and has the
 * bus open: its last bus_close() removes the name, and what it leaves when it
 * is killed is opened by nobody (but see BUS_F_ORPHAN) and replaced by the next
 * bus_create() of that name.
 *
 * The memory is there for as long as anybody is attached.  Those who are go on
 * with each other, whatever became of creator and name, and what they put is
 * got by them alone: a bus_create() that takes the name makes another bus, and
 * nothing passes from one to the other.  Nobody is told, and a queue does not
 * know that nobody reads it any more; bus_stats() says what became of the name.
 *
 * Hence a service that is restarted, and that shall lose nothing, closes the
 * queues of the bus that it left, which ends its clients' puts with -EPIPE,
 * takes what they had put, and makes a new one:
 *
 *	config.flags = BUS_F_ORPHAN;
 *	if (bus_open(name, &config, &old) == 0) {
 *		bus_queue_open(old, "jobs", &queue_config, &q);
 *		bus_queue_close(q);
 *		while (bus_queue_get(q, buf, cap, &n, timeout_ns) == 0)
 *			handle(buf, n);
 *		bus_close(old);
 *	}
 *	config.flags = 0;
 *	bus_create(name, &config, &bus);
 *
 * (-EPIPE ends the loop when all is taken.  The queue is opened with a config,
 * so that nobody makes it later.)  A client that is told -EPIPE, or whose call
 * timed out and whose bus is no longer BUS_NAME_LIVE, closes it, and opens the
 * name again until that works: until then it is -EOWNERDEAD or -ENOENT.
 *
 * Returns 0, or
 *   -EEXIST  a live process created a bus of that name
 *   -EACCES  the name is taken by another user's file
 *   -ENOSPC, -ENOMEM  no room: make blob_bytes or channel_bytes smaller, or
 *            /dev/shm larger
 *   -EMFILE, -ENFILE, -EFBIG, ... from the kernel
 *   -ENOSYS, -EPERM, ...  BUS_WAIT_URING, and there is no usable io_uring
 *   -EINVAL, -E2BIG, -ENAMETOOLONG
 */
BUS_API int bus_create(const char *name, const struct bus_config *config,
		       struct bus **bus);

/*
 * bus_open - attach to a bus by name
 *
 * Returns 0, or
 *   -ENOENT  no bus of that name
 *   -EOWNERDEAD  there is one, and its creator is dead: see bus_create()
 *   -EBUSY   with BUS_F_ORPHAN: its creator lives
 *   -EPERM   it is another user's (see BUS_F_ANY_OWNER) or anybody may write it
 *   -EPROTO  it is no bus, or made by another version of this library
 *   -EXDEV   it was created in another pid or time namespace, so that deaths
 *            could not be told
 *   -EUSERS  max_endpoints are attached
 *   -ENOSYS, -EPERM  we may not use membarrier(2), and the bus was created
 *            without BUS_F_FENCE
 *   and as bus_create()
 */
BUS_API int bus_open(const char *name, const struct bus_config *config,
		     struct bus **bus);

/*
 * bus_attach - one more endpoint of @bus, for another thread
 *
 * Who: any thread of the process, while nobody closes @bus.  The new endpoint
 * has the settings of @bus.  Returns 0, -EUSERS or -ENOMEM.
 */
BUS_API int bus_attach(struct bus *bus, struct bus **mine);

/*
 * bus_close - leave the bus
 *
 * The last one in the process that created a named bus removes the name; who is
 * attached goes on undisturbed.
 *
 * Frees what this endpoint holds: leased messages go to others, loans that were
 * not committed are dropped.  Queues, coordinators and pools of this handle
 * must have been freed before.  NULL does nothing.
 */
BUS_API void bus_close(struct bus *bus);

/*
 * bus_unlink - remove what a killed creator left
 *
 * Returns 0, -ENOENT, -EBUSY when its creator is alive, or -EACCES.
 */
BUS_API int bus_unlink(const char *name);

/*
 * bus_reap - look for dead processes and recover what they held
 *
 * Blocked calls do this by themselves a few times a second, and a
 * coordinator learns of its workers' deaths at once.  Only a program that
 * never blocks (timeout_ns always 0) needs to call it.
 *
 * Returns how many endpoints were found dead.
 */
BUS_API int bus_reap(struct bus *bus);

/* Where the name now leads by which a bus was created or opened. */
enum bus_name_state {
	BUS_NAME_UNKNOWN,  /* it could not be found out: there is no descriptor
			    * to be had, or we have given up the right to */
	BUS_NAME_NONE,     /* the bus has no name */
	BUS_NAME_LIVE,     /* to this bus, and its creator lives */
	BUS_NAME_ORPHANED, /* to this bus, and its creator is dead */
	BUS_NAME_GONE,     /* nowhere: the creator has closed the bus, or is
			    * dead and somebody has removed what it left */
	BUS_NAME_REPLACED  /* to another bus, which was created since */
};

/*
 * bus_stats - sums over all endpoints, living and dead
 *
 * Read without stopping anybody.  For name, which is of this moment, it makes
 * some system calls.  Returns 0 or -EINVAL; in a forked child that calls the
 * bus for the first time also as bus_attach().
 */
struct bus_stats {
	size_t size; /* set by BUS_STATS_INIT */
	uint32_t n_endpoints; /* also of those whom nobody found dead yet */
	uint32_t n_channels;
	uint64_t bytes;       /* of the segment */
	uint64_t n_put;       /* messages, requests, results published */
	uint64_t n_got;       /* messages, requests, results taken */
	uint64_t n_parks;     /* times somebody slept */
	uint64_t n_yields;
	uint64_t n_deaths;    /* endpoints recovered */
	uint64_t n_redelivered; /* messages taken over from the dead */
	uint64_t n_quarantined; /* requests given up after max_attempts */
	uint64_t n_rejected;  /* times shared memory said the impossible */
	uint64_t blob_bytes;  /* of the pool */
	uint64_t blob_bytes_used;
	char wait[8];         /* "uring" or "futex": how this endpoint sleeps */
	uint32_t name;        /* enum bus_name_state */
	uint32_t reserved;    /* 0 */
};
#define BUS_STATS_INIT                                                    \
	{ sizeof(struct bus_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, \
	  "", 0, 0 }
BUS_API int bus_stats(struct bus *bus, struct bus_stats *stats);

/* ---------------------------------------------------------------- queue -- */

struct bus_queue; /* opaque */

/* task_done() is called for each message; bus_queue_join() waits for all. */
#define BUS_QUEUE_JOINABLE 1u
/* Only the dead are passed: strict order, but a writer that is stopped in the
 * middle of a put stops all readers until it goes on or dies. */
#define BUS_QUEUE_STRICT 2u

struct bus_queue_config {
	size_t size;         /* set by BUS_QUEUE_CONFIG_INIT */
	uint32_t n_slots;    /* most messages in it; power of two, 2 .. 2^20;
			      * default: 64 KiB of slots, at least 64 */
	uint32_t slot_bytes; /* messages up to this lie in the slot itself,
			      * larger ones in the blob pool; 4088 at most,
			      * less than 8 is taken as 8; default 56.
			      * 8 or 24 or 56 use memory best. */
	uint32_t flags;      /* BUS_QUEUE_* */
};
#define BUS_QUEUE_CONFIG_INIT { sizeof(struct bus_queue_config), 0, 0, 0 }

/*
 * bus_queue_open - open a queue, and make it if there is none of that name
 * @name:   1 .. 47 bytes; other channels of the bus must not have it
 * @config: NULL to open only what exists; else used if it must be made (an
 *          existing queue keeps its own settings)
 *
 * Returns 0, or
 *   -ENOENT  there is none and @config is NULL
 *   -ENOSPC  channel_bytes of the bus are used up, or its 256 channels
 *   -EEXIST  the name belongs to another kind of channel
 *   -ENAMETOOLONG  the name has more than 47 bytes
 *   -EINVAL, -E2BIG, -ENOMEM, -EPROTO
 */
BUS_API int bus_queue_open(struct bus *bus, const char *name,
			   const struct bus_queue_config *config,
			   struct bus_queue **queue);

/* Free the handle; the queue stays.  Messages that this handle holds are
 * given back, loans dropped.  NULL does nothing. */
BUS_API void bus_queue_free(struct bus_queue *queue);

/*
 * bus_queue_put - append one message
 *
 * Memory: @buf is copied.  When the call returns 0 the message is in shared
 * memory: the caller may exit or be killed and it will be delivered.
 *
 * Returns 0, -EAGAIN (full), -ETIMEDOUT, -EPIPE, -EMSGSIZE (larger than
 * max_message_bytes), -EPROTO, -EINTR.
 */
BUS_API int bus_queue_put(struct bus_queue *queue, const void *buf,
			  size_t len_bytes, int64_t timeout_ns);

/*
 * bus_queue_get - take the oldest message that nobody has
 * @len_bytes: its length; may be NULL
 *
 * Returns 0, -EAGAIN (empty), -ETIMEDOUT, -EPIPE (closed, and every message
 * was taken and finished), -EMSGSIZE (*@len_bytes is the size needed; the
 * message stays first for this endpoint), -EPROTO, -EINTR.
 */
BUS_API int bus_queue_get(struct bus_queue *queue, void *buf, size_t cap_bytes,
			  size_t *len_bytes, int64_t timeout_ns);

/*
 * bus_queue_put_many - append up to @n messages of @msg_bytes each, which lie
 * one after the other
 *
 * Waits until there is room for at least one.  Returns how many were taken, at
 * least 1 (0 only for n 0), or as bus_queue_put().
 */
BUS_API int bus_queue_put_many(struct bus_queue *queue, const void *msgs,
			       size_t msg_bytes, size_t n, int64_t timeout_ns);

/*
 * bus_queue_get_many - take up to @n messages that are there
 * @lens_bytes: the length of each; may be NULL when all have msg_bytes
 *
 * Message i is copied to msgs + i * msg_bytes.  Waits until there is at least
 * one.  Stops before a message that is larger (or, without @lens_bytes, not
 * equal): as the first it gives -EMSGSIZE and stays.  Killed in here, those of
 * this call may come again to the next one who opens this side.
 *
 * Returns how many, at least 1 (0 only for n 0), or as bus_queue_get().
 */
BUS_API int bus_queue_get_many(struct bus_queue *queue, void *msgs,
			       size_t msg_bytes, size_t n, size_t *lens_bytes,
			       int64_t timeout_ns);

/* A message in shared memory, on loan or leased.  Only data and len_bytes may
 * be used; of a lease the data may also be written, it is the holder's. */
struct bus_msg {
	void *data;
	size_t len_bytes;
	uint32_t attempts; /* readers that died holding it, 63 at most */
	uint32_t cell;     /* private */
	uint64_t pos;      /* private */
};

/*
 * bus_queue_loan - room for a message of @len_bytes, to be written in place
 *
 * Then commit (which publishes it; len_bytes may have been made smaller) or
 * cancel.  An endpoint may have several loans.  A message on loan has its
 * place in the queue if it fits a slot, so that readers wait for it a moment
 * before they go past it; do not sit on it.
 *
 * Returns as bus_queue_put().  commit returns 0, -EINVAL for a message that is
 * not on loan or has grown out of its room; and for one larger than a slot,
 * which gets its place only now and may have to wait for it, -EPIPE (it is
 * dropped) or -EINTR (it is still on loan).
 */
BUS_API int bus_queue_loan(struct bus_queue *queue, size_t len_bytes,
			   struct bus_msg *msg, int64_t timeout_ns);
BUS_API int bus_queue_commit(struct bus_queue *queue, struct bus_msg *msg);
BUS_API int bus_queue_cancel(struct bus_queue *queue, struct bus_msg *msg);

/*
 * bus_queue_peek - take a message and read it where it lies
 *
 * The message is leased: nobody else gets it, until bus_queue_release()
 * finishes it or bus_queue_give_back() lets another have it.  If the holder
 * dies, another gets it.  An endpoint may hold several; each keeps a slot.
 *
 * Returns as bus_queue_get(); release and give_back return 0 or -EINVAL.
 */
BUS_API int bus_queue_peek(struct bus_queue *queue, struct bus_msg *msg,
			   int64_t timeout_ns);
BUS_API int bus_queue_release(struct bus_queue *queue, struct bus_msg *msg);
BUS_API int bus_queue_give_back(struct bus_queue *queue, struct bus_msg *msg);

/*
 * bus_queue_close - no more puts, for anybody
 *
 * From now on every put gives -EPIPE.  Readers get what is there, then -EPIPE,
 * each of them and at every call.  A reader that holds nothing waits for
 * messages that others still hold, because a death would hand them to it.
 */
BUS_API int bus_queue_close(struct bus_queue *queue);

/* As close, but what nobody has taken yet is thrown away.  Returns 0, or
 * -EPROTO when what is there makes no sense; it is closed all the same. */
BUS_API int bus_queue_abort(struct bus_queue *queue);

/*
 * bus_queue_task_done - the oldest message that this endpoint got is done
 *
 * On a joinable queue a message that was got stays leased until then, so that
 * a death hands it to another reader and join does not wait for ever.
 *
 * Returns 0, or -EINVAL when there is none or the queue is not joinable.
 */
BUS_API int bus_queue_task_done(struct bus_queue *queue);

/*
 * bus_queue_join - wait until every message that was put is done
 *
 * Returns 0, -EAGAIN, -ETIMEDOUT, -EINTR, or -EINVAL (not joinable).
 */
BUS_API int bus_queue_join(struct bus_queue *queue, int64_t timeout_ns);

struct bus_queue_stats {
	size_t size; /* set by BUS_QUEUE_STATS_INIT */
	uint32_t n_slots;
	uint32_t slot_bytes;
	uint32_t n_waiting; /* messages that nobody has taken */
	uint32_t n_held;    /* leased or being written */
	uint32_t closed;    /* 1 closed, 2 aborted */
	uint32_t flags;
	uint64_t n_put;     /* positions claimed since the beginning */
};
#define BUS_QUEUE_STATS_INIT \
	{ sizeof(struct bus_queue_stats), 0, 0, 0, 0, 0, 0, 0 }
BUS_API int bus_queue_stats(struct bus_queue *queue,
			    struct bus_queue_stats *stats);

/* ----------------------------------------------------------------- pipe -- */

/*
 * A pipe has two ends, side 0 and side 1.  A duplex pipe carries messages both
 * ways, a simplex one from side 0 to side 1.  Messages have any size and keep
 * their borders and their order.  Each direction has one writer and one reader,
 * and two slots between them: while one is read the other is written.
 *
 * Whose an end is.  A struct bus_pipe is one end as this process sees it.  The
 * end belongs to the endpoint that uses it first: any call but bus_pipe_stats()
 * is a use.  So after a fork parent and child each just use their end, and need
 * not close the other: no inherited copy keeps anything open.  To use an end
 * that belongs to another process, or thread, is -EBADF.  An end that nobody
 * has used yet counts as its maker's, and is gone when that is gone.
 *
 * The end of it.  When an end is closed or its owner is dead, the other can
 * receive what was sent, and then gets -EPIPE, at once and at every call; its
 * sends get -EPIPE, also one that is blocked.  Who waits learns of a death at
 * once, by the kernel, not by time.  A message that is complete in the pipe is
 * not lost with its writer; one that its writer died in the middle of is never
 * seen: instead of it bus_pipe_recv() says -EOWNERDEAD, once.
 *
 * A side of a *named* pipe that was closed, or whose owner died, may be opened
 * again while the other side goes on.  The new reader begins where the old one
 * was; a message that this one was killed in the middle of taking is delivered
 * again, or, if it went in parts, is lost.  In parts goes what does not fit in
 * what is used of a slot when it is sent: send_bytes of bus_pipe_stats(), which
 * in an adaptive pipe begins with 8 KiB.  Who cannot lose a message that is
 * larger takes another profile, or sends it again.  When both sides are gone
 * the pipe is gone, with what was in it.
 */
struct bus_pipe; /* one end; opaque */

/* How much of a slot is used before the writer turns to the other one.  Small
 * slots stay in the first cache, large ones let a stream run ahead. */
enum bus_pipe_profile {
	BUS_PIPE_ADAPTIVE, /* small, and larger while the reader is behind */
	BUS_PIPE_LATENCY,  /* 8 KiB */
	BUS_PIPE_STREAM    /* 2 or 4 MiB, by the machine's caches */
};

#define BUS_PIPE_SIMPLEX 1u /* side 0 sends, side 1 receives */

struct bus_pipe_config {
	size_t size;      /* set by BUS_PIPE_CONFIG_INIT */
	uint32_t profile; /* enum bus_pipe_profile */
	uint32_t flags;   /* BUS_PIPE_SIMPLEX; unknown bits give -EINVAL */
	uint64_t slot_bytes; /* most of a slot; power of two, 256 .. 64 MiB;
			      * default: the profile's, and for ADAPTIVE less
			      * where the bus has no room for that */
};
#define BUS_PIPE_CONFIG_INIT { sizeof(struct bus_pipe_config), 0, 0, 0 }

/*
 * bus_pipe - make a pair of ends, for a forked child or another thread
 * @config: NULL for all defaults
 * @a, @b:  side 0 and side 1
 *
 * Then fork: the child uses one of them, the parent the other.  To learn of a
 * child that dies before it has used its end, hand it over or let
 * bus_pipe_spawn() do it all.
 *
 * When the bus is full, ends that nobody will come for are taken back: one that
 * nobody has used and of which we have freed our handle, if we have no children
 * any more, or if the other end is gone and had sent nothing; and a named pipe
 * whose only side is gone and had sent nothing.
 *
 * Returns 0, or
 *   -ENOSPC  channel_bytes of the bus are used up, or its 256 channels, or
 *            /dev/shm is full
 *   -EINVAL, -E2BIG, -ENOMEM, -EBUSY (another process is adding a channel, is
 *            not dead, and does not get on with it), -EPROTO
 */
BUS_API int bus_pipe(struct bus *bus, const struct bus_pipe_config *config,
		     struct bus_pipe **a, struct bus_pipe **b);

/*
 * bus_pipe_hand_over - this end shall be that process's
 * @pid: a child that has inherited the handle and was not waited for
 *
 * Its death is noticed from now on, also before its first call.  The end may
 * have been used here before, if no message is half sent or half received.
 * Frees the handle of this process, unless it fails.
 *
 * Returns 0 (also when the child has begun to use it already, has given it
 * away, or is dead), -EBADF, -EBUSY (a message is on loan or under way),
 * -EINVAL.
 */
BUS_API int bus_pipe_hand_over(struct bus_pipe *pipe, pid_t pid);

/*
 * bus_pipe_move - this end shall be another thread's
 * @to: an endpoint of this process on the same bus, which nobody uses just now
 *
 * For an end that nobody has used yet.  Returns 0, -EBADF or -EINVAL.
 */
BUS_API int bus_pipe_move(struct bus_pipe *pipe, struct bus *to);

/*
 * bus_pipe_ref  - what another process of the bus needs to use this end
 * bus_pipe_take - use it
 *
 * For an end that nobody has used yet, to be sent in a message: to a worker of
 * a pool, say, of which nobody knows the pid before.  Whoever takes it first
 * has it; until then it counts as its maker's.  The handle of which it was
 * asked is freed as usual, and that closes nothing any more: also not if the
 * message gets lost with a task that is canceled.  Then close the other end,
 * and what is left is taken back when room is short.
 *
 * ref returns 0, -EBADF (it is somebody's) or -EINVAL.  take returns 0, -EBADF
 * (somebody has it, or had), -EPIPE (its maker is gone), -EINVAL (it is no such
 * thing), -ENOMEM, -EPROTO.
 */
struct bus_pipe_ref {
	uint32_t channel; /* private */
	uint32_t side;
	uint64_t instance;
};
BUS_API int bus_pipe_ref(struct bus_pipe *pipe, struct bus_pipe_ref *ref);
BUS_API int bus_pipe_take(struct bus *bus, const struct bus_pipe_ref *ref,
			  struct bus_pipe **pipe);

/*
 * bus_pipe_spawn - fork a child that has the other end
 * @fn:   runs in the child with side 1; its value is the exit status
 * @mine: side 0
 * @pid:  may be NULL; the caller waits for it with waitpid(2)
 *
 * The child gets SIGKILL when the thread that made it ends.  After @fn it
 * leaves the bus and ends, without atexit handlers and without a flush of
 * stdio; its end of the pipe is closed then, and however else it ends.  Its
 * exit status is 125 when it could not become an endpoint.
 *
 * Returns as bus_pipe(), or why there is no child (-EAGAIN, -EMFILE, ...).
 */
BUS_API int bus_pipe_spawn(struct bus *bus,
			   const struct bus_pipe_config *config,
			   int (*fn)(void *ctx, struct bus_pipe *end),
			   void *ctx, struct bus_pipe **mine, pid_t *pid);

/*
 * bus_pipe_open - open one side of a named pipe, and make it if there is none
 * @name:   1 .. 47 bytes; other channels of the bus must not have it
 * @config: NULL to open only what exists; else used if it must be made (an
 *          existing pipe keeps its own settings)
 * @side:   0 or 1
 *
 * It does not wait for the other side: what is sent before that is opened waits
 * in the pipe.
 *
 * Returns 0, or
 *   -ENOENT  there is none and @config is NULL
 *   -EBUSY   that side is somebody's who lives; or as bus_pipe()
 *   -EEXIST  the name belongs to another kind of channel
 *   -ENAMETOOLONG  the name has more than 47 bytes
 *   and as bus_pipe()
 */
BUS_API int bus_pipe_open(struct bus *bus, const char *name,
			  const struct bus_pipe_config *config, int side,
			  struct bus_pipe **pipe);

/*
 * bus_pipe_close - close one direction of our end, or both
 * @which: BUS_PIPE_SEND, BUS_PIPE_RECV or both
 *
 * After SEND the peer receives what was sent, then -EPIPE.  After RECV its
 * sends get -EPIPE and what we have not received is dropped.  Our own calls in
 * that direction get -EBADF.  To close twice is fine.
 *
 * The copy of an end that nobody has used, in a process that has forked since
 * or did not make it, may be meant for a child or a parent: then only the copy
 * is closed, unless it was handed over to this process.
 */
#define BUS_PIPE_SEND 1u
#define BUS_PIPE_RECV 2u
BUS_API int bus_pipe_close(struct bus_pipe *pipe, unsigned which);

/* Close both directions and free the handle.  NULL does nothing. */
BUS_API void bus_pipe_free(struct bus_pipe *pipe);

/*
 * bus_pipe_send - send one message of any size
 *
 * Memory: @buf is copied.  When the call returns 0 the message is in shared
 * memory: the caller may exit or be killed and it will be delivered.
 *
 * A message larger than what is used of a slot (send_bytes of
 * bus_pipe_stats()) goes in parts, while the peer receives.  When it fails in
 * the middle (-ETIMEDOUT, -EINTR, -EAGAIN) nothing of it will be seen.  With
 * timeout_ns 0 such a one can succeed only if the two slots have room for all
 * of it; bus_pipe_loan() can go on where it was.
 *
 * Returns 0, -EAGAIN (full), -ETIMEDOUT, -EPIPE (the peer has closed its end,
 * or does not receive any more, or is dead), -EBADF, -EBUSY (a message is on
 * loan, half sent, or being exchanged), -EPROTO, -EINTR.
 */
BUS_API int bus_pipe_send(struct bus_pipe *pipe, const void *buf,
			  size_t len_bytes, int64_t timeout_ns);

/*
 * bus_pipe_recv - receive the oldest message
 * @len_bytes: its length; may be NULL
 *
 * When time is up in the middle of a message that comes in parts, what is there
 * is kept and the next call goes on with it.  With timeout_ns 0 that is when
 * what was there at the call has been received, however fast more comes.
 *
 * Returns 0, or
 *   -EAGAIN, -ETIMEDOUT, -EINTR  no (whole) message was there
 *   -EPIPE       the end: the peer has closed or is dead, and all that it sent
 *                was received
 *   -EMSGSIZE    the buffer is too small: *@len_bytes is the size needed and
 *                the message stays
 *   -EOWNERDEAD  the peer died in the middle of this message; then -EPIPE
 *   -EBADF       not ours, or closed by us, or the sending side of a simplex
 *   -EBUSY       the middle of a message that was begun with bus_pipe_peek()
 *   -ENOMEM      no memory to keep what is there of a message: it is lost
 *   -EPROTO
 */
BUS_API int bus_pipe_recv(struct bus_pipe *pipe, void *buf, size_t cap_bytes,
			  size_t *len_bytes, int64_t timeout_ns);

/*
 * bus_pipe_send_many - send up to @n messages of @msg_bytes each, which lie one
 * after the other
 *
 * Waits until there is room for at least one.  Short ones are published some at
 * a time, up to about a KiB; killed in here, the first so many are sent, each
 * whole.  Returns how many were sent, at least 1 (0 only for n 0), or as
 * bus_pipe_send().
 */
BUS_API int bus_pipe_send_many(struct bus_pipe *pipe, const void *msgs,
			       size_t msg_bytes, size_t n, int64_t timeout_ns);

/*
 * bus_pipe_recv_many - receive up to @n messages that are there
 * @lens_bytes: the length of each; may be NULL when all have msg_bytes
 *
 * Message i is copied to msgs + i * msg_bytes.  Waits until there is at least
 * one.  Stops before a message that is larger (or, without @lens_bytes, not
 * equal): as the first it gives -EMSGSIZE and stays.
 *
 * Returns how many, at least 1 (0 only for n 0), or as bus_pipe_recv().
 */
BUS_API int bus_pipe_recv_many(struct bus_pipe *pipe, void *msgs,
			       size_t msg_bytes, size_t n, size_t *lens_bytes,
			       int64_t timeout_ns);

/*
 * bus_pipe_exchange - send one message and receive one, in one wait
 *
 * Whichever can go on goes on.  So two peers that both do it never wait for
 * each other, however large their messages are; two that both send first do,
 * as soon as what they send does not fit the slots.
 *
 * Called again with the same message after -ETIMEDOUT, -EAGAIN or -EINTR it
 * goes on: what was sent is not sent again, and what was received is not lost.
 * So it does after -EMSGSIZE (*@in_bytes are needed, and what has come stays)
 * with a larger buffer.  bus_pipe_recv() instead receives what has come, now
 * or later; bus_pipe_cancel() gives the exchange up.
 *
 * Returns 0 when both are done, or as bus_pipe_send() and bus_pipe_recv()
 * (after -EBUSY nothing was sent: also a message is in the way of which a part
 * was released, and whose rest may still come), or -EINVAL for another
 * out_bytes than that of the exchange that is under way. After -EPIPE of a peer
 * that does not receive any more, what it has sent can still be received, also
 * what this call had received by then.
 */
BUS_API int bus_pipe_exchange(struct bus_pipe *pipe, const void *out,
			      size_t out_bytes, void *in, size_t cap_bytes,
			      size_t *in_bytes, int64_t timeout_ns);

/* A piece of a message in shared memory: the whole of it if it fits a slot.
 * Only data and len_bytes may be used, and of a loan they may be written. */
struct bus_part {
	void *data;
	size_t len_bytes;
	size_t offset_bytes; /* of this part in the message */
	size_t total_bytes;  /* of the message */
	uint64_t priv[2];    /* private */
};

/*
 * bus_pipe_loan   - room for the next part of a message of @total_bytes
 * bus_pipe_commit - publish that part
 * bus_pipe_cancel - drop the loan, or the message of which parts were sent
 *
 * A message that fits a slot is one part, and may be made shorter (len_bytes)
 * before it is committed.  A larger one takes several rounds, all with the same
 * total, until offset + len is total; a part's length is what loan says, or
 * less.  One part is on loan at a time.  A message that is cancelled in the
 * middle is never seen.
 *
 *	for (size_t done = 0; done < total; done += part.len_bytes) {
 *		bus_pipe_loan(pipe, total, &part, -1);
 *		fill(part.data, part.len_bytes, part.offset_bytes);
 *		bus_pipe_commit(pipe, &part);
 *	}
 *
 * loan returns as bus_pipe_send(), and after -EAGAIN or -ETIMEDOUT it may be
 * called again for the same part; or -EBUSY when a part is on loan, or -EINVAL
 * for another total than that of the message which is half sent.  commit
 * returns 0, -EPIPE (the message is dropped), -EBADF, or -EINVAL for a part
 * that is not on loan or has grown.  cancel returns 0, also when there is
 * nothing to cancel, or -EBADF.
 */
BUS_API int bus_pipe_loan(struct bus_pipe *pipe, size_t total_bytes,
			  struct bus_part *part, int64_t timeout_ns);
BUS_API int bus_pipe_commit(struct bus_pipe *pipe, struct bus_part *part);
BUS_API int bus_pipe_cancel(struct bus_pipe *pipe);

/*
 * bus_pipe_peek    - the next part of the oldest message, where it lies
 * bus_pipe_release - done with that part
 *
 * Until release, peek says the same again, and bus_pipe_recv() may still take
 * a message of which no part was released.  The message is over when offset +
 * len is total.  A part with offset 0 that comes before that begins a new
 * message: the writer gave up the other.
 *
 * peek returns as bus_pipe_recv(); release returns 0, -EBADF, or -EINVAL for a
 * part that is not what peek said last.
 */
BUS_API int bus_pipe_peek(struct bus_pipe *pipe, struct bus_part *part,
			  int64_t timeout_ns);
BUS_API int bus_pipe_release(struct bus_pipe *pipe, struct bus_part *part);

/*
 * bus_pipe_poll - is there something to receive?
 *
 * Returns 0 when bus_pipe_recv() would do something: there is a message, or a
 * part of one, or the end, or an error to tell.  Else -EAGAIN, -ETIMEDOUT,
 * -EINTR or -EBADF.
 */
BUS_API int bus_pipe_poll(struct bus_pipe *pipe, int64_t timeout_ns);

enum bus_pipe_peer {
	BUS_PIPE_PEER_NONE,     /* has not used or opened its end yet */
	BUS_PIPE_PEER_RESERVED, /* the same, and its end was handed over */
	BUS_PIPE_PEER_OPEN,
	BUS_PIPE_PEER_CLOSED,
	BUS_PIPE_PEER_DEAD
};

struct bus_pipe_stats {
	size_t size; /* set by BUS_PIPE_STATS_INIT */
	uint32_t side;
	uint32_t flags;      /* BUS_PIPE_SIMPLEX */
	uint32_t profile;    /* enum bus_pipe_profile */
	uint32_t open;       /* BUS_PIPE_SEND, BUS_PIPE_RECV: our directions */
	uint32_t peer_open;  /* the same of the peer */
	uint32_t peer_state; /* enum bus_pipe_peer */
	int32_t peer_pid;    /* of who has, had or shall have it; 0 unknown */
	uint32_t reserved;
	uint64_t slot_bytes; /* most of a slot */
	uint64_t send_bytes; /* of a slot that are used now, to the peer */
	uint64_t recv_bytes; /* and from the peer; 0 no such direction */
	uint64_t n_sent;     /* messages by this side since it was made */
	uint64_t n_received;
};
#define BUS_PIPE_STATS_INIT \
	{ sizeof(struct bus_pipe_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
BUS_API int bus_pipe_stats(struct bus_pipe *pipe,
			   struct bus_pipe_stats *stats);

/* ---------------------------------------------------- request and result -- */

struct bus_coord; /* a coordinator with its workers; opaque */
struct bus_reply; /* the result under construction; opaque */

/*
 * A worker's function: reads the request, fills the reply, returns 0; or
 * returns another number, which reaches the caller together with the text of
 * bus_reply_error().
 *
 * Memory: @req lies in shared memory and is the handler's until it returns.
 */
typedef int (*bus_handler)(void *ctx, const void *req, size_t len_bytes,
			   struct bus_reply *reply);

/*
 * bus_reply_put - the result is a copy of @buf
 * bus_reply_room - room for a result of @len_bytes, to be written in place
 *
 * Who: the handler.  The last call counts.  Returns 0, -EMSGSIZE (larger than
 * result_bytes of the coordinator), in a pool -ENOMEM (it takes any size, but
 * there is no memory for it), or -EINVAL (in a child that the handler has
 * forked: its parent answers); bus_reply_room() NULL then.
 */
BUS_API int bus_reply_put(struct bus_reply *reply, const void *buf,
			  size_t len_bytes);
BUS_API void *bus_reply_room(struct bus_reply *reply, size_t len_bytes);

/* The text that goes with a handler's error; printf-like, cut to what fits. */
BUS_API void bus_reply_error(struct bus_reply *reply, const char *format, ...)
#if defined(__GNUC__)
	__attribute__((format(printf, 2, 3)))
#endif
	;

/* How many workers died running this request before: 0 the first time. */
BUS_API uint32_t bus_reply_attempts(const struct bus_reply *reply);

struct bus_coord_config {
	size_t size;            /* set by BUS_COORD_CONFIG_INIT */
	bus_handler handler;    /* must be set */
	void *ctx;              /* given to the handler */
	int (*init)(void *ctx); /* in each new worker; not 0: it leaves */
	uint32_t n_workers;     /* 1 .. 200; default 1 */
	uint32_t window;        /* most requests outstanding, but for those that
				 * bus_submit() put aside; power of two,
				 * 2 .. 2^16; default 1024 */
	uint32_t request_bytes; /* requests up to this lie in the slot, larger
				 * ones in the blob pool; at most 2040,
				 * default 16 */
	uint32_t max_attempts;  /* workers that may die on one request; 1 .. 60,
				 * default 3 */
	uint64_t result_bytes;  /* largest result; room for it is set aside
				 * before a request is accepted, so that a
				 * worker never waits for it; default: what
				 * the slot has left, at least 8 */
	uint64_t backoff_ns;    /* before a worker is replaced that died within
				 * a second of its start; doubles each time,
				 * to a second; default 1 ms */
	uint32_t flags;         /* 0 */
	uint32_t reserved;      /* not looked at */
	uint64_t prefetch;      /* requests that a worker takes at once, at
				 * most; 1 .. 64, default 1; see below */
};
#define BUS_COORD_CONFIG_INIT \
	{ sizeof(struct bus_coord_config), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/*
 * Prefetch is for requests that take less than it costs to hand one over, a
 * microsecond or so, in numbers: a worker takes as many as it finds, up to that
 * and up to its share (what is there, divided by n_workers, rounded up), and
 * never waits for more.  It answers one after the other, each as soon as it is
 * done.  But a request that was taken goes to nobody else while its worker
 * lives: a slow one, or one that hangs, holds up those behind it, though others
 * are idle.  Leave it at 1 where requests may take long, or unequally long.
 *
 * When a worker dies only the request that it was at has one attempt more;
 * those that it had not begun go to others as if nobody had had them.
 */

/*
 * bus_coord_start - fork workers and get ready to send them requests
 * @name: of the request ring on the bus
 *
 * The calling thread's process becomes their parent.  They end when it ends
 * (also by SIGKILL, within 100 ms) or when the thread does that forked them.
 * One in which a task has changed user or group ends when that task is over.
 * A worker is replaced when it dies, while the coordinator is in one of the
 * calls below.
 *
 * Returns 0, -EEXIST (the name is taken), -ENOSPC, -EUSERS (more workers than
 * the bus has endpoints), -EAGAIN or -EMFILE (fork), -EINVAL, -E2BIG, -ENOMEM,
 * -EPROTO.
 */
BUS_API int bus_coord_start(struct bus *bus, const char *name,
			    const struct bus_coord_config *config,
			    struct bus_coord **coord);

/*
 * bus_coord_stop - finish what was submitted, end the workers, free all
 * @timeout_ns: when it is over, workers that are still busy are killed
 *
 * Results that were not collected are dropped; so are requests for which no
 * worker is left and none is started any more (-ECHILD).  A caller that has
 * changed its user may not kill its workers any more: they are left alone, and
 * end when the request that they are at is over.  Returns 0, or -ETIMEDOUT when
 * workers had to be killed.  NULL does nothing.
 */
BUS_API int bus_coord_stop(struct bus_coord *coord, int64_t timeout_ns);

/*
 * bus_submit - hand one request to whichever worker is free first
 * @id: chosen by the caller, returned in the result
 *
 * When the window is full, or the blob pool, it says -EAGAIN with timeout_ns 0;
 * else it waits for a request to complete, and puts that result aside until it
 * is collected: so who only submits does not wait for himself.
 *
 * Memory: @buf is copied.  With timeout_ns 0 there is never more than the
 * window; results that are put aside take memory of this process, as much as
 * the caller submits with a wait and does not collect.
 *
 * Returns 0, -EAGAIN, -ETIMEDOUT, -EMSGSIZE (larger than max_message_bytes),
 * -ENOMEM, -ECHILD (as of bus_collect(): nothing more is accepted), -EPROTO,
 * -EINTR.
 */
BUS_API int bus_submit(struct bus_coord *coord, uint64_t id, const void *buf,
		       size_t len_bytes, int64_t timeout_ns);

/*
 * bus_submit_many - hand over up to @n requests of @req_bytes each, which lie
 * one after the other
 * @ids: one for each
 *
 * Waits until there is room for at least one, as bus_submit(), and puts results
 * aside for that only if there is none: for up to 64 of them.  Workers are
 * woken once for all of them.
 *
 * Returns how many went, at least 1 (0 only for n 0), or as bus_submit().
 */
BUS_API int bus_submit_many(struct bus_coord *coord, const uint64_t *ids,
			    const void *reqs, size_t req_bytes, size_t n,
			    int64_t timeout_ns);

enum bus_result_kind {
	BUS_RESULT_OK,    /* data is the handler's result */
	BUS_RESULT_ERROR, /* code is what the handler returned, data its text */
	BUS_RESULT_DEATH  /* max_attempts workers died on it; data is the
			   * request */
};

struct bus_result {
	uint64_t id;
	uint32_t kind;     /* enum bus_result_kind */
	int32_t code;      /* ERROR: the handler's; DEATH: -EOWNERDEAD */
	uint32_t attempts; /* workers that died on it */
	int32_t pid;         /* DEATH: the last of them, 0 if unknown */
	int32_t signal;      /* that killed it, or 0 */
	int32_t exit_status; /* it exited with, or -1 */
	const void *data;
	size_t len_bytes;
};

/*
 * bus_collect     - the result of the oldest request, in order of submission
 * bus_collect_any - the result of any request that is done
 *
 * Memory: result->data is valid until the next call with this coordinator
 * that collects or stops.
 *
 * Returns 0, -EAGAIN, -ETIMEDOUT, -ENODATA (no request is outstanding), -EINTR,
 * or -ECHILD: ten workers in a row died at once with no request in hand, or
 * failed in init (SIGKILL does not count), and no more are started.
 */
BUS_API int bus_collect(struct bus_coord *coord, struct bus_result *result,
			int64_t timeout_ns);
BUS_API int bus_collect_any(struct bus_coord *coord, struct bus_result *result,
			    int64_t timeout_ns);

/*
 * bus_collect_many     - the results of the oldest requests, as far as they are
 *                        done, in order of submission
 * bus_collect_many_any - the results of any requests that are done
 *
 * Up to @n, or as many as 256 KiB have room for; waits until there is at least
 * one.  They hold up nothing: their places in the window are free again.
 *
 * Memory: as of bus_collect(), for all of them.
 *
 * Returns how many, at least 1 (0 only for n 0), or as bus_collect().
 */
BUS_API int bus_collect_many(struct bus_coord *coord,
			     struct bus_result *results, size_t n,
			     int64_t timeout_ns);
BUS_API int bus_collect_many_any(struct bus_coord *coord,
				 struct bus_result *results, size_t n,
				 int64_t timeout_ns);

/* Requests that were submitted and not yet collected, with those whose results
 * were put aside. */
BUS_API size_t bus_coord_outstanding(const struct bus_coord *coord);

/* The pids of the workers that live now, up to @n.  Returns how many live. */
BUS_API int bus_coord_workers(struct bus_coord *coord, pid_t *pids, size_t n);

/* ----------------------------------------------------------------- pool -- */

/*
 * A pool of forked workers runs tasks: each is a request to one of the
 * functions that the workers have in common.  Work goes to whoever is free.
 *
 * However a task ends, its future completes: with the function's result or
 * error, as canceled, as late, or as what killed too many workers.  A worker
 * that dies, hangs or leaks costs nobody but its own task: the task runs again
 * elsewhere (up to max_attempts times, so a function should bear to run twice),
 * and the worker is replaced.
 *
 * A pool and its futures belong to the thread that started it.  Tasks are
 * handed on, workers replaced, deadlines kept and callbacks called while that
 * thread is in a call of the pool, of a future, or in bus_wait() with one of
 * its futures.  A submit looks at what has come only when as much is on its way
 * as the workers need: who does nothing but submit, now and then, should call
 * bus_future_done() as well, or wait for something.
 */
struct bus_pool;   /* opaque */
struct bus_future; /* the result of one task, once it has come; opaque */

struct bus_pool_config {
	size_t size;                 /* set by BUS_POOL_CONFIG_INIT */
	const bus_handler *handlers; /* what tasks run, by index; must be set;
				      * the table is copied */
	uint32_t n_handlers;
	uint32_t n_workers; /* 1 .. 200; default: the processors that we may
			     * use, or as many as the bus has endpoints for */
	void *ctx;          /* given to handlers, init and exit */
	/* In each new worker; not 0: it failed, and @error is for its text, of
	 * up to 256 bytes with the NUL.  After the third failure in a row the
	 * pool is broken. */
	int (*init)(void *ctx, char *error, size_t error_bytes);
	void (*exit)(void *ctx); /* in a worker that leaves, not if it dies */
	uint32_t window;         /* most tasks submitted and not over; power of
				  * two, 2 .. 2^16; default 1024 */
	uint32_t task_bytes;     /* requests up to this lie in the slot, larger
				  * ones, up to 16 bytes less than
				  * max_message_bytes, in a cell; at most
				  * 1024, default 24 */
	uint32_t max_attempts;   /* workers that may die on a task; 1 .. 60,
				  * default 3 */
	uint32_t max_tasks_per_worker; /* then it is replaced; 0: never */
	int32_t soft_signal; /* to a worker whose task is late or canceled;
			      * default SIGTERM, -1: none */
	uint32_t wait, spin; /* of workers: enum bus_wait_mode, bus_spin; 0: as
			      * the endpoint's */
	uint32_t flags;      /* 0 */
	uint64_t grace_ns;   /* from telling it to the soft signal, and from
			      * that to SIGKILL; default 100 ms */
	uint64_t backoff_ns; /* as in struct bus_coord_config */
};
#define BUS_POOL_CONFIG_INIT \
	{ sizeof(struct bus_pool_config), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/*
 * bus_pool_start - fork workers
 * @name: of the pool on the bus, for bus_pool_stats()
 *
 * Returns 0, -EEXIST (the name is taken), -ENOSPC (room for the ring or for a
 * worker's pipe), -EUSERS (more workers than the bus has endpoints), -EAGAIN or
 * -ENOMEM (fork, memory), -EMFILE or -ENFILE (descriptors), -EINVAL, -E2BIG,
 * -EBUSY (another process adds a channel and does not get on), -EPROTO.  Then
 * no worker is left.
 */
BUS_API int bus_pool_start(struct bus *bus, const char *name,
			   const struct bus_pool_config *config,
			   struct bus_pool **pool);

/*
 * bus_pool_close     - accept no more tasks; those that were will run
 * bus_pool_join      - wait until all are over and the workers have left
 * bus_pool_terminate - kill the workers now; what is not over is canceled
 *
 * join is for a pool that was closed or terminated or is broken, else it says
 * -EBUSY.  Its time-out changes nothing: it can be called again.  A worker that
 * somebody has stopped (SIGSTOP) is waited for until it goes on: give join a
 * time-out, and terminate.  For workers that may not be killed see
 * bus_coord_stop().  close and terminate return 0, also the second time; join
 * 0, -EAGAIN, -ETIMEDOUT, -EINTR, -EBUSY.
 */
BUS_API int bus_pool_close(struct bus_pool *pool);
BUS_API int bus_pool_join(struct bus_pool *pool, int64_t timeout_ns);
BUS_API int bus_pool_terminate(struct bus_pool *pool);

/* Terminate if it was not joined, and free all; also the futures and imaps that
 * were not freed: they must not be used any more.  Callbacks that were not
 * called yet are called.  Never in a callback, nor in the source of an imap:
 * the call that they are called from goes on with the pool.  NULL does
 * nothing. */
BUS_API void bus_pool_free(struct bus_pool *pool);

/*
 * bus_pool_scale - have @n_workers from now on
 *
 * More are forked at once; those who are too many leave when they have done
 * what they have in hand.  Returns 0, -EINVAL, -EUSERS (more than the bus has
 * endpoints), -EPIPE (closed), -ECHILD (broken); or -EAGAIN, -ENOMEM (fork),
 * -EMFILE, -ENFILE (a descriptor), -ENOSPC (room for a worker's pipe): then it
 * is as it shall be, and those who are missing are tried again.
 */
BUS_API int bus_pool_scale(struct bus_pool *pool, uint32_t n_workers);

/* Why calls say -ECHILD: what init said, or how workers died.  "" else. */
BUS_API const char *bus_pool_error(const struct bus_pool *pool);

/* How futures complete, beside enum bus_result_kind.  data is a text, or
 * empty. */
enum {
	BUS_RESULT_CANCELED = 3, /* code -ECANCELED */
	BUS_RESULT_TIMEOUT,      /* code -ETIMEDOUT */
	BUS_RESULT_BROKEN        /* code -ECHILD, data as bus_pool_error() */
};

/* The lane of a task.  A lower lane gets one task for each 8 of those above
 * it, so that it is never starved. */
enum bus_priority { BUS_PRIORITY_NORMAL, BUS_PRIORITY_HIGH, BUS_PRIORITY_LOW };

/* How to run a task; all zero is fine. */
struct bus_task_config {
	size_t size;       /* set by BUS_TASK_CONFIG_INIT */
	uint32_t priority; /* enum bus_priority */
	uint32_t flags;    /* 0 */
	int64_t limit_ns;  /* from submit on; then it completes as TIMEOUT, is
			    * not run any more, and a worker that runs it is
			    * told, signaled, killed; 0: no limit */
	/*
	 * Called when the future is complete, in a call of the owner's.  It may
	 * submit and cancel, and free that future if no call waits for it, but
	 * not wait (-EDEADLK).
	 * What it returns concerns nobody: a count of those that were not 0 is
	 * in the statistics.
	 */
	int (*done)(void *ctx, struct bus_future *future,
		    const struct bus_result *result);
	void *ctx;
};
#define BUS_TASK_CONFIG_INIT { sizeof(struct bus_task_config), 0, 0, 0, 0, 0 }

/*
 * bus_pool_submit - give the pool a task
 * @handler: index of the function in the config's table
 * @config:  NULL for all defaults
 * @future:  to be freed with bus_future_free(); or NULL: then it is freed when
 *           it is complete, and the callback was called
 *
 * When the window is full it waits; so memory stays bounded, by the window and
 * by the futures that the caller keeps.
 *
 * While tasks are short and the workers have some, the next ones are handed on
 * in runs: when there are enough (64 at most), or with the next call of this
 * process on the bus that is of the pool and no submit, or sleeps; but with a
 * submit, and with one that returns a result which is there already, only if a
 * worker sleeps for want of tasks.  Who submits and then is busy elsewhere for
 * long calls bus_future_done() first, of any future.  With BUS_SPIN_ALWAYS each
 * task is handed on at once.
 *
 * Memory: @buf is copied.
 *
 * Returns 0, -EAGAIN, -ETIMEDOUT, -EMSGSIZE (larger than max_message_bytes),
 * -EPIPE (closed), -ECHILD (broken: bus_pool_error()), -EDEADLK (it would have
 * to wait in a callback), -EINVAL, -E2BIG, -ENOMEM, -EPROTO, -EINTR.
 */
BUS_API int bus_pool_submit(struct bus_pool *pool, uint32_t handler,
			    const void *buf, size_t len_bytes,
			    const struct bus_task_config *config,
			    struct bus_future **future, int64_t timeout_ns);

/*
 * bus_pool_apply - submit and wait for the result
 *
 * Memory: result->data is valid until the next apply or until the pool is
 * freed.  When time is up the task is canceled: -ETIMEDOUT.  Returns as
 * bus_pool_submit() and bus_future_get().
 */
BUS_API int bus_pool_apply(struct bus_pool *pool, uint32_t handler,
			   const void *buf, size_t len_bytes,
			   struct bus_result *result, int64_t timeout_ns);

/* Is it complete?  1 or 0; does not wait, but makes progress if it is not. */
BUS_API int bus_future_done(struct bus_future *future);

/*
 * bus_future_wait - wait until it is complete
 * bus_future_get  - and say how
 *
 * get returns 0 for every kind of completion: look at result->kind.  It can be
 * called again, also after -ETIMEDOUT.  result->id is the task's number, in
 * order of submission, from 1 on.
 *
 * Memory: result->data is valid until the future is freed.
 *
 * Returns 0, -EAGAIN, -ETIMEDOUT, -EINTR, -EDEADLK (in a callback).
 */
BUS_API int bus_future_wait(struct bus_future *future, int64_t timeout_ns);
BUS_API int bus_future_get(struct bus_future *future,
			   struct bus_result *result, int64_t timeout_ns);

/*
 * bus_future_cancel - the task shall not run, or stop
 *
 * The future completes at once as CANCELED.  A worker that runs it is told
 * (bus_reply_canceled()), then gets the soft signal, then is killed and
 * replaced.  Returns 0, or -EALREADY when it was complete.
 */
BUS_API int bus_future_cancel(struct bus_future *future);

/* Free it; a task that is not over goes on, and its result is dropped.  NULL
 * does nothing. */
BUS_API void bus_future_free(struct bus_future *future);

/* How an item of a map ended. */
struct bus_map_item {
	uint32_t kind; /* of struct bus_result */
	int32_t code;
	size_t len_bytes; /* of its result in the array */
	uint32_t attempts;
	int32_t pid, signal, exit_status;
	char text[96]; /* of an error, cut to that */
};

struct bus_map_config {
	size_t size;       /* set by BUS_MAP_CONFIG_INIT */
	size_t chunk;      /* items a task, as long as they fit a message;
			    * default for a map: so that each worker gets
			    * four; for imap: 1 */
	uint32_t priority; /* enum bus_priority */
	uint32_t window;   /* imap: most items pulled and not yet returned by
			    * next; default: the pool's */
	int64_t limit_ns;  /* of each chunk, from when it is submitted on; and
			    * once more of its items, if they are tried one
			    * by one after it killed its workers */
	struct bus_map_item *items; /* map: n of them, to be filled; or NULL */
};
#define BUS_MAP_CONFIG_INIT { sizeof(struct bus_map_config), 0, 0, 0, 0, 0 }

/*
 * bus_pool_map - run a function on each element of an array
 * @in:  @n elements of @in_bytes
 * @out: @n elements of @out_bytes, in the same order; a result that is shorter
 *       leaves the rest of its element as it was, one that is longer fails
 *       with -EMSGSIZE
 *
 * All chunks end before it returns.  An item that fails, or kills its worker
 * time and again, fails alone, not its chunk.
 *
 * Returns how many items failed (0: all is well; see config->items), or
 * -ETIMEDOUT (what was not over is canceled), or as bus_pool_submit().
 */
BUS_API int bus_pool_map(struct bus_pool *pool, uint32_t handler,
			 const void *in, size_t in_bytes, void *out,
			 size_t out_bytes, size_t n,
			 const struct bus_map_config *config,
			 int64_t timeout_ns);

struct bus_imap; /* opaque */

/*
 * The input of an imap, called when there is room for more: 1 and an item,
 * which must stay there until the next call; 0 at the end; or -errno, which is
 * said by bus_imap_next() in its place, and is the end.
 */
typedef int (*bus_source)(void *ctx, const void **item, size_t *len_bytes);

/*
 * bus_pool_imap           - run a function on all items of a source; results in
 *                           the order of the items
 * bus_pool_imap_unordered - as they come
 *
 * At most window items are on their way, so the source may be without end.
 * Several may be open at a time, none after the pool was freed.  Returns 0, or
 * as bus_pool_submit().
 */
BUS_API int bus_pool_imap(struct bus_pool *pool, uint32_t handler,
			  bus_source source, void *ctx,
			  const struct bus_map_config *config,
			  struct bus_imap **imap);
BUS_API int bus_pool_imap_unordered(struct bus_pool *pool, uint32_t handler,
				    bus_source source, void *ctx,
				    const struct bus_map_config *config,
				    struct bus_imap **imap);

/*
 * bus_imap_next - the next result; result->id is the number of its item, from
 * 0 on
 *
 * Memory: result->data is valid until the next call with this imap.
 *
 * Returns 0, -ENODATA at the end, -EAGAIN or -ETIMEDOUT (call again), -EINTR,
 * -EDEADLK, what the source said, or as bus_pool_submit(): an item that is too
 * large ends it as well.
 */
BUS_API int bus_imap_next(struct bus_imap *imap, struct bus_result *result,
			  int64_t timeout_ns);

/* Cancel what is on its way, and free it.  NULL does nothing. */
BUS_API void bus_imap_free(struct bus_imap *imap);

/*
 * In a handler of a pool:
 * bus_reply_canceled - shall it stop?  One load; also false in no pool
 * bus_reply_bus      - the worker's endpoint, to open queues and pipes with
 */
BUS_API int bus_reply_canceled(const struct bus_reply *reply);
BUS_API struct bus *bus_reply_bus(const struct bus_reply *reply);

enum bus_worker_state {
	BUS_WORKER_NONE, /* there is none now */
	BUS_WORKER_IDLE,
	BUS_WORKER_BUSY,
	BUS_WORKER_TOLD, /* busy, and its task is late or canceled */
	BUS_WORKER_DEAD  /* it has ended, and the owner has not looked since;
			  * task is what it was at, and queued again, if any */
};

struct bus_worker_stats {
	int32_t pid;
	uint32_t state;    /* enum bus_worker_state */
	uint64_t task;     /* number of the task in hand */
	uint32_t handler;  /* and its function */
	uint32_t n_deaths; /* of workers in this place, and ... */
	uint64_t n_done;   /* ... tasks done by them */
	uint64_t since_ns; /* CLOCK_MONOTONIC, some ms coarse: when it took it */
	uint64_t reserved[3]; /* 0 */
};

struct bus_pool_stats {
	size_t size; /* set by BUS_POOL_STATS_INIT */
	uint32_t n_workers;   /* that it shall have */
	uint32_t n_places;    /* entries of workers[] there can be */
	uint64_t n_submitted; /* the sum of all that follow, as long as nobody
			       * submits meanwhile */
	uint64_t n_queued;    /* not in a living worker's hand */
	uint64_t n_running;
	uint64_t n_ok;
	uint64_t n_failed;      /* ERROR */
	uint64_t n_quarantined; /* DEATH */
	uint64_t n_canceled;    /* also by terminate, or as it was broken */
	uint64_t n_timed_out;
	uint64_t n_deaths; /* not of that sum: of workers; */
	uint64_t n_respawns;
	uint64_t n_callbacks_failed;
};
#define BUS_POOL_STATS_INIT \
	{ sizeof(struct bus_pool_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/*
 * bus_pool_stats - what a pool does just now
 * @workers: room for @n entries, or NULL
 *
 * For any endpoint of the bus, by the pool's name; stops nobody, and works when
 * the pool hangs, until it was joined or freed or its owner has died.  Who is
 * dead is asked of the kernel, for the owner and each worker, so that it is
 * right though nobody has found out yet; it does not recover them.
 *
 * Returns how many of @workers were filled, or -ENOENT (no such pool, or its
 * owner is dead), -EPROTO, -EINVAL.
 */
BUS_API int bus_pool_stats(struct bus *bus, const char *name,
			   struct bus_pool_stats *stats,
			   struct bus_worker_stats *workers, size_t n);

/* ----------------------------------------------------------------- wait -- */

struct bus_poll;

enum bus_poll_kind {
	BUS_POLL_NONE,  /* is never ready: an item that is not in use */
	BUS_POLL_QUEUE, /* on.queue */
	BUS_POLL_PIPE,  /* on.pipe */
	BUS_POLL_COORD, /* on.coord */
	BUS_POLL_FD,    /* fd */
	BUS_POLL_TIMER, /* at_ns */
	BUS_POLL_FUTURE /* on.future */
};

/*
 *	        IN                       OUT
 *	QUEUE   a get would not wait     a put of what fits a slot would not
 *	PIPE    a recv would not wait    a send of up to 1/4 slot would not
 *	COORD   a result is there        a submit that may wait would not
 *	FD      POLLIN of poll(2)        POLLOUT
 *	TIMER   at_ns has come
 *	FUTURE  it is complete
 *
 * (bus_pipe_stats() tells how much of a slot is in use.)  A message counts as
 * there from its first part on.
 *
 * ERR and HUP come unasked.  HUP: a queue is closed and drained, the peer of a
 * pipe has closed its end or died, a descriptor's POLLHUP.  ERR: a queue is
 * closed for puts, the peer of a pipe does not receive any more, a handle
 * cannot be used (-EBADF, -EPROTO, -ECHILD: the call says which), a
 * descriptor's POLLERR or POLLNVAL.  IN and OUT come with them where they were
 * asked for and a call would not wait, but fail.
 */
#define BUS_POLL_IN  1u
#define BUS_POLL_OUT 2u
#define BUS_POLL_ERR 4u
#define BUS_POLL_HUP 8u

struct bus_poll {
	uint32_t kind;   /* enum bus_poll_kind */
	uint32_t events; /* BUS_POLL_IN, BUS_POLL_OUT: what is waited for */
	uint32_t ready;  /* what has come; set by bus_wait() for every item */
	int fd;
	uint64_t at_ns; /* of CLOCK_MONOTONIC */
	union {
		struct bus_queue *queue;
		struct bus_pipe *pipe;
		struct bus_coord *coord;
		struct bus_future *future;
	} on;
};

/*
 * bus_wait - wait until something of many is ready
 * @bus: the endpoint through which all queues, pipes, coordinators were opened
 *
 * Level-triggered: what is still ready at the next call is ready again.  Other
 * endpoints may be faster, so a call on what is ready may have to wait after
 * all: use timeout_ns 0 where that must not be.  While it waits for a
 * coordinator, that one's workers are looked after; for a future, its pool is.
 *
 * Returns how many items are ready, at least 1; or -EAGAIN, -ETIMEDOUT, -EINTR,
 * -ENOMEM, or -EINVAL: an item of another endpoint, of no kind, or with events
 * that its kind does not have.
 */
BUS_API int bus_wait(struct bus *bus, struct bus_poll *items, size_t n,
		     int64_t timeout_ns);

#ifdef __cplusplus
}
#endif

#endif
