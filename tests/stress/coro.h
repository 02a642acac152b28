/*
 * coro.h - coroutines for the schedule explorers: simulated processes that go
 * on where the scheduler says, and can be left for good at any point
 *
 * One thread.  Who includes this must undefine _FORTIFY_SOURCE before any
 * header: its longjmp() knows only one stack.
 */
#ifndef TESTS_CORO_H
#define TESTS_CORO_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <ucontext.h>

#define CORO_STACK_BYTES (48 * 1024)

struct coro {
	bool started;
	jmp_buf at;
	ucontext_t start;
	char *stack;
};

static jmp_buf coro_scheduler;

/* Forget where it was; it keeps its stack, which it gets here. */
static inline void coro_init(struct coro *c)
{
	c->started = false;
	if (!c->stack)
		c->stack = malloc(CORO_STACK_BYTES);
	if (!c->stack)
		abort();
}

/* In the coroutine: to the scheduler, and on from here another time. */
static inline void coro_pause(struct coro *c)
{
	if (!_setjmp(c->at))
		_longjmp(coro_scheduler, 1);
}

/* In the coroutine: to the scheduler for the last time. */
__attribute__((noreturn)) static inline void coro_end(void)
{
	_longjmp(coro_scheduler, 1);
}

/* Never returns: the coroutine goes back to the scheduler by longjmp(). */
static inline void coro_enter(struct coro *c, void (*fn)(void))
{
	if (c->started)
		_longjmp(c->at, 1);
	c->started = true;
	getcontext(&c->start);
	c->start.uc_stack.ss_sp = c->stack;
	c->start.uc_stack.ss_size = CORO_STACK_BYTES;
	c->start.uc_link = NULL;
	makecontext(&c->start, fn, 0);
	setcontext(&c->start);
}

/* In the scheduler: let it run until it pauses or ends. */
static inline void coro_run(struct coro *c, void (*fn)(void))
{
	if (!_setjmp(coro_scheduler))
		coro_enter(c, fn);
}

#endif
