/*
 * audit.c - what is left of a point when all the others are gone; see audit.h
 */
#include "config.h"

#include <stdlib.h>

#include "tests/bus/t_bus.h"
#include "tools/torture/audit.h"
#include "tools/torture/point.h"

static struct bus *audited;

static bool alone(void)
{
	bus_reap(audited);
	return t_stats(audited).n_endpoints == 1;
}

static bool rings_are_empty(void)
{
	struct bus_channel *c;
	uint32_t waiting = 0, held = 0;

	for (uint32_t i = 0; i < BUS_CHANNELS_MAX; i++) {
		struct sb_ring_end *end = bus_channel_end(audited, i, &c);

		if (!end)
			continue;
		sb_ring_count(end, &waiting, &held);
		if (waiting || held)
			return false;
	}
	return true;
}

bool audit_bus(struct bus *bus)
{
	bool good;

	audited = bus;
	good = point_soon(alone);
	if (!good)
		BAD(leaked, "an endpoint is left");
	if (!rings_are_empty())
		BAD(leaked, "a slot is not free");
	if (t_stats(bus).blob_bytes_used)
		BAD(leaked, "a cell is not free");
	return good;
}

void audit_ids(struct bus *bus, uint32_t max)
{
	struct bus **others = calloc(max, sizeof(*others));
	uint32_t n = 0;

	T_CHECK(others);
	while (n < max && bus_attach(bus, &others[n]) == 0)
		n++;
	if (n != max - 1) /* one is ours */
		BAD(leaked, "endpoints are missing");
	while (n)
		bus_close(others[--n]);
	free(others);
}

uint32_t audit_channels(const struct bus *bus)
{
	uint32_t n = 0;

	while (n < BUS_CHANNELS_MAX && ld_acq(&bus->map->dir[n].ready))
		n++;
	return n;
}

static int make_with_uring(void *arg)
{
	struct bus_config *c = arg;
	struct bus *b;

	c->wait = BUS_WAIT_URING;
	return bus_create(NULL, c, &b) ? 1 : 0;
}

bool audit_may_uring(struct bus_config c)
{
	bool may = t_wait(t_fork(make_with_uring, &c)) == 0;

	if (!may)
		torture_say("%s/%s: no io_uring\n", torture->test,
			    torture->part);
	return may;
}
