/*
 * process.h - what /proc says about a process
 *
 * A pid alone may be somebody else's by now: with the start time that the bus
 * has noted it is the process that was meant, or proof that it is gone.
 */
#ifndef ADM_PROCESS_H
#define ADM_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum process_state {
	PROCESS_UNKNOWN, /* not asked, hidden, or of another machine */
	PROCESS_RUNNING, /* R: or could */
	PROCESS_ASLEEP,  /* S, I */
	PROCESS_BLOCKED, /* D: in the kernel, no signal gets through */
	PROCESS_STOPPED, /* T: SIGSTOP */
	PROCESS_TRACED,  /* t: a debugger has it */
	PROCESS_ZOMBIE,  /* dead, and its parent has not noticed */
	PROCESS_DEAD     /* no such process, or the pid is another's now */
};

#define PROCESS_COMMAND_BYTES 128u

struct process {
	enum process_state state;
	pid_t pid, parent;
	uint64_t start_time; /* ticks since boot */
	uint64_t cpu_ns;     /* user and system time */
	uint64_t rss_bytes;
	uint32_t n_threads;
	uid_t uid;
	/* its arguments with blanks between, or its name if it has none; any
	 * bytes, then a NUL */
	char command[PROCESS_COMMAND_BYTES];
};

/*
 * process_read - the process @pid that started at @start_time (0: whenever)
 *
 * Always fills @p.
 */
void process_read(struct process *p, pid_t pid, uint64_t start_time);

/* Has it an io_uring?  1, 0, or -errno: we may not look. */
int process_has_ring(pid_t pid);

/* No instruction of it will run again, or none until somebody helps. */
static inline int process_is_dead(const struct process *p)
{
	return p->state == PROCESS_ZOMBIE || p->state == PROCESS_DEAD;
}

static inline int process_is_stopped(const struct process *p)
{
	return p->state == PROCESS_STOPPED || p->state == PROCESS_TRACED;
}

/*
 * The processes of another pid namespace, a container: what they are called
 * there and here.
 */
struct process_name {
	uint32_t there;
	pid_t here;
};

struct process_names {
	struct process_name *at;
	size_t n, room;
	bool all; /* none was hidden from us */
};

/* process_names - find those of the namespace with this inode: 0 or -ENOMEM */
int process_names(struct process_names *names, uint64_t pid_ns);
void process_names_free(struct process_names *names);

/* What @there is called here, or 0. */
pid_t process_here(const struct process_names *names, uint32_t there);

/* "running", "asleep", ... */
const char *process_word(enum process_state state);

#endif
