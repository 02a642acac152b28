/*
 * test_channel.c - tests of bus/channel.c; Criterion suite "channel"
 */
#include "config.h"

#include <criterion/criterion.h>
#include <signal.h>

#include "bus/crew.h"
#include "bus/recover.h"
#include "tests/bus/t_bus.h"

static struct bus *bus;

static void setup(void)
{
	bus = t_bus();
}

static void teardown(void)
{
	bus_close(bus);
}

TestSuite(channel, .init = setup, .fini = teardown, .timeout = 200.0);

static struct bus_channel_spec spec_of(uint32_t kind)
{
	return (struct bus_channel_spec){
		.kind = kind,
		.log_n = 2,
		.stride = 64,
		.ring_flags = kind == BUS_CHAN_REQUEST ? SB_RING_REQUEST : 0,
	};
}

static int make(const char *name)
{
	struct bus_channel_spec spec = spec_of(BUS_CHAN_QUEUE);

	return bus_channel_make(bus, name, &spec);
}

static int make_request(const char *name)
{
	struct bus_channel_spec spec = spec_of(BUS_CHAN_REQUEST);

	return bus_channel_make(bus, name, &spec);
}

/* Names ------------------------------------------------------------------- */

Test(channel, names_have_1_to_47_bytes)
{
	char name[BUS_NAME_BYTES + 1];

	cr_assert_eq(make(""), -EINVAL);
	memset(name, 'x', sizeof(name));
	name[BUS_NAME_BYTES] = 0;
	cr_assert_eq(make(name), -ENAMETOOLONG);
	name[BUS_NAME_BYTES - 1] = 0;
	cr_assert_eq(make(name), 0);
	cr_assert_eq(bus_channel_find(bus, name), 0);
	/* one that is longer is not the same */
	name[BUS_NAME_BYTES - 1] = 'x';
	cr_assert_eq(bus_channel_find(bus, name), -ENOENT);
	name[BUS_NAME_BYTES - 2] = 0;
	cr_assert_eq(bus_channel_find(bus, name), -ENOENT);
	cr_assert_eq(make("\xff /\n%s"), 1);
}

/* An unnamed pipe has the empty name in the directory. */
Test(channel, an_empty_name_is_no_name)
{
	struct bus_pipe *a, *b;
	struct bus_queue *q;

	t_pipe(bus, BUS_PIPE_LATENCY, 0, 256, &a, &b);
	cr_assert_eq(bus_channel_find(bus, ""), -ENOENT);
	cr_assert_eq(bus_queue_open(bus, "", NULL, &q), -ENOENT);
	cr_assert_eq(make(""), -EINVAL);
}

Test(channel, a_pipe_is_no_ring)
{
	struct bus_pipe *a, *b;
	struct sb_ring_end end;
	struct bus_channel *c;
	uint64_t bytes;

	t_pipe(bus, BUS_PIPE_LATENCY, 0, 256, &a, &b);
	cr_assert_eq(make("q"), 1);
	cr_assert_eq(bus_channel_attach(bus, 0, &c, &end), -EPROTO);
	cr_assert_null(bus_channel_end(bus, 0, &c));
	cr_assert_not_null(bus_channel_pipe(bus, 0, &bytes));
	cr_assert_null(bus_channel_pipe(bus, 1, &bytes));
	cr_assert_null(bus_channel_pipe(bus, 2, &bytes));
	cr_assert_null(bus_channel_pipe(bus, 256, &bytes));
}

Test(channel, making_it_again_finds_it)
{
	cr_assert_eq(make("a"), 0);
	cr_assert_eq(make("b"), 1);
	cr_assert_eq(make("a"), 0);
	cr_assert_eq(bus_channel_kind(bus, 1), BUS_CHAN_QUEUE);
	cr_assert_eq(bus_channel_kind(bus, 2), 0);
	cr_assert_eq(bus_channel_kind(bus, UINT32_MAX), 0);
}

/* Two coordinators that start at once: one of them must not get the other's. */
Test(channel, a_request_ring_has_one_maker)
{
	cr_assert_eq(make_request("r"), 0);
	cr_assert_eq(make_request("r"), -EEXIST);
	cr_assert_eq(make("q"), 1);
	cr_assert_eq(make_request("q"), -EEXIST);
}

/* Room -------------------------------------------------------------------- */

Test(channel, there_are_256)
{
	char name[8];

	for (int i = 0; i < (int)BUS_CHANNELS_MAX; i++) {
		snprintf(name, sizeof(name), "%d", i);
		cr_assert_eq(make(name), i);
	}
	cr_assert_eq(make("one more"), -ENOSPC);
	cr_assert_eq(make("255"), 255);
	cr_assert_eq(t_stats(bus).n_channels, BUS_CHANNELS_MAX);
}

