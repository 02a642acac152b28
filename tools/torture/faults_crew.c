/*
 * faults_crew.c - what is done with workers while system calls fail, theirs or
 * their parent's
 *
 * What fails in a worker must be made good by another, or be told.  Some have
 * one that dies, or is late, so that there is more to do than to hand on.
 */
#include "config.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "tools/torture/faults.h"

/* A task says that there was no memory for its result. */
static int short_of_memory(const struct bus_result *r)
{
	return r->kind == BUS_RESULT_ERROR && r->code == -ENOMEM ? -ENOMEM : 0;
}

/* --------------------------------------------------------------- requests -- */

static int handler(void *ctx, const void *req, size_t len,
		   struct bus_reply *reply)
{
	(void)ctx;
	return bus_reply_put(reply, req, len);
}

int fa_do_coord(void)
{
	struct bus_config c = fa_settings(BUS_WAIT_AUTO);
	struct bus_coord_config cc = BUS_COORD_CONFIG_INIT;
	unsigned char buf[BIG];
	struct bus_result r;

	TRY(bus_create(NULL, &c, &fa.bus));
	cc.handler = handler;
	cc.n_workers = 2;
	cc.window = 4;
	cc.result_bytes = BIG;
	TRY(bus_coord_start(fa.bus, "r", &cc, &fa.coord));
	t_fill(buf, BIG, 3);
	for (uint64_t i = 0; i < 3; i++)
		TRY(bus_submit(fa.coord, i, buf, i % 2 ? BIG : 16, LIMIT_NS));
	for (uint64_t i = 0; i < 3; i++) {
		TRY(bus_collect(fa.coord, &r, LIMIT_NS));
		MUST(r.id == i && r.kind == BUS_RESULT_OK &&
		     r.len_bytes == (i % 2 ? BIG : 16) &&
		     !memcmp(r.data, buf, r.len_bytes));
	}
	return 0;
}

/* More requests than the window has, so that results are put aside; many at a
 * time. */
int fa_do_coord_many(void)
{
	struct bus_config c = fa_settings(BUS_WAIT_AUTO);
	struct bus_coord_config cc = BUS_COORD_CONFIG_INIT;
	uint64_t ids[8] = { 0, 1, 2, 3, 4, 5, 6, 7 };
	struct bus_result r[8];
	int n;

	TRY(bus_create(NULL, &c, &fa.bus));
	cc.handler = handler;
	cc.window = 2;
	TRY(bus_coord_start(fa.bus, "r", &cc, &fa.coord));
	for (int i = 0; i < 8; i += n)
		TRY(n = bus_submit_many(fa.coord, ids + i, ids + i, 8,
					(size_t)(8 - i), LIMIT_NS));
	for (int i = 0; i < 8; i += n) {
		TRY(n = bus_collect_many(fa.coord, r, 8, LIMIT_NS));
		for (int k = 0; k < n; k++) {
			TRY(short_of_memory(&r[k]));
			MUST(r[k].kind == BUS_RESULT_OK &&
			     r[k].id == (uint64_t)(i + k) &&
			     r[k].len_bytes == 8 &&
			     *(const uint64_t *)r[k].data == r[k].id);
		}
	}
	return 0;
}

/* ------------------------------------------------------------------- tasks -- */

static int large_handler(void *ctx, const void *req, size_t len,
			 struct bus_reply *reply)
{
	void *room = bus_reply_room(reply, LARGE);

	(void)ctx;
	(void)req;
	(void)len;
	if (!room)
		return -ENOMEM;
	t_fill(room, LARGE, 3);
	return 0;
}

static int three(void *ctx, const void **item, size_t *len)
{
	static unsigned char buf[BIG];
	uint32_t *n = ctx;

	if ((*n)++ == 3)
		return 0;
	t_fill(buf, BIG, 3);
	*item = buf;
	*len = BIG;
	return 1;
}

