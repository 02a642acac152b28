/*
 * pool_limit.c - tasks that are late or canceled: told, signaled, killed
 *
 * For its owner the task is over at once.  If it was in a lane, that was all.
 * In the ring, canceled[index] says so to whoever takes it, who then does not
 * run it; and if a worker has it in hand, the flag TOLD in its place's word
 * says so to its function, grace_ns later comes the soft signal, and after that
 * once more SIGKILL (crew.h says why it cannot hit another task).
 *
 * Several places may have the id for a moment, of which all but one belong to
 * workers that are dead.  So each step is done for all that have it, and found
 * anew each time.
 *
 * A task that was answered is not late, though nobody has looked for the answer
 * before its time was up: so that is done first.
 *
 * What is to be done at some time lies in a heap, which holds only tasks that
 * have a limit or have to be dealt with: who has none pays nothing, not even a
 * look at the clock.
 */
#include "config.h"

#include <signal.h>
#include <stdlib.h>

#include "bus/pool.h"

#define TELL_AGAIN_NS (10 * SB_NS_PER_MS)

/* ------------------------------------------------------------------ heap -- */

static void place_at(struct bus_pool *p, uint32_t at, struct bus_future *t)
{
	p->due[at] = t;
	t->heap_at = at;
}

static void sift_up(struct bus_pool *p, struct bus_future *t, uint32_t at)
{
	for (; at > 1 && p->due[at / 2]->due_ns > t->due_ns; at /= 2)
		place_at(p, at, p->due[at / 2]);
	place_at(p, at, t);
}

static void sift_down(struct bus_pool *p, struct bus_future *t, uint32_t at)
{
	for (;;) {
		uint32_t k = at * 2;

		if (k > p->n_due)
			break;
		if (k < p->n_due && p->due[k + 1]->due_ns < p->due[k]->due_ns)
			k++;
		if (p->due[k]->due_ns >= t->due_ns)
			break;
		place_at(p, at, p->due[k]);
		at = k;
	}
	place_at(p, at, t);
}

int bus_due_add(struct bus_future *t)
{
	struct bus_pool *p = t->pool;

	if (p->n_due + 2 > p->due_room) {
		uint32_t n = p->due_room ? p->due_room * 2 : 64;
		struct bus_future **due = realloc(p->due, n * sizeof(*due));

		if (!due)
			return -ENOMEM;
		p->due = due;
		p->due_room = n;
	}
	p->n_due++;
	sift_up(p, t, p->n_due);
	return 0;
}

void bus_due_remove(struct bus_future *t)
{
	struct bus_pool *p = t->pool;
	struct bus_future *last = p->due[p->n_due--];
	uint32_t at = t->heap_at;

	t->heap_at = 0;
	if (last == t)
		return;
	if (at > 1 && p->due[at / 2]->due_ns > last->due_ns)
		sift_up(p, last, at);
	else
		sift_down(p, last, at);
}

/* Its time has changed. */
static int due_move(struct bus_future *t, uint64_t at_ns)
{
	if (t->heap_at)
		bus_due_remove(t);
	t->due_ns = at_ns;
	return bus_due_add(t);
}

/* ------------------------------------------------------------------ stop -- */

/* Flag and signal each worker that has it in hand.  How many? */
static uint32_t for_each_holder(struct bus_future *t, uint64_t flag, int sig)
{
	struct bus_pool *p = t->pool;
	uint64_t id = bus_task_id(t);
	uint32_t n = 0;
	int k = -1;

	while ((k = bus_crew_who(p->area, p->n_places, (uint32_t)(k + 1),
				 id)) >= 0) {
		struct bus_place *place = bus_crew_place(p->area, (uint32_t)k);

		if (!bus_place_flag(place, id, flag))
			continue; /* it has let go */
		n++;
		bus_coord_signal(p->co, (uint32_t)k, sig);
		if (flag & BUS_PLACE_SIGNAL)
			and_acqrel(&place->word, /* X3 -> T3 */
				   ~BUS_PLACE_SIGNAL);
	}
	return n;
}