Test(channel, channel_bytes_are_used_to_the_end_and_no_further)
{
	struct bus_config c = t_config();
	uint64_t each = sizeof(struct bus_channel) + sb_ring_bytes(2, 64);
	struct bus *b;

	for (uint64_t spare = 0; spare < 2; spare++) {
		struct bus_channel_spec spec = spec_of(BUS_CHAN_QUEUE);

		c.channel_bytes = 3 * each + (spare ? each - 1 : 0);
		b = t_bus_with(NULL, &c);
		cr_assert_eq(bus_channel_make(b, "0", &spec), 0);
		cr_assert_eq(bus_channel_make(b, "1", &spec), 1);
		cr_assert_eq(bus_channel_make(b, "2", &spec), 2);
		cr_assert_eq(bus_channel_make(b, "3", &spec), -ENOSPC);
		spec.log_n = 20;
		spec.stride = 4096;
		cr_assert_eq(bus_channel_make(b, "4", &spec), -ENOSPC);
		bus_close(b);
	}
}

Test(channel, what_a_killed_maker_left_is_cleared)
{
	struct bus_map *map = bus->map;
	struct sb_ring_end end;
	struct bus_channel *c;

	memset((char *)map->seg.base + map->off.chan, 0xff,
	       map->sizes.chan_bytes);
	cr_assert_eq(make("a"), 0);
	cr_assert_eq(bus_channel_attach(bus, 0, &c, &end), 0);
	for (int i = 0; i < SB_EP_WORDS; i++)
		cr_assert_eq(ld_rlx(&c->rx.bits[i]), 0);
	cr_assert_eq(ld_rlx(&end.ring->closing), 0);
}

/* Idle request rings ------------------------------------------------------ */

static void idle(uint32_t idx)
{
	struct bus_channel *c;

	sb_ring_close(bus_channel_end(bus, idx, &c));
	bus_channel_idle(bus, idx);
}

Test(channel, an_idle_request_ring_is_used_again)
{
	struct bus_channel_spec spec = spec_of(BUS_CHAN_REQUEST);
	struct bus_channel *c;

	cr_assert_eq(make_request("a"), 0);
	idle(0);
	cr_assert_eq(bus_channel_find(bus, "a"), -ENOENT);
	spec.log_n = 3; /* of another shape */
	cr_assert_eq(bus_channel_make(bus, "b", &spec), 1);
	cr_assert_eq(make("c"), 2); /* a queue is another kind */
	cr_assert_eq(make_request("d"), 0);
	cr_assert_eq(bus_channel_find(bus, "d"), 0);
	cr_assert_eq(bus_channel_find(bus, "a"), -ENOENT);
	cr_assert_not(sb_ring_closed(bus_channel_end(bus, 0, &c)));
}

Test(channel, a_shorter_name_replaces_a_longer_one)
{
	cr_assert_eq(make_request("a long name"), 0);
	idle(0);
	cr_assert_eq(make_request("a"), 0);
	cr_assert_eq(bus_channel_find(bus, "a"), 0);
	cr_assert_eq(bus_channel_find(bus, "a long name"), -ENOENT);
}

Test(channel, what_was_left_in_an_idle_ring_is_thrown_away)
{
	struct bus_channel *c;
	struct sb_ring_end *end;
	uint32_t cell;
	uint64_t pos;

	cr_assert_eq(make_request("a"), 0);
	end = bus_channel_end(bus, 0, &c);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(sb_ring_claim(end, 1, false, &pos), 1);
		cr_assert_eq(sb_blob_claim(&bus->blob, 100, &cell), 0);
		sb_blob_hand(&bus->blob, cell, 0, pos);
		sb_ring_publish(end, pos, 0, SB_FLAG_BLOB);
	}
	cr_assert_eq(sb_ring_take(end, 1, true, &pos), 1);
	sb_ring_give_back(end, pos); /* as if its worker had died */
	idle(0);
	cr_assert_eq(make_request("a"), 0);
	cr_assert_not(sb_ring_unfinished(end));
	cr_assert_eq(t_stats(bus).blob_bytes_used, 0);
	for (int i = 0; i < 4; i++)
		cr_assert_eq(sb_ring_claim(end, 1, false, &pos), 1);
}

Test(channel, a_ring_that_somebody_still_uses_is_not_idle)
{
	struct bus_channel *c;
	struct sb_ring_end *end;
	uint64_t pos;

	cr_assert_eq(make_request("a"), 0);
	end = bus_channel_end(bus, 0, &c);
	cr_assert_eq(sb_ring_claim(end, 1, false, &pos), 1);
	sb_ring_publish(end, pos, 0, 0);
	cr_assert_eq(sb_ring_take(end, 1, true, &pos), 1);
	idle(0);
	cr_assert_eq(make_request("a"), 1);
	/* who has it is done with it: that is enough */
	sb_ring_free(end, pos);
	idle(1);
	cr_assert_eq(make_request("a"), 0);
}

