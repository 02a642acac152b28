/*
 * step.h - let a process do so many instructions, and kill or stop it there
 *
 * The victim is forked by the test, or by somebody whom the test knows.  It
 * offers itself and stops; the tracer seizes it, lets it go on by single steps
 * with ptrace(2), and kills it, or stops it, or lets it go.  Both should run on
 * one CPU: a step takes 20 us there and 80 us across two of them.
 */
#ifndef TEST_SUPPORT_STEP_H
#define TEST_SUPPORT_STEP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* May this process trace another? */
bool t_may_trace(void);

/* Is @pid blocked in the kernel?  *@nr is the system call, -1 if unknown. */
bool t_blocked(pid_t pid, long *nr);

/* Does it sleep as the waiter does, in futex(2) or io_uring_enter(2)? */
bool t_parked(pid_t pid);

/* In the victim: *@pid is our pid, and we stop as soon as *@seized is set.
 * Every instruction from here on counts. */
void t_step_offer(_Atomic int32_t *pid, const _Atomic uint32_t *seized);

/* Trace @victim, which offers itself, and wait until it has stopped.  Returns
 * 0 or -errno. */
int t_step_seize(pid_t victim, _Atomic uint32_t *seized);

/* How a step ended, and so how to kill. */
enum t_stop {
	T_STEPPED, /* one instruction is done */
	T_BLOCKED, /* it sleeps in the kernel */
	T_ENDED,   /* by itself */
	T_HANGS    /* only a SIGKILL helps */
};

/*
 * t_step - one instruction of @victim, which has stopped
 * @blocked: called each time that a signal interrupts us while the victim is
 *           blocked in a system call, so let a timer tick: T_STEPPED to wait
 *           on, anything else is returned
 *
 * A string instruction with a REP is one step, whatever its count: it writes
 * bytes that are nobody's but the victim's, so its middle is as its beginning.
 *
 * Returns an enum t_stop, or -errno.
 */
int t_step(pid_t victim, enum t_stop (*blocked)(void *arg), void *arg);

/* Where @victim, which has stopped, is: the address of its next instruction. 0
 * where that cannot be told. */
uint64_t t_step_pc(pid_t victim);

/*
 * t_step_on - @to - @from instructions of @victim, which has done @from
 * @pc: where it was after so many of them, in an earlier run that was the same
 *
 * As so many steps, but a thousand times faster where there are breakpoints: it
 * runs to the place that is cheapest to find, and does only the rest by steps.
 * Where it does something else this time it may run too far, or until @blocked
 * says to stop.
 *
 * Returns as t_step().
 */
int t_step_on(pid_t victim, const uint64_t *pc, long from, long to,
	      enum t_stop (*blocked)(void *arg), void *arg);

/*
 * t_step_kill - SIGKILL @victim, whose last step ended so, wait until it is
 * dead, and if it is @our_child reap it
 *
 * Its parent hears of the death at once, also when that is not us.  Returns 0
 * or -errno.
 */
int t_step_kill(pid_t victim, enum t_stop stop, bool our_child);

/*
 * t_step_let_go - trace @victim, whose last step ended so, no longer
 *
 * It goes on as if it had never been traced.  Returns 0, -ESRCH when it has
 * ended meanwhile and is reaped, or another -errno.
 */
int t_step_let_go(pid_t victim, enum t_stop stop);

/*
 * t_step_stop - the same with a SIGSTOP, and wait until it has stopped
 *
 * So a SIGCONT, which removes a SIGSTOP that is still on its way, comes after
 * it.  Returns as t_step_let_go().
 */
int t_step_stop(pid_t victim, enum t_stop stop);

/* How the victim ended of which a call here said T_ENDED or -ESRCH, and so
 * reaped it.  As t_wait(). */
int t_step_status(void);

/*
 * t_each_cpu - run @shard once on each CPU that we may use, all at once, in
 * forked processes; @arg is the same for all
 *
 * Returns whether all of them returned 0.
 */
bool t_each_cpu(int (*shard)(void *arg), void *arg);

#endif
