/*
 * stop_after.c - the others while the victim is stopped, and what is left when
 * it has gone on
 */
#include "config.h"

#include <signal.h>

#include "tools/torture/point.h"
#include "tools/torture/stop.h"
#include "tools/torture/walk.h"

/* ---------------------------------------------------------------- others -- */

static void others_use_queue(void)
{
	uint32_t n = 2 * N_SLOTS + 2;
	int ret;

	if (so.op->closes) {
		ret = so_put_message(OTHER_MSG, 0);
		if (ret && ret != -EPIPE && ret != -EAGAIN)
			BAD(wrong, "a put beside a close");
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		ret = so_put_message(OTHER_MSG + i, 0);
		if (ret == -EAGAIN && so_get_message(POINT_HUNG_NS)) {
			BAD(hung, "nothing comes out while it is stopped");
			return;
		}
		if (ret == -EAGAIN)
			ret = so_put_message(OTHER_MSG + i, POINT_HUNG_NS);
		if (ret) {
			BAD(hung, "nothing goes in while it is stopped");
			return;
		}
		if (so_get_message(POINT_HUNG_NS)) {
			BAD(hung, "nothing comes out while it is stopped");
			return;
		}
	}
}

static void others_use_pipe(void)
{
	for (int i = 0; i < 4; i++) {
		if (!so.op->closes)
			so_send_next(so.end[0], &so.sh->next_out, 0);
		so_recv_next(so.end[0], 0, 0);
	}
}

static bool client_served(void)
{
	return so.sh->client_done;
}

void so_others_go_on(void)
{
	struct bus *another = NULL;
	uint32_t n = t_stats(so.bus).n_endpoints;

	/* its workers may leave, and do not wait to be reaped by it */
	if (bus_reap(so.bus) > 0 && !so.op->dead && !so.op->crew)
		BAD(wrong, "it was taken for dead");
	if (!so.op->fresh && !so.op->dead && so.op->fn != so_do_leave &&
	    so.op->kind != WORKER && !so.op->crew &&
	    t_stats(so.bus).n_endpoints != n)
		BAD(wrong, "an endpoint went");
	if (so.op->kind == QUEUE)
		others_use_queue();
	else if (so.op->kind == PIPE)
		others_use_pipe();
	else if (!point_soon(client_served))
		BAD(hung, "the other worker does not serve");
	else if (so.sh->n_early < N_REQUESTS - so_in_hand())
		BAD(hung, "it has more than %u requests in hand",
		    (unsigned)so_in_hand());
	/* who comes may get the id of one that is gone */
	if (bus_attach(so.bus, &another))
		BAD(leaked, "no endpoint is free");
	bus_close(another);
}

/* --------------------------------------------------------------- the end -- */

static bool is_over(void)
{
	if (!so.sh->over)
		so_give();
	return so.sh->over;
}

static bool alone(void)
{
	bus_reap(so.bus);
	return t_stats(so.bus).n_endpoints == 1;
}

static void check_queue(void)
{
	while (so_get_message(0) == 0)
		;
	for (uint32_t i = 0; i < N_MSGS; i++) {
		if (so.sh->n_got[i] > so.sh->put[i])
			BAD(duplicated, "a message came too often");
		if (so.sh->n_got[i] < so.sh->put[i] && !so.op->drops)
			BAD(lost, "a message did not come");
	}
	if (t_queue_stats(so.q).n_waiting || t_queue_stats(so.q).n_held)
		BAD(leaked, "a slot is not free");
	if (t_stats(so.bus).blob_bytes_used)
		BAD(leaked, "a cell is not free");
	if (so.op->tasks && bus_queue_join(so.q, 0))
		BAD(leaked, "a message counts as not done");
}

static void check_pipe(void)
{
	while (so_recv_next(so.end[0], 0, 0) == 0)
		;
	if (so.sh->n_got[0] != so.sh->next_in)
		BAD(lost, "what it had sent did not come");
	if (so.sh->n_got[1] > so.sh->next_out)
		BAD(duplicated, "it received more than was sent");
}

void so_finish(void)
{
	int status;

	if (so.op->kind == WORKER) {
		so.sh->resumed = 1;
		status = t_wait(so.client);
		for (int i = 0; i < N_REQUESTS; i++) {
			if (so.sh->n_answers[i] > 1)
				BAD(duplicated, "answered twice");
			if (so.sh->n_answers[i] < 1)
				BAD(lost, "not answered");
		}
	} else {
		if (!point_within(2 * POINT_HUNG_NS, is_over)) {
			BAD(hung, "it does not go on");
			if (!so.ended)
				kill(walk.victim, SIGKILL);
		}
		status = so.ended ? t_step_status() : t_wait(walk.victim);
	}
	if (status)
		point_bad(torture_verdict(status), "it ended with %d", status);
	if (so.op->kind == QUEUE)
		check_queue();
	else if (so.op->kind == PIPE)
		check_pipe();
	if (so.sh->wrong)
		BAD(wrong, "%s:%u says so", so.sh->wrong_file,
		    (unsigned)so.sh->wrong);
	bus_pipe_free(so.end[0]);
	if (!point_within(2 * POINT_HUNG_NS, alone))
		BAD(leaked, "an endpoint is left");
	bus_close(so.bus);
	so.end[0] = so.end[1] = NULL;
}
