/*
 * test_reply.c - tests of bus/reply.c; Criterion suite "reply"
 *
 * Replies inside of another, that take any size.  Those of the worker's loop
 * are tested in test_worker.c and test_coord.c.
 */
#include "config.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "bus/crew.h"
#include "bus/reply.h"
#include "tests/bus/t_bus.h"

static struct bus *bus;
static struct bus_request_chan chan;
static struct bus_place place;
static struct bus_reply outer, inner;
static unsigned char room[32];

static void setup(void)
{
	bus = t_bus();
	chan.bus = bus;
	outer.c = &chan;
	outer.place = &place;
	outer.place_idx = 3;
	outer.attempts = 2;
	outer.fork_gen = sb_fork_gen;
	outer.res_cell = 5;
	bus_reply_inner(&inner, &outer, room, sizeof(room));
}

static void teardown(void)
{
	bus_reply_free(&inner);
	bus_close(bus);
}

TestSuite(reply, .init = setup, .fini = teardown, .timeout = 200.0);

Test(reply, inner_is_as_the_outer_one_and_empty)
{
	cr_assert_eq(bus_reply_attempts(&inner), 2);
	cr_assert_eq(bus_reply_bus(&inner), bus);
	cr_assert_eq(inner.place_idx, 3);
	cr_assert_eq(inner.where, BUS_REPLY_NOWHERE);
	cr_assert_eq(inner.len, 0);
	cr_assert_null(bus_reply_data(&inner));
	cr_assert_str_eq(inner.text, "");
}

Test(reply, what_is_small_lies_in_the_room)
{
	for (size_t len = 0; len <= sizeof(room); len++) {
		unsigned char buf[sizeof(room)];

		t_fill(buf, len, len);
		cr_assert_eq(bus_reply_put(&inner, buf, len), 0);
		cr_assert_eq(inner.where, BUS_REPLY_IN_ROOM);
		cr_assert_eq(inner.len, len);
		cr_assert_eq(bus_reply_data(&inner), room);
		cr_assert(t_is(room, len, len));
	}
}

Test(reply, what_is_large_lies_on_the_heap)
{
	static const size_t sizes[] = { sizeof(room) + 1, 100, 1 << 20, 50,
					(1 << 20) + 1 };

	for (size_t i = 0; i < lengthof(sizes); i++) {
		unsigned char *p = bus_reply_room(&inner, sizes[i]);

		cr_assert_not_null(p);
		t_fill(p, sizes[i], i); /* all of it may be written (ASan) */
		cr_assert_eq(inner.where, BUS_REPLY_ON_HEAP);
		cr_assert_eq(bus_reply_data(&inner), p);
		cr_assert_eq(inner.len, sizes[i]);
	}
}

Test(reply, the_last_call_counts)
{
	cr_assert_not_null(bus_reply_room(&inner, 5000));
	cr_assert_eq(bus_reply_put(&inner, "ab", 2), 0);
	cr_assert_eq(bus_reply_data(&inner), room);
	cr_assert_not_null(bus_reply_room(&inner, 600));
	cr_assert_neq(bus_reply_data(&inner), room);
	cr_assert_eq(inner.len, 600);
}

Test(reply, what_no_heap_can_hold_is_refused)
{
	cr_assert_null(bus_reply_room(&inner, SIZE_MAX));
	cr_assert_eq(inner.where, BUS_REPLY_NOWHERE);
	cr_assert_null(bus_reply_data(&inner));
	cr_assert_eq(bus_reply_put(&inner, room, SIZE_MAX), -EMSGSIZE);
	cr_assert_eq(bus_reply_put(&inner, "ab", 2), 0);
	cr_assert_eq(inner.where, BUS_REPLY_IN_ROOM);
}

Test(reply, heap_is_kept_but_not_all_of_it)
{
	unsigned char *p = bus_reply_room(&inner, 1000);

	bus_reply_error(&inner, "%d", 7);
	bus_reply_inner(&inner, &outer, room, sizeof(room));
	cr_assert_eq(inner.where, BUS_REPLY_NOWHERE);
	cr_assert_str_eq(inner.text, "");
	cr_assert_eq(bus_reply_room(&inner, 900), p);
	cr_assert_not_null(bus_reply_room(&inner, BUS_REPLY_KEEP + 1));
	bus_reply_inner(&inner, &outer, room, sizeof(room));
	cr_assert_eq(inner.heap_bytes, 0);
}

Test(reply, a_long_text_is_cut)
{
	bus_reply_error(&inner, "%0*d", 2000, 1);
	cr_assert_eq(strlen(inner.text), BUS_ERROR_TEXT - 1);
}

Test(reply, canceled_is_what_the_place_says)
{
	static const uint64_t told[] = { BUS_PLACE_TOLD, BUS_PLACE_DOOMED,
					 BUS_PLACE_TOLD | BUS_PLACE_DOOMED };

	st_rlx(&place.word, 0xff00);
	cr_assert_eq(bus_reply_canceled(&inner), 0);
	for (size_t i = 0; i < lengthof(told); i++) {
		st_rlx(&place.word, 0xff00 | told[i]);
		cr_assert_eq(bus_reply_canceled(&inner), 1);
	}
	inner.place = NULL;
	cr_assert_eq(bus_reply_canceled(&inner), 0);
}

Test(reply, a_forked_child_is_told_so)
{
	pid_t child;
	int status;

	sb_proc_init();
	cr_assert_not(bus_reply_forked(&inner));
	child = fork();
	if (!child)
		_exit(bus_reply_forked(&inner));
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(status, 1 << 8);
	cr_assert_not(bus_reply_forked(&inner));
}

/* Its parent may be at another task. */
Test(reply, a_forked_child_writes_nothing)
{
	unsigned char *shared = t_shared(sizeof(room));
	pid_t child;

	sb_proc_init();
	bus_reply_inner(&inner, &outer, shared, sizeof(room));
	cr_assert_eq(bus_reply_put(&inner, "parent", 7), 0);
	child = fork();
	if (!child) {
		T_CHECK(!bus_reply_room(&inner, 7));
		T_CHECK(bus_reply_put(&inner, "child", 6) == -EINVAL);
		T_CHECK(bus_reply_put(&outer, "child", 6) == -EINVAL);
		_exit(0);
	}
	t_join(child);
	cr_assert_str_eq((char *)shared, "parent");
}
