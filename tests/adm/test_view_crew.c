/*
 * test_view_crew.c - tools/adm/view_crew.c: what each worker does
 */
#include "config.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <unistd.h>

#include "bus/crew.h"
#include "tests/adm/t_adm.h"

TestSuite(view_crew, .init = adm_setup, .fini = adm_teardown, .timeout = 60.0);

static struct bus_pool *pool;

static int until_canceled(void *ctx, const void *req, size_t len_bytes,
			  struct bus_reply *reply)
{
	(void)ctx;
	(void)req;
	(void)len_bytes;
	while (!bus_reply_canceled(reply))
		usleep(1000);
	return 0;
}

static void start(void)
{
	static const bus_handler handlers[] = { until_canceled,
						until_canceled };
	struct bus_pool_config config = BUS_POOL_CONFIG_INIT;

	config.handlers = handlers;
	config.n_handlers = 2;
	config.n_workers = 2;
	config.window = 8;
	cr_assert_eq(bus_pool_start(bus, "p", &config, &pool), 0);
}

static const struct snap_crew *crew(void)
{
	const struct snap_chan *c = adm_chan("p");

	cr_assert_null(c->bad);
	cr_assert_not_null(c->crew);
	return c->crew;
}

static uint32_t n_at_work(void)
{
	const struct snap_crew *w = crew();
	uint32_t n = 0;

	for (uint32_t i = 0; i < w->n_places; i++)
		n += w->place[i].word != 0;
	return n;
}

static bool are_at_work(void *arg)
{
	(void)arg;
	return n_at_work() == 2;
}

Test(view_crew, says_who_is_at_which_task)
{
	const struct snap_crew *w;
	bool first = false;

	start();
	cr_assert_eq(bus_pool_submit(pool, 0, "a", 1, NULL, NULL, 0), 0);
	cr_assert_eq(bus_pool_submit(pool, 1, "b", 1, NULL, NULL, 0), 0);
	cr_assert(t_eventually(are_at_work, NULL, 30000));
	w = crew();
	cr_assert_eq(w->n_wanted, 2);
	cr_assert_eq(w->n_submitted, 2);
	cr_assert_eq(w->init_error[0], '\0');
	for (uint32_t i = 0; i < 2; i++) {
		const struct snap_place *p = &w->place[i];

		cr_assert_eq(p->life, BUS_PLACE_READY);
		cr_assert_gt(p->pid, 0);
		cr_assert_gt(p->ep, 0);
		cr_assert_eq(snap.ep[p->ep].pid, p->pid);
		cr_assert_eq(p->n_done, 0);
		cr_assert_gt(p->since_ns, 0);
		cr_assert_leq(p->since_ns, snap.taken_ns);
		cr_assert_not(p->told || p->doomed || p->signaled);
		cr_assert_not(process_is_dead(&p->proc));
		first |= p->handler == 0;
	}
	cr_assert(first);
	cr_assert_neq(w->place[0].task, w->place[1].task);
	cr_assert_neq(w->place[0].handler, w->place[1].handler);
	bus_pool_free(pool);
}

static int fail_init(void *ctx, char *error, size_t error_bytes)
{
	(void)ctx;
	snprintf(error, error_bytes, "no luck");
	return -1;
}

static bool has_said(void *arg)
{
	(void)arg;
	bus_reap(bus);
	return crew()->init_error[0];
}

Test(view_crew, tells_why_workers_do_not_start)
{
	static const bus_handler handlers[] = { until_canceled };
	struct bus_pool_config config = BUS_POOL_CONFIG_INIT;

	config.handlers = handlers;
	config.n_handlers = 1;
	config.n_workers = 1;
	config.init = fail_init;
	cr_assert_eq(bus_pool_start(bus, "p", &config, &pool), 0);
	cr_assert(t_eventually(has_said, NULL, 30000));
	cr_assert_str_eq(crew()->init_error, "no luck");
	bus_pool_free(pool);
}

Test(view_crew, no_byte_of_the_area_is_believed)
{
	uint32_t n_places, n_canceled;
	struct bus_crew_area *area;
	struct bus_place *p;
	const struct snap_crew *w;

	start();
	kill((pid_t)crew()->place[0].pid, SIGSTOP); /* it writes there, too */
	kill((pid_t)crew()->place[1].pid, SIGSTOP);
	area = bus_channel_area(bus, 0, &n_places, &n_canceled);
	cr_assert_not_null(area);
	p = bus_crew_place(area, 5);
	p->pid = UINT32_MAX;
	p->life = 99;
	p->word = UINT64_MAX;
	memset(area->init_error, 'x', sizeof(area->init_error));
	w = crew();
	cr_assert_eq(strlen(w->init_error), BUS_INIT_ERROR - 1);
	cr_assert_eq(w->place[5].pid, UINT32_MAX);
	cr_assert_eq(w->place[5].proc.state, PROCESS_UNKNOWN);
	cr_assert_str_eq(snap_place_word(w->place[5].life), "?");
	p->pid = 0;
	p->life = 0;
	p->word = 0;
	bus_pool_terminate(pool);
	bus_pool_free(pool);
}

Test(view_crew, more_places_than_fit_are_none)
{
	const struct snap_chan *c;
	struct bus_channel *head;

	start();
	head = (void *)((char *)bus->map->seg.base + bus->map->dir[0].off);
	for (uint32_t n = 1; n < 1u << 24; n *= 2) {
		uint32_t good = head->crew_places;

		head->crew_places = good + n * 200;
		c = adm_chan("p");
		cr_assert_null(c->crew);
		cr_assert_not_null(c->ring->bad);
		head->crew_places = good;
	}
	bus_pool_free(pool);
}