/* Killed right after the ring was opened again, before it has its name. */
Test(channel, a_ring_whose_taking_over_was_begun_is_not_lost)
{
	struct bus_channel *c;

	cr_assert_eq(make_request("a"), 0);
	idle(0);
	cr_assert_eq(sb_ring_reopen(bus_channel_end(bus, 0, &c)), 0);
	cr_assert_eq(make_request("a"), 0);
	cr_assert_eq(bus_channel_find(bus, "a"), 0);
}

static int make_and_die(void *arg)
{
	T_CHECK(bus_check(bus) == 0);
	T_CHECK(make_request(arg) == 0);
	kill(getpid(), SIGKILL);
	return 0;
}

Test(channel, the_ring_of_a_dead_maker_is_used_again)
{
	char name[] = "a";

	for (int i = 0; i < 100; i++)
		cr_assert_eq(t_wait(t_fork(make_and_die, name)), -SIGKILL);
	cr_assert_eq(make_request("b"), 0);
	cr_assert_eq(make_request("b"), -EEXIST);
}

/* The lock ---------------------------------------------------------------- */

static int die_as_maker(void *arg)
{
	(void)arg;
	T_CHECK(bus_check(bus) == 0);
	st_rel(&bus->map->header->dir_owner, bus->id);
	kill(getpid(), SIGKILL);
	return 0;
}

Test(channel, a_maker_that_was_killed_does_not_block_others)
{
	cr_assert_eq(t_wait(t_fork(die_as_maker, NULL)), -SIGKILL);
	cr_assert_neq(ld_rlx(&bus->map->header->dir_owner), 0);
	cr_assert_eq(make("a"), 0);
	cr_assert_eq(ld_rlx(&bus->map->header->dir_owner), 0);
}

Test(channel, a_maker_that_does_not_get_on_is_not_waited_for_for_ever)
{
	uint64_t start = sb_now_ns();

	st_rel(&bus->map->header->dir_owner, 77);
	cr_assert_eq(make("a"), -EBUSY);
	cr_assert_lt(sb_now_ns() - start, 10 * SB_NS_PER_S);
}

struct makers {
	_Atomic uint32_t go;
	_Atomic int idx[8][40];
};

static int make_many(void *arg)
{
	struct makers *m = arg;
	uint32_t me = add_acqrel(&m->go, 1);
	char name[8];

	T_CHECK(bus_check(bus) == 0);
	while (ld_acq(&m->go) < 8)
		sched_yield();
	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "%d", i);
		st_rlx(&m->idx[me][i], make(name));
	}
	return 0;
}

Test(channel, all_makers_agree)
{
	struct makers *m = t_shared(sizeof(*m));
	pid_t child[8];
	char name[8];

	for (int i = 0; i < 8; i++)
		child[i] = t_fork(make_many, m);
	for (int i = 0; i < 8; i++)
		t_join(child[i]);
	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "%d", i);
		for (int k = 0; k < 8; k++)
			cr_assert_eq(ld_rlx(&m->idx[k][i]),
				     bus_channel_find(bus, name));
	}
	cr_assert_eq(t_stats(bus).n_channels, 40);
}

/* Hostile memory ---------------------------------------------------------- */

Test(channel, an_entry_that_lies_is_refused)
{
	struct bus_map *map = bus->map;
	struct bus_dirent *d = &map->dir[0], was;
	struct sb_ring_end end;
	struct bus_channel *c;

	cr_assert_eq(make("a"), 0);
	was = *d;

	const struct {
		uint64_t off, bytes;
	} t[] = {
		{ 0, was.bytes },
		{ was.off + 1, was.bytes },
		{ was.off - SB_FAR, was.bytes },
		{ was.off + map->sizes.chan_bytes, was.bytes },
		{ was.off + map->sizes.chan_bytes + SB_FAR, was.bytes },
		{ UINT64_MAX & ~UINT64_C(127), was.bytes },
		{ was.off, 0 },
		{ was.off, sizeof(*c) - 1 },
		{ was.off, sizeof(*c) },
		{ was.off, was.bytes - 1 },
		{ was.off, UINT64_MAX },
		{ was.off, map->sizes.chan_bytes + 1 },
		{ was.off + SB_FAR, map->sizes.chan_bytes },
	};

	for (size_t i = 0; i < lengthof(t); i++) {
		d->off = t[i].off;
		d->bytes = t[i].bytes;
		cr_assert_eq(bus_channel_attach(bus, 0, &c, &end), -EPROTO,
			     "%zu", i);
		cr_assert_null(bus_channel_end(bus, 0, &c));
		if (t[i].off != was.off || t[i].bytes > map->sizes.chan_bytes)
			cr_assert_eq(make("b"), -EPROTO, "%zu", i);
		bus_sweep_cells(bus);
	}
	*d = was;
	cr_assert_eq(bus_channel_attach(bus, 0, &c, &end), 0);
	cr_assert_eq(bus_channel_attach(bus, 1, &c, &end), -EPROTO);
	cr_assert_eq(bus_channel_attach(bus, 256, &c, &end), -EPROTO);
}