/* A chunk of two, and one by itself. */
static int use_imap(void)
{
	struct bus_map_config c = BUS_MAP_CONFIG_INIT;
	struct bus_imap *imap;
	struct bus_result r;
	uint32_t n = 0;
	int ret;

	c.chunk = 2;
	TRY(bus_pool_imap(fa.pool, 0, three, &n, &c, &imap));
	while (!(ret = bus_imap_next(imap, &r, LIMIT_NS)) &&
	       !(ret = short_of_memory(&r)))
		MUST(r.kind == BUS_RESULT_OK && r.len_bytes == BIG &&
		     t_is(r.data, BIG, 3));
	bus_imap_free(imap);
	TRY(ret == -ENODATA ? 0 : ret);
	return 0;
}

/* Results small and large, more workers, a map, a cancel. */
int fa_do_pool(void)
{
	static const bus_handler handlers[] = { handler, large_handler };
	struct bus_config c = fa_settings(BUS_WAIT_AUTO);
	struct bus_pool_config pc = BUS_POOL_CONFIG_INIT;
	struct bus_future *f;
	struct bus_result r;
	struct bus_map_config c_map = BUS_MAP_CONFIG_INIT;
	uint64_t n[4] = { 1, 2, 3, 4 }, out[4] = { 0 };
	struct bus_map_item items[4];
	int n_failed;

	TRY(bus_create(NULL, &c, &fa.bus));
	pc.handlers = handlers;
	pc.n_handlers = 2;
	pc.n_workers = 1;
	TRY(bus_pool_start(fa.bus, "p", &pc, &fa.pool));
	TRY(bus_pool_apply(fa.pool, 0, n, sizeof(n), &r, LIMIT_NS));
	TRY(short_of_memory(&r));
	MUST(r.kind == BUS_RESULT_OK && r.len_bytes == sizeof(n) &&
	     !memcmp(r.data, n, sizeof(n)));
	TRY(bus_pool_scale(fa.pool, 2));
	TRY(bus_pool_apply(fa.pool, 1, n, sizeof(n), &r, LIMIT_NS));
	TRY(short_of_memory(&r));
	MUST(r.kind == BUS_RESULT_OK && r.len_bytes == LARGE &&
	     t_is(r.data, LARGE, 3));
	c_map.items = items;
	TRY(n_failed = bus_pool_map(fa.pool, 0, n, sizeof(*n), out,
				    sizeof(*out), 4, &c_map, LIMIT_NS));
	for (int i = 0; i < 4 && n_failed > 0; i++)
		TRY(items[i].code == -ENOMEM ? -ENOMEM : 0);
	MUST(!memcmp(n, out, sizeof(n)));
	TRY(use_imap());
	TRY(bus_pool_submit(fa.pool, 0, n, sizeof(n), NULL, &f, LIMIT_NS));
	(void)bus_future_cancel(f);
	bus_future_free(f);
	bus_pool_close(fa.pool);
	TRY(bus_pool_join(fa.pool, LIMIT_NS));
	return 0;
}

/* ---------------------------------------------------- tasks that go wrong -- */

static int start_pool(const bus_handler *handlers, uint32_t n)
{
	struct bus_config c = fa_settings(BUS_WAIT_AUTO);
	struct bus_pool_config pc = BUS_POOL_CONFIG_INIT;

	TRY(bus_create(NULL, &c, &fa.bus));
	pc.handlers = handlers;
	pc.n_handlers = n;
	pc.n_workers = 1;
	pc.max_attempts = 1;
	pc.grace_ns = SB_NS_PER_MS;
	pc.backoff_ns = 50 * SB_NS_PER_US;
	TRY(bus_pool_start(fa.bus, "p", &pc, &fa.pool));
	return 0;
}

/* Who does not hear that its time is over, until SIGKILL. */
static int deaf(void *ctx, const void *req, size_t len, struct bus_reply *reply)
{
	(void)ctx;
	(void)req;
	(void)len;
	(void)reply;
	signal(SIGTERM, SIG_IGN);
	while (pause())
		;
	return 1;
}

