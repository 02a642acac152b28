/*
 * walk.c - bring a victim to where it is to be killed or stopped; see walk.h
 */
#include "config.h"

#include <stdlib.h>

#include "tests/support/proc.h"
#include "tools/torture/point.h"
#include "tools/torture/walk.h"

/* What a point takes, and a step. */
#define POINT_NS (5 * SB_NS_PER_MS)
#define STEP_NS  (20 * SB_NS_PER_US)

struct walk walk;

static long max; /* instructions of an operation */

void walk_init(long most)
{
	max = most;
	walk.pc = malloc(((size_t)max + 1) * sizeof(*walk.pc));
	T_CHECK(walk.pc);
}

void walk_free(void)
{
	free(walk.pc);
}

void walk_forget(void)
{
	walk.len = -1;
}

/* Who is on its @last step is not helped when it blocks. */
struct step {
	bool last;
	uint64_t end;
	uint32_t n;
};

static enum t_stop while_blocked(void *arg)
{
	struct step *s = arg;

	if (*walk.over || (s->last && t_parked(walk.victim)))
		return T_BLOCKED;
	if (!s->end)
		s->end = sb_deadline(POINT_HUNG_NS);
	if (sb_now_ns() > s->end) {
		BAD(hung, "the victim itself hangs");
		return T_HANGS;
	}
	return walk.help(s->n++);
}

/* From after @from instructions to after @to. */
static enum t_stop go(long from, long to, bool last)
{
	int stop = T_STEPPED;
	long next;

	for (; from < to && !*walk.over && stop == T_STEPPED; from = next) {
		struct step s = { .last = last };

		next = walk.by_steps ? from + 1 : to;
		stop = t_step_on(walk.victim, walk.pc, from, next,
				 while_blocked, &s);
		if (stop < 0)
			point_cannot("step");
		if (walk.stopped)
			walk.stopped();
	}
	if (stop == T_ENDED && !walk.may_end)
		BAD(wrong, "the victim ended");
	return (enum t_stop)stop;
}

/* All of it by steps, and note where it has been. */
static enum t_stop learn(void)
{
	enum t_stop stop = T_STEPPED;
	long i = 0;

	walk.pc[0] = t_step_pc(walk.victim);
	while (i < max && !*walk.over && stop == T_STEPPED) {
		stop = go(i, i + 1, false);
		if (stop == T_STEPPED)
			walk.pc[++i] = t_step_pc(walk.victim);
	}
	if (i == max)
		BAD(hung, "the operation does not end");
	walk.len = i;
	return stop;
}

enum t_stop walk_half(long k)
{
	return go(0, k, false);
}

enum t_stop walk_to(long from, long k)
{
	enum t_stop stop;

	walk.there = true;
	if (walk.len < 0)
		return learn();
	if (k <= from)
		return T_STEPPED;
	stop = go(from, k - 1, false);
	walk.there =
		stop == T_STEPPED && t_step_pc(walk.victim) == walk.pc[k - 1];
	return stop == T_STEPPED ? go(k - 1, k, true) : stop;
}

long walk_stride(uint32_t n)
{
	uint64_t each = POINT_NS;

	if (torture->full)
		return 1;
	if (!walk.pc[0]) /* no breakpoints: it steps all the way */
		each += (uint64_t)walk.len / 2 * STEP_NS;
	return walk.len / (long)(n * POINT_NS / each + 1) + 1;
}

bool walk_point(bool (*run)(long k), long k)
{
	bool there;

	torture_gate();
	there = run(k);

	if (!there) {
		walk.by_steps = true;
		there = run(k);
		walk.by_steps = false;
	}
	return there;
}
