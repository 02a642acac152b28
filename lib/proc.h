/*
 * proc.h - processes: fork, identity, proof of death
 *
 * A process is known by its pid together with its start time; a pid alone may
 * be somebody else's tomorrow.  Death is proven by a pidfd or by the absence
 * of that pair, never guessed from time: a stopped process is not dead.
 */
#ifndef SB_PROC_H
#define SB_PROC_H

#include <sys/types.h>

#include "lib/def.h"

/*
 * Counts the forks between this process and the one that loaded us.  Whoever
 * keeps private state that must not be used in a forked child (an endpoint, a
 * ring, a lock) remembers the number and compares: one load, where getpid()
 * is a system call.
 */
extern uint32_t sb_fork_gen;

/* Counts the forks that this process has made.  While it stands still, nobody
 * else has a copy of what was made since. */
extern uint32_t sb_forks_made;

/* Registers the fork handler; call before the first use of sb_fork_gen.
 * Idempotent, any thread. */
void sb_proc_init(void);

/* Who a process is; start_time is in clock ticks since boot (field 22 of
 * /proc/PID/stat). */
struct sb_proc_id {
	uint32_t pid;
	uint64_t start_time; /* 0: unknown */
};

/* This process.  Never fails; start_time is 0 where /proc is missing. */
struct sb_proc_id sb_proc_self(void);

/* The process that has @pid now; start_time is 0 where it cannot be read. */
struct sb_proc_id sb_proc_of(pid_t pid);

/* Inode of our pid namespace, and of our time namespace: in another one the
 * same process has another start time.  0 where /proc or such a thing is
 * missing. */
uint64_t sb_proc_pid_ns(void);
uint64_t sb_proc_time_ns(void);

/*
 * sb_proc_open - a pidfd (CLOEXEC) of exactly that process
 *
 * Returns the descriptor, or -ESRCH when it is dead or a zombie (proof), or
 * another -errno when nothing could be proven (-EMFILE, -ENOSYS, -ENOENT where
 * /proc hides it; -EINVAL for pid 0, which is nobody).
 */
int sb_proc_open(struct sb_proc_id id);

/* True only when it is proven that @id is dead or a zombie.  A process whose
 * main thread has ended while others run is neither. */
bool sb_proc_dead(struct sb_proc_id id);

/* How a child ended; {-1, 0} when somebody else reaped it. */
struct sb_proc_exit {
	int exit_status; /* of exit(), or -1 */
	int signal;      /* that killed it, or 0 */
};

/* A child that we forked. */
struct sb_proc {
	pid_t pid;
	int pidfd; /* readable once it is dead */
};

/*
 * sb_proc_fork - fork a child that dies with us
 *
 * In the child @fn runs and its value becomes the exit status; the child
 * never returns from here and runs no atexit handler.  It gets SIGKILL when
 * the thread that forked it ends (PR_SET_PDEATHSIG), also when that happened
 * before it could ask for it.
 *
 * Returns 0 or -errno (-EAGAIN, -ENOMEM, -EMFILE); on error there is no child,
 * but where the pidfd was what failed, @fn may have run a little in one.
 */
int sb_proc_fork(struct sb_proc *p, int (*fn)(void *arg), void *arg);

/*
 * sb_proc_die_with_parent - ask again for the SIGKILL when our parent ends
 *
 * Who: a child of sb_proc_fork().  The kernel forgets the wish when a process
 * changes its user, its group or its capabilities.  If the parent has ended
 * meanwhile it does not return.
 */
void sb_proc_die_with_parent(void);

/* Send @sig to exactly that child: never to another that got its pid.  0 or
 * -errno. */
int sb_proc_kill(const struct sb_proc *p, int sig);

/*
 * sb_proc_reap - take the exit status of a dead child and close the pidfd
 *
 * @how: may be NULL
 *
 * Returns 0, -EAGAIN while it lives, or -ECHILD when it was reaped before.
 */
int sb_proc_reap(struct sb_proc *p, struct sb_proc_exit *how);

#endif
