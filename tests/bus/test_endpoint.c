/*
 * test_endpoint.c - tests of bus/endpoint.c; Criterion suite "endpoint"
 *
 * Letters E1..E4 are those of endpoint.c.
 */
#include "config.h"

#include <criterion/criterion.h>
#include <signal.h>

#include "bus/endpoint.h"
#include "bus/recover.h"
#include "tests/bus/t_bus.h"

#define N_EP 6u

static struct bus *bus;
static struct bus_map *map;

static void setup(void)
{
	struct bus_config c = t_config();

	c.max_endpoints = N_EP;
	bus = t_bus_with(NULL, &c);
	map = bus->map;
}

static void teardown(void)
{
	bus_close(bus);
}

TestSuite(endpoint, .init = setup, .fini = teardown, .timeout = 200.0);

static uint64_t state(int id)
{
	return ld_acq(&map->ep[id].state);
}

static uint64_t of_dead(uint32_t pid)
{
	return (uint64_t)pid << 32 | BUS_EP_LIVE;
}

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

/* The pid of a process that is no more. */
static uint32_t dead_pid(void)
{
	pid_t child = t_fork(nothing, NULL);

	t_join(child);
	return (uint32_t)child;
}

Test(endpoint, ids_are_each_given_once)
{
	uint64_t seen = UINT64_C(1) << bus->id;

	for (uint32_t i = 1; i < N_EP; i++) {
		int id = bus_ep_claim(map);

		cr_assert_gt(id, 0);
		cr_assert_leq((uint32_t)id, N_EP);
		cr_assert_not(seen >> id & 1);
		seen |= UINT64_C(1) << id;
		cr_assert_eq(bus_ep_state(state(id)), BUS_EP_LIVE);
		cr_assert_eq(bus_ep_pid(state(id)), (uint32_t)getpid());
	}
	cr_assert_eq(bus_ep_claim(map), -EUSERS);
}

Test(endpoint, the_spare_id_is_given_once)
{
	int id = bus_ep_claim_spare(map);

	cr_assert_eq(id, N_EP + 1);
	cr_assert_eq(bus_ep_claim_spare(map), -EUSERS);
	bus_ep_retire(map, (uint32_t)id);
	cr_assert_eq(bus_ep_claim_spare(map), id);
}

Test(endpoint, a_retired_id_is_given_again_after_the_others)
{
	int first = bus_ep_claim(map);

	bus_ep_leave(map, (uint32_t)first);
	cr_assert_eq(bus_ep_state(state(first)), BUS_EP_LEAVING);
	cr_assert(bus_ep_attached(state(first)));
	bus_ep_retire(map, (uint32_t)first);
	cr_assert_not(bus_ep_attached(state(first)));
	cr_assert_neq(bus_ep_claim(map), first);
	for (uint32_t i = 0; i < N_EP - 3; i++)
		cr_assert_gt(bus_ep_claim(map), 0);
	cr_assert_eq(bus_ep_claim(map), first);
	cr_assert_eq(bus_ep_claim(map), -EUSERS);
}

Test(endpoint, the_generation_changes_with_every_claim)
{
	uint64_t last = 0;

	for (int i = 0; i < 20; i++) {
		int id = bus_ep_claim_spare(map);

		cr_assert_neq(state(id), last);
		last = state(id);
		bus_ep_retire(map, (uint32_t)id);
	}
}

Test(endpoint, a_free_id_is_found_wherever_the_search_begins)
{
	while (bus_ep_claim(map) > 0)
		;
	for (uint32_t from = 0; from < 3 * N_EP; from++) {
		for (uint32_t id = 1; id <= N_EP; id++) {
			if (id == bus->id)
				continue;
			bus_ep_retire(map, id);
			st_rlx(&map->header->ep_hint, from - 2 * N_EP);
			cr_assert_eq(bus_ep_claim(map), (int)id, "%u", from);
		}
	}
}

/* Death ------------------------------------------------------------------- */

