/*
 * kill_pool_after.c - what goes on after the death, and what is left
 */
#include "config.h"

#include "tools/torture/audit.h"
#include "tools/torture/kill_pool.h"
#include "tools/torture/point.h"

void ko_end_pool(void)
{
	struct bus_result r;
	uint64_t i = 3;

	int ret = bus_pool_apply(ko.pool, ECHO, &i, sizeof(i), &r, -1);

	/* The victim may have died of that one. */
	if (!ret && r.kind == BUS_RESULT_DEATH && ko.op->max_attempts == 1)
		ret = bus_pool_apply(ko.pool, ECHO, &i, sizeof(i), &r, -1);
	if (ret || r.kind != BUS_RESULT_OK || memcmp(r.data, &i, sizeof(i)))
		WRONG();
	bus_pool_close(ko.pool);
	if (bus_pool_join(ko.pool, -1))
		WRONG();
	bus_pool_free(ko.pool);
	ko.pool = NULL;
}

static bool owner_done(void)
{
	return ko.sh->owner_done;
}

static void check_owner(void)
{
	int status;

	ko.sh->go = ko.sh->cancel = 1;
	if (!point_soon(owner_done)) {
		BAD(hung, "a future does not complete");
		t_kill(ko.owner);
		return;
	}
	point_watch("the owner does not leave");
	status = t_wait(ko.owner);
	if (status)
		point_bad(torture_verdict(status), "the owner cannot leave");
	for (uint32_t i = 0; i < N_TASKS; i++) {
		/* map and imap have no futures that one sees */
		bool used = ko.sh->n_complete[i] || ko.sh->n_called[i];

		if (ko.sh->n_complete[i] > 1 || ko.sh->n_called[i] > 1)
			BAD(duplicated, "completed twice");
		if (used && ko.sh->n_called[i] != ko.sh->n_complete[i])
			BAD(lost, "a callback was not called");
	}
}

static bool another_pool(void)
{
	point_watch("a new pool does not work");
	ko_start_pool();
	if (ko.sh->wrong) {
		BAD(leaked, "no new pool");
		return false;
	}
	ko_end_pool();
	return true;
}

/*
 * Others of that name, in our process; they need no more channels than there
 * are.  But the first may: an end that was given to a worker is its until it is
 * reaped, and we do not wait for the one who does that.
 */
static void check_new_pool(void)
{
	uint32_t before = audit_channels(ko.bus), now;

	ko.sh->n_inits = 1;
	if (!another_pool())
		return;
	now = audit_channels(ko.bus);
	if (now > before && another_pool() && audit_channels(ko.bus) > now)
		BAD(leaked, "a channel is not used again");
}

static void audit(void)
{
	point_watch("the audit hangs");
	audit_bus(ko.bus);
	if (!ko.sh->wrong)
		check_new_pool();
	audit_ids(ko.bus, MAX_EP);
	bus_close(ko.bus);
	if (t_count_fds() != ko.fds)
		BAD(leaked, "a descriptor is left");
}

void ko_survive(void)
{
	if (ko.op->role == WORKER)
		check_owner();
	else if (ko.op->role == OUTSIDE)
		ko_end_pool();
	audit();
	if (ko.sh->wrong)
		BAD(wrong, "%s:%u: not that", ko.sh->wrong_file,
		    (unsigned)ko.sh->wrong);
}