/* One that is late while it runs, and one that has not begun. */
int fa_do_deadline(void)
{
	static const bus_handler handlers[] = { deaf, handler };
	struct bus_task_config tc = BUS_TASK_CONFIG_INIT;
	struct bus_future *f[2];
	struct bus_result r;
	uint64_t n = 7;

	TRY(start_pool(handlers, 2));
	tc.limit_ns = TICK_NS;
	TRY(bus_pool_submit(fa.pool, 0, &n, sizeof(n), &tc, &f[0], LIMIT_NS));
	TRY(bus_pool_submit(fa.pool, 1, &n, sizeof(n), &tc, &f[1], LIMIT_NS));
	for (int i = 0; i < 2; i++) {
		TRY(bus_future_get(f[i], &r, LIMIT_NS));
		MUST(r.kind == BUS_RESULT_TIMEOUT ||
		     (!i && r.kind == BUS_RESULT_DEATH) ||
		     (i && r.kind == BUS_RESULT_OK));
		bus_future_free(f[i]);
	}
	/* its worker is another one */
	TRY(bus_pool_apply(fa.pool, 1, &n, sizeof(n), &r, LIMIT_NS));
	TRY(short_of_memory(&r));
	if (r.kind == BUS_RESULT_DEATH)
		return -EOWNERDEAD; /* for what failed in it */
	MUST(r.kind == BUS_RESULT_OK && r.len_bytes == sizeof(n) &&
	     !memcmp(r.data, &n, sizeof(n)));
	return 0;
}

#define DEADLY 3u

static int dies_of_one(void *ctx, const void *req, size_t len,
		       struct bus_reply *reply)
{
	uint64_t n;

	(void)ctx;
	memcpy(&n, req, sizeof(n));
	if (n == DEADLY)
		kill(getpid(), SIGKILL);
	return bus_reply_put(reply, req, len);
}

struct numbers {
	uint64_t n, item;
};

static int eight(void *ctx, const void **item, size_t *len)
{
	struct numbers *s = ctx;

	if (s->n == 8)
		return 0;
	s->item = s->n++;
	*item = &s->item;
	*len = sizeof(s->item);
	return 1;
}

/* Whatever fails may cost the worker of another item, too. */
static int died(uint32_t kind, int32_t code)
{
	if (kind == BUS_RESULT_DEATH)
		return -EOWNERDEAD;
	return kind == BUS_RESULT_ERROR && code == -ENOMEM ? -ENOMEM : 0;
}

static int map_with_a_death(void)
{
	uint64_t in[8] = { 0, 1, 2, 3, 4, 5, 6, 7 }, out[8] = { 0 };
	struct bus_map_config c = BUS_MAP_CONFIG_INIT;
	struct bus_map_item items[8];

	c.chunk = 4;
	c.items = items;
	TRY(bus_pool_map(fa.pool, 0, in, sizeof(*in), out, sizeof(*out), 8, &c,
			 LIMIT_NS));
	MUST(items[DEADLY].kind != BUS_RESULT_OK);
	for (uint64_t i = 0; i < 8; i++) {
		if (i == DEADLY)
			continue;
		TRY(died(items[i].kind, items[i].code));
		MUST(items[i].kind == BUS_RESULT_OK && out[i] == i);
	}
	return 0;
}

static int imap_with_a_death(void)
{
	struct bus_map_config c = BUS_MAP_CONFIG_INIT;
	struct numbers numbers = { 0 };
	struct bus_imap *imap;
	struct bus_result r;
	uint64_t n = 0;
	int ret, error = 0;

	c.chunk = 4;
	TRY(bus_pool_imap(fa.pool, 0, eight, &numbers, &c, &imap));
	while (!(ret = bus_imap_next(imap, &r, LIMIT_NS))) {
		MUST(r.id == n);
		if (n++ == DEADLY)
			MUST(r.kind != BUS_RESULT_OK);
		else if (died(r.kind, r.code))
			error = died(r.kind, r.code);
		else
			MUST(r.kind == BUS_RESULT_OK && r.len_bytes == 8 &&
			     *(const uint64_t *)r.data == r.id);
	}
	bus_imap_free(imap);
	MUST(ret != -ENODATA || n == 8); /* each has its result */
	TRY(ret == -ENODATA ? error : ret);
	return 0;
}

/* A chunk kills its worker, and is tried again item by item. */
int fa_do_split(void)
{
	static const bus_handler handlers[] = { dies_of_one };

	TRY(start_pool(handlers, 1));
	TRY(map_with_a_death());
	return imap_with_a_death();
}