Test(endpoint, only_the_dead_are_proven_dead)
{
	int id = bus_ep_claim(map);

	cr_assert_not(bus_ep_proven_dead(map, (uint32_t)id, state(id)));
	/* nobody, and what cannot be a pid */
	st_rlx(&map->ep[id].state, of_dead(0));
	cr_assert(bus_ep_proven_dead(map, (uint32_t)id, state(id)));
	st_rlx(&map->ep[id].state, of_dead(UINT32_MAX));
	cr_assert(bus_ep_proven_dead(map, (uint32_t)id, state(id)));
	st_rlx(&map->ep[id].state, of_dead(dead_pid()));
	cr_assert(bus_ep_proven_dead(map, (uint32_t)id, state(id)));
	/* a word that has changed proves nothing */
	cr_assert_not(bus_ep_proven_dead(map, (uint32_t)id, state(id) + 256));
	/* our pid, but of a process that started at another time */
	st_rlx(&map->ep[id].state, of_dead((uint32_t)getpid()));
	cr_assert_not(bus_ep_proven_dead(map, (uint32_t)id, state(id)));
	st_rlx(&map->ep[id].start_time, 1);
	cr_assert(bus_ep_proven_dead(map, (uint32_t)id, state(id)));
	/* ... unless that time is not yet there */
	st_rlx(&map->ep[id].state, (uint64_t)getpid() << 32 | BUS_EP_CLAIMING);
	cr_assert_not(bus_ep_proven_dead(map, (uint32_t)id, state(id)));
}

Test(endpoint, whoever_had_our_pid_before_us_is_recovered)
{
	int id = bus_ep_claim(map);

	st_rlx(&map->ep[id].start_time, 1);
	cr_assert_eq(bus_reap(bus), 1);
	cr_assert_eq(bus_ep_state(state(id)), BUS_EP_RETIRED);
	cr_assert_eq(bus_reap(bus), 0);
}

Test(endpoint, a_death_is_buried_once)
{
	int id = bus_ep_claim(map);
	uint64_t seen = state(id);

	cr_assert_not(bus_ep_bury(map, (uint32_t)id, seen + 256));
	cr_assert(bus_ep_bury(map, (uint32_t)id, seen));
	cr_assert_not(bus_ep_bury(map, (uint32_t)id, seen));
	cr_assert_eq(bus_ep_state(state(id)), BUS_EP_DEAD);
	cr_assert_eq(bus_ep_pid(state(id)), bus_ep_pid(seen));
}

Test(endpoint, a_dead_id_is_not_given_out_before_it_is_recovered)
{
	int id = bus_ep_claim_spare(map);
	uint64_t dead;

	bus_ep_bury(map, (uint32_t)id, state(id));
	dead = state(id);
	cr_assert(bus_ep_enter(map, bus->id, (uint32_t)id, dead));
	cr_assert_eq(ld_rlx(&bus->ep->recovering), (uint32_t)id);
	cr_assert_eq(bus_ep_claim_spare(map), -EUSERS);
	bus_ep_exit(map, bus->id, (uint32_t)id, dead);
	cr_assert_eq(ld_rlx(&bus->ep->recovering), 0);
	cr_assert_eq(bus_ep_claim_spare(map), id);
}

/* Nobody else could bury it: all other ids are taken when it is needed. */
Test(endpoint, a_dead_holder_of_the_spare_id_is_succeeded)
{
	int id = bus_ep_claim_spare(map);

	cr_assert_eq(bus_ep_claim_spare(map), -EUSERS);
	st_rlx(&map->ep[id].start_time, 1); /* not ours: dead */
	st_rlx(&map->ep[id].recovering, 1);
	cr_assert_eq(bus_ep_claim_spare(map), id);
	cr_assert_eq(ld_rlx(&map->ep[id].recovering), 0);
}

/* One of two recoverers is stopped inside while the other retires the id. */
Test(endpoint, a_registered_recoverer_blocks_reuse)
{
	int id = bus_ep_claim_spare(map), other = bus_ep_claim(map);
	uint64_t dead;

	bus_ep_bury(map, (uint32_t)id, state(id));
	dead = state(id);
	cr_assert(bus_ep_enter(map, (uint32_t)other, (uint32_t)id, dead));
	cr_assert(bus_ep_enter(map, bus->id, (uint32_t)id, dead));
	bus_ep_exit(map, bus->id, (uint32_t)id, dead);
	cr_assert_eq(bus_ep_state(state(id)), BUS_EP_RETIRED);
	cr_assert_eq(bus_ep_claim_spare(map), -EUSERS);
	cr_assert_eq(bus_ep_state(state(id)), BUS_EP_RETIRED);
	bus_ep_exit(map, (uint32_t)other, (uint32_t)id, dead);
	cr_assert_eq(bus_ep_claim_spare(map), id);
}