static void go_to_stage(struct bus_future *t, uint8_t stage, uint64_t at_ns)
{
	t->stage = stage;
	/* Without memory to remember it there is no time to give. */
	if (due_move(t, at_ns))
		for_each_holder(t, BUS_PLACE_DOOMED, SIGKILL);
}

/* Where X1b is a membarrier(2), which Linux may lose (lib/fence.h), T1 and X1
 * may have passed each other unseen.  So look for a worker once more. */
static void tell(struct bus_future *t)
{
	struct bus_pool *p = t->pool;
	bool asym = p->bus->map->sizes.asym;
	uint64_t now;
	int told;

	told = bus_crew_tell(p->area, p->n_places, t->index, bus_task_id(t),
			     asym);
	now = sb_now_ns();
	if (told < 0) {
		/* Nobody has it, or only an answer is left: it is shed. */
		if (asym && t->stage != BUS_STAGE_TELL)
			go_to_stage(t, BUS_STAGE_TELL, now + TELL_AGAIN_NS);
		else if (t->heap_at)
			bus_due_remove(t);
		return;
	}
	if (p->config.soft_signal > 0)
		go_to_stage(t, BUS_STAGE_SOFT, now + p->config.grace_ns);
	else
		go_to_stage(t, BUS_STAGE_KILL, now + 2 * p->config.grace_ns);
}

void bus_task_stop(struct bus_future *t, uint32_t kind, int32_t code)
{
	if (t->flying) {
		bus_task_end(t, kind, code);
		/* What is there is of old: this one has been told nothing. */
		t->stage = BUS_STAGE_LIMIT;
		tell(t);
		return;
	}
	bus_lane_remove(t);
	if (t->heap_at)
		bus_due_remove(t);
	bus_task_end(t, kind, code);
	bus_task_settle(t);
}

void bus_tasks_stop(struct bus_pool *p,
		    bool (*which)(const struct bus_future *t, const void *arg),
		    const void *arg)
{
	struct bus_future *t, *next;

	for (uint32_t i = 0; i < BUS_LANES; i++)
		for (t = p->lane[i].first; t; t = next) {
			next = t->next;
			if (which(t, arg))
				bus_task_stop(t, BUS_RESULT_CANCELED,
					      -ECANCELED);
		}
	for (uint32_t i = 0; i < BUS_POOL_RING; i++) {
		t = p->flight[i];
		if (t && !t->over && which(t, arg))
			bus_task_stop(t, BUS_RESULT_CANCELED, -ECANCELED);
	}
}

/* ------------------------------------------------------------------- due -- */

static void act(struct bus_future *t, uint64_t now)
{
	struct bus_pool *p = t->pool;
	uint32_t n = 0;

	switch (t->stage) {
	case BUS_STAGE_LIMIT:
		bus_task_stop(t, BUS_RESULT_TIMEOUT, -ETIMEDOUT);
		return;
	case BUS_STAGE_TELL:
		tell(t);
		return;
	case BUS_STAGE_SOFT:
		n = for_each_holder(t, BUS_PLACE_TOLD | BUS_PLACE_SIGNAL,
				    p->config.soft_signal);
		break;
	case BUS_STAGE_KILL:
		n = for_each_holder(t, BUS_PLACE_DOOMED, SIGKILL);
		break;
	}
	if (n)
		go_to_stage(t, BUS_STAGE_KILL, now + p->config.grace_ns);
	else
		bus_due_remove(t);
}

void bus_due_run(struct bus_pool *p)
{
	uint64_t now;

	if (sb_likely(!p->n_due))
		return;
	now = sb_now_ns();
	if (p->due[1]->due_ns > now)
		return;
	bus_pool_collect(p, true);
	while (p->n_due && p->due[1]->due_ns <= now)
		act(p->due[1], now);
}
