/*
 * t_adm.h - what the tests of tools/adm have in common: a named bus of this
 * process, and snaps of it
 */
#ifndef TEST_ADM_T_ADM_H
#define TEST_ADM_T_ADM_H

#include <criterion/criterion.h>

#include "tests/bus/t_bus.h"
#include "tools/adm/view.h"

static struct bus *bus;
static struct view view;
static struct snap snap;

static inline const char *adm_name(void)
{
	return t_name("adm");
}

static inline void adm_setup(void)
{
	struct bus_config c = t_config();

	bus = t_bus_with(adm_name(), &c);
	view.fd = -1;
}

static inline void adm_teardown(void)
{
	snap_free(&snap);
	view_close(&view);
	bus_close(bus);
	t_shm_clean();
}

/* The bus as it is now; NULL: what it had on the heap is freed. */
static inline const struct snap *adm_snap(void)
{
	char why[VIEW_WHY_BYTES] = "";

	snap_free(&snap);
	view_close(&view);
	cr_assert_eq(view_open(&view, adm_name(), why), 0, "%s", why);
	cr_assert_eq(snap_take(&view, true, &snap), 0);
	return &snap;
}

static inline const struct snap_chan *adm_chan(const char *name)
{
	const struct snap_chan *c = snap_find(adm_snap(), name);

	cr_assert_not_null(c);
	return c;
}

/* The slot at @pos of a ring, NULL if there is none. */
static inline const struct snap_slot *adm_slot(const struct snap_ring *r,
					       uint64_t pos)
{
	const struct snap_slot *slot = &r->slot[pos & (r->n_slots - 1)];

	return slot->pos == pos ? slot : NULL;
}

/* One more endpoint of this process. */
static inline struct bus *adm_attach(void)
{
	struct bus *other = NULL;

	cr_assert_eq(bus_attach(bus, &other), 0);
	return other;
}

#endif