Test(endpoint, who_comes_late_to_a_recovery_does_not_enter)
{
	int id = bus_ep_claim_spare(map);
	uint64_t dead;

	bus_ep_bury(map, (uint32_t)id, state(id));
	dead = state(id);
	cr_assert(bus_ep_enter(map, bus->id, (uint32_t)id, dead));
	bus_ep_exit(map, bus->id, (uint32_t)id, dead);
	cr_assert_not(bus_ep_enter(map, bus->id, (uint32_t)id, dead));
	cr_assert_eq(ld_rlx(&bus->ep->recovering), 0);
	cr_assert_not(bus_ep_enter(map, bus->id, (uint32_t)id, state(id)));
	/* nor once the id is somebody else's and he is dead, too */
	cr_assert_eq(bus_ep_claim_spare(map), id);
	bus_ep_bury(map, (uint32_t)id, state(id));
	cr_assert_not(bus_ep_enter(map, bus->id, (uint32_t)id, dead));
}

/* A recoverer that was killed inside blocks the id until he is recovered. */
Test(endpoint, a_dead_recoverer_lets_go_when_it_is_recovered)
{
	int id = bus_ep_claim_spare(map), killed = bus_ep_claim(map);
	uint64_t dead;

	bus_ep_bury(map, (uint32_t)id, state(id));
	dead = state(id);
	cr_assert(bus_ep_enter(map, (uint32_t)killed, (uint32_t)id, dead));
	st_rlx(&map->ep[killed].state, of_dead(dead_pid()));
	/* it recovers both; its own registration was erased */
	cr_assert_eq(bus_reap(bus), 1);
	cr_assert_eq(bus_ep_state(state(killed)), BUS_EP_RETIRED);
	cr_assert_eq(ld_rlx(&map->ep[killed].recovering), 0);
	bus_reap(bus);
	cr_assert_eq(bus_ep_state(state(id)), BUS_EP_RETIRED);
	cr_assert_eq(bus_ep_claim_spare(map), id);
}

/* Processes --------------------------------------------------------------- */

static int attach_and_die(void *arg)
{
	int id;

	(void)arg;
	id = bus_ep_claim(map);
	T_CHECK(id > 0);
	kill(getpid(), SIGKILL);
	return 0;
}

Test(endpoint, the_dead_make_room)
{
	for (uint32_t i = 0; i < N_EP - 1; i++)
		cr_assert_eq(t_wait(t_fork(attach_and_die, NULL)), -SIGKILL);
	cr_assert_eq(bus_ep_claim(map), -EUSERS);
	cr_assert_eq(bus_recover_dead(bus), N_EP - 1);
	for (uint32_t i = 0; i < N_EP - 1; i++)
		cr_assert_gt(bus_ep_claim(map), 0);
}

static int attach_and_leave(void *arg)
{
	_Atomic uint32_t *owner = arg;

	for (int i = 0; i < 20000; i++) {
		int id = bus_ep_claim(map);
		uint32_t nobody = 0;

		T_CHECK(id > 0 || id == -EUSERS);
		if (id < 0)
			continue;
		T_CHECK(cas_acqrel(&owner[id], &nobody, 1));
		st_rel(&owner[id], 0);
		bus_ep_retire(map, (uint32_t)id);
	}
	return 0;
}

Test(endpoint, an_id_is_one_processs_at_a_time)
{
	_Atomic uint32_t *owner = t_shared(4096);
	pid_t child[8];

	for (size_t i = 0; i < lengthof(child); i++)
		child[i] = t_fork(attach_and_leave, (void *)owner);
	for (size_t i = 0; i < lengthof(child); i++)
		t_join(child[i]);
}