Test(channel, a_name_without_an_end_is_not_read_over)
{
	cr_assert_eq(make("a"), 0);
	memset(bus->map->dir[0].name, 'n', BUS_NAME_BYTES);
	cr_assert_eq(bus_channel_find(bus, "a"), -ENOENT);
	cr_assert_eq(make("a"), 1);
}

/* The area of a crew ------------------------------------------------------ */

static int make_crew(const char *name, uint32_t places, uint32_t canceled)
{
	struct bus_channel_spec spec = spec_of(BUS_CHAN_REQUEST);

	spec.crew_places = places;
	spec.crew_canceled = canceled;
	return bus_channel_make(bus, name, &spec);
}

static struct bus_crew_area *area_of(int idx)
{
	uint32_t n_places, n_canceled;

	return bus_channel_area(bus, (uint32_t)idx, &n_places, &n_canceled);
}

Test(channel, an_area_lies_behind_the_ring_and_is_zero)
{
	int idx = make_crew("a", 3, 5), next = make("q");
	struct bus_dirent *d = &bus->map->dir[idx];
	unsigned char *base = bus->map->seg.base, *area;
	uint32_t n_places, n_canceled;

	area = (void *)bus_channel_area(bus, (uint32_t)idx, &n_places,
					&n_canceled);
	cr_assert_not_null(area);
	cr_assert_eq(n_places, 3);
	cr_assert_eq(n_canceled, 5);
	cr_assert_eq(area, base + d->off + sizeof(struct bus_channel) +
				   sb_ring_bytes(2, 64));
	cr_assert_eq((uintptr_t)area % SB_FAR, 0);
	cr_assert_eq(area + bus_crew_bytes(3, 5), base + d->off + d->bytes);
	cr_assert_eq(bus->map->dir[next].off, d->off + d->bytes);
	for (size_t i = 0; i < bus_crew_bytes(3, 5); i++)
		cr_assert_eq(area[i], 0);
	cr_assert_eq((unsigned char *)bus_crew_canceled((void *)area, 3),
		     area + sizeof(struct bus_crew_area) +
			     3 * sizeof(struct bus_place));
}

Test(channel, others_have_no_area)
{
	cr_assert_null(area_of(make("q")));
	cr_assert_null(area_of(make_request("r")));
	cr_assert_null(area_of(99));
}

/* Killed at clearing, the ring was still idle, and half of it cleared. */
Test(channel, an_area_is_cleared_when_the_ring_is_used_again)
{
	int idx = make_crew("a", 2, 4);
	unsigned char *area = (void *)area_of(idx);

	for (int round = 0; round < 2; round++) {
		memset(area, 0xff, bus_crew_bytes(2, 4));
		bus_channel_idle(bus, (uint32_t)idx);
		cr_assert_eq(make_crew("b", 2, 4), idx);
		for (size_t i = 0; i < bus_crew_bytes(2, 4); i++)
			cr_assert_eq(area[i], 0);
	}
}

Test(channel, a_ring_with_another_area_is_not_used_again)
{
	int idx = make_crew("a", 2, 4);

	bus_channel_idle(bus, (uint32_t)idx);
	cr_assert_neq(make_crew("b", 3, 4), idx);
	cr_assert_neq(make_crew("c", 2, 8), idx);
	cr_assert_neq(make_request("d"), idx);
	cr_assert_eq(make_crew("e", 2, 4), idx);
}

/* It says that it has what was asked for, but is not large enough for it. */
Test(channel, an_idle_ring_that_lies_about_its_area_is_not_used)
{
	int idx = make_crew("a", 2, 4);
	struct bus_channel *c;

	cr_assert_not_null(bus_channel_end(bus, (uint32_t)idx, &c));
	bus_channel_idle(bus, (uint32_t)idx);
	c->crew_places = 200;
	c->crew_canceled = 1 << 16;
	cr_assert_neq(make_crew("b", 200, 1 << 14), idx);
	c->crew_canceled = 1 << 14;
	cr_assert_neq(make_crew("c", 200, 1 << 14), idx);
}
