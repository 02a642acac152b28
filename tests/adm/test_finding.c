/*
 * test_finding.c - tests of tools/adm/finding*.c; Criterion suite "finding"
 *
 * Most compare two snaps of a real bus in which words were changed: so states
 * that last for no time, or that a bus is never in, can be looked at.  Those
 * with real processes are at the end, and in scenario/busadm_check.sh.
 */
#include "config.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <sys/wait.h>

#include "bus/pipe_side.h"
#include "tests/adm/t_adm.h"
#include "tools/adm/finding_show.h"

static struct snap was, now;
static struct findings found;

static void setup(void)
{
	adm_setup();
}

static void teardown(void)
{
	findings_free(&found);
	snap_free(&was);
	snap_free(&now);
	adm_teardown();
}

TestSuite(finding, .init = setup, .fini = teardown, .timeout = 200.0);

/* ----------------------------------------------------------- the stage -- */

/* Two looks at the bus as it is; everybody is asleep, as far as is known. */
static void look_twice(void)
{
	adm_snap();
	snap_free(&was);
	snap_free(&now);
	cr_assert_eq(snap_take(&view, true, &was), 0);
	cr_assert_eq(snap_take(&view, true, &now), 0);
	for (uint32_t id = 1; id < now.n_eps; id++)
		if (snap_attached(&now.ep[id]))
			was.ep[id].proc.state = now.ep[id].proc.state =
				PROCESS_ASLEEP;
}

/* What is found if they were @apart_ms apart. */
static void compare(uint64_t apart_ms)
{
	now.taken_ns = was.taken_ns + apart_ms * SB_NS_PER_MS;
	findings_free(&found);
	cr_assert_eq(findings_compare(&was, &now, FINDING_LONG_NS, &found), 0);
}

static const struct finding *get(const char *rule)
{
	for (uint32_t i = 0; i < found.n; i++)
		if (!strcmp(found.at[i].rule, rule))
			return &found.at[i];
	return NULL;
}

static bool says(const char *rule, enum finding_severity severity)
{
	const struct finding *f = get(rule);

	return f && f->severity == severity;
}

/* Nothing that counts. */
static void expect_well(void)
{
	cr_assert_eq(findings_bad(&found), 0, "%s: %s", found.at[0].rule,
		     found.at[0].what);
}

static struct snap_ring *ring_of(struct snap *s, const char *name)
{
	struct snap_chan *c = (struct snap_chan *)(uintptr_t)snap_find(s, name);

	cr_assert_not_null(c);
	cr_assert_not_null(c->ring);
	return c->ring;
}

static void set_bit(struct snap_set *set, uint32_t id)
{
	set->bits[id / 64] |= UINT64_C(1) << id % 64;
}

static void both_states(uint32_t id, enum process_state state)
{
	was.ep[id].proc.state = now.ep[id].proc.state = state;
}

/* Endpoint @id sleeps for messages of @name in both. */
static void sleeps_for_messages(const char *name, uint32_t id)
{
	set_bit(&ring_of(&was, name)->rx, id);
	set_bit(&ring_of(&now, name)->rx, id);
}

static void sleeps_for_room(const char *name, uint32_t id)
{
	set_bit(&ring_of(&was, name)->tx, id);
	set_bit(&ring_of(&now, name)->tx, id);
}

/* A queue of 4, with @n messages put. */
static struct bus_queue *queue_with(uint32_t n, uint32_t flags)
{
	struct bus_queue *q = t_queue(bus, "q", 4, 24, flags);

	for (uint32_t i = 0; i < n; i++)
		cr_assert_eq(t_put_u64(q, i, 0), 0);
	return q;
}

/* ----------------------------------------------------------------- all well */

Test(finding, a_bus_that_is_well_has_none)
{
	struct bus_queue *q = queue_with(3, 0);
	struct bus_pipe *a, *b;
	struct bus_msg msg;

	t_pipe(bus, BUS_PIPE_LATENCY, 0, 0, &a, &b);
	cr_assert_eq(bus_queue_peek(q, &msg, 0), 0);
	look_twice();
	compare(10000);
	cr_assert_eq(found.n, 0, "%s", found.n ? found.at[0].what : "");
	cr_assert_eq(bus_queue_release(q, &msg), 0);
}

/* ------------------------------------------------------------ asleep beside */

Test(finding, a_reader_asleep_beside_a_message_is_found_after_a_second)
{
	const struct finding *f;

	queue_with(2, 0);
	look_twice();
	sleeps_for_messages("q", 1);
	compare(200);
	expect_well();
	cr_assert_eq(found.wants_ns, FINDING_ASLEEP_NS);
	compare(1000);
	cr_assert(says("asleep-reader", FINDING_WARNING));
	f = get("asleep-reader");
	cr_assert_eq(f->ep, 1);
	cr_assert_eq(f->pid, getpid());
	cr_assert_str_eq(f->where, "queue 'q'");
	cr_assert_not_null(strstr(f->what, "2 messages"));
	cr_assert_not_null(strstr(f->remedy, "kill -KILL"));
}

Test(finding, a_reader_who_waits_for_a_processor_is_not_blamed)
{
	queue_with(2, 0);
	look_twice();
	sleeps_for_messages("q", 1);
	now.ep[1].proc.state = PROCESS_RUNNING;
	compare(5000);
	expect_well();
}

Test(finding, a_queue_that_moves_has_no_sleepers_who_are_stuck)
{
	queue_with(3, 0);
	look_twice();
	sleeps_for_messages("q", 1);
	ring_of(&was, "q")->head--;
	compare(5000);
	expect_well();
}

Test(finding, a_reader_who_was_rung_meanwhile_is_not_stuck)
{
	queue_with(2, 0);
	look_twice();
	sleeps_for_messages("q", 1);
	memset(&ring_of(&now, "q")->rx, 0, sizeof(struct snap_set));
	compare(5000);
	expect_well();
}

Test(finding, another_endpoint_of_the_same_number_is_not_the_one_who_slept)
{
	queue_with(2, 0);
	look_twice();
	sleeps_for_messages("q", 1);
	now.ep[1].word += 0x100; /* the next generation */
	compare(5000);
	cr_assert_null(get("asleep-reader"));
}

Test(finding, a_message_that_came_back_can_be_slept_beside_too)
{
	struct bus_queue *q = queue_with(1, 0);
	struct bus_msg msg;

	cr_assert_eq(bus_queue_peek(q, &msg, 0), 0);
	cr_assert_eq(bus_queue_give_back(q, &msg), 0);
	look_twice();
	sleeps_for_messages("q", 1);
	compare(1000);
	cr_assert(says("asleep-reader", FINDING_WARNING));
}

Test(finding, a_message_that_is_being_written_cannot_be_slept_beside)
{
	struct bus_queue *q = queue_with(0, BUS_QUEUE_STRICT);
	struct bus_msg loan;

	cr_assert_eq(bus_queue_loan(q, 8, &loan, 0), 0);
	look_twice();
	sleeps_for_messages("q", 1);
	compare(5000);
	expect_well();
	cr_assert(says("unfinished", FINDING_NOTE));
	cr_assert_eq(bus_queue_cancel(q, &loan), 0);
}

Test(finding, a_writer_asleep_beside_a_free_slot_is_found)
{
	queue_with(3, 0);
	look_twice();
	sleeps_for_room("q", 1);
	compare(200);
	expect_well();
	compare(1000);
	cr_assert(says("asleep-writer", FINDING_WARNING));
}

Test(finding, a_writer_of_a_full_queue_may_sleep)
{
	struct bus_queue *q = queue_with(4, 0);

	(void)q;
	look_twice();
	sleeps_for_room("q", 1);
	compare(5000);
	cr_assert_null(get("asleep-writer"));
}

Test(finding, slots_behind_one_that_is_held_are_no_room_a_lap_ahead)
{
	struct bus_queue *q = queue_with(4, 0);
	struct bus_msg msg[2];

	/* The second is released: its slot is free, and beyond a lap. */
	cr_assert_eq(bus_queue_peek(q, &msg[0], 0), 0);
	cr_assert_eq(bus_queue_peek(q, &msg[1], 0), 0);
	cr_assert_eq(bus_queue_release(q, &msg[1]), 0);
	for (int i = 0; i < 2; i++)
		t_put_u64(q, 9, 0);
	look_twice();
	sleeps_for_room("q", 1);
	cr_assert_eq(t_put_u64(q, 9, 0), -EAGAIN);
	compare(5000);
	cr_assert_null(get("asleep-writer"));
	cr_assert_eq(bus_queue_release(q, &msg[0]), 0);
}

Test(finding, a_writer_asleep_on_a_closed_queue_is_found)
{
	cr_assert_eq(bus_queue_close(queue_with(4, 0)), 0);
	look_twice();
	sleeps_for_room("q", 1);
	compare(1000);
	cr_assert(says("asleep-writer", FINDING_WARNING));
}

Test(finding, a_reader_asleep_at_the_end_is_found)
{
	cr_assert_eq(bus_queue_close(queue_with(0, 0)), 0);
	look_twice();
	sleeps_for_messages("q", 1);
	compare(200);
	expect_well();
	compare(1000);
	cr_assert(says("asleep-reader", FINDING_WARNING));
}

/* --------------------------------------------------------- who is missing */

Test(finding, a_full_queue_that_nobody_reads_is_found)
{
	queue_with(4, 0);
	look_twice();
	sleeps_for_room("q", 1);
	compare(200);
	expect_well();
	compare(1000);
	cr_assert(says("full", FINDING_WARNING));
	cr_assert_not_null(strstr(get("full")->what, "4 messages"));
	cr_assert_not_null(strstr(get("full")->what, "1 writer is asleep"));
}

Test(finding, a_full_queue_whose_reader_lives_is_a_note_that_names_him)
{
	struct bus_queue *q = queue_with(4, 0);

	t_get_u64(q);
	cr_assert_eq(t_put_u64(q, 9, 0), 0);
	look_twice();
	compare(1000);
	expect_well();
	cr_assert(says("full", FINDING_NOTE));
	cr_assert_eq(get("full")->ep, 1);
}

Test(finding, a_full_queue_whose_last_reader_is_dead_is_a_warning)
{
	struct bus *other = adm_attach();
	struct bus_queue *q = queue_with(4, 0);

	t_get_u64(t_queue(other, "q", 4, 24, 0));
	cr_assert_eq(t_put_u64(q, 9, 0), 0);
	look_twice();
	both_states(2, PROCESS_DEAD);
	compare(1000);
	cr_assert(says("full", FINDING_WARNING));
	bus_close(other);
}

Test(finding, a_full_queue_whose_last_reader_is_stopped_is_a_warning)
{
	struct bus_queue *q = queue_with(4, 0);

	t_get_u64(q);
	cr_assert_eq(t_put_u64(q, 9, 0), 0);
	look_twice();
	both_states(1, PROCESS_STOPPED);
	compare(1000);
	cr_assert(says("full", FINDING_WARNING));
	cr_assert_eq(get("full")->ep, 1);
	cr_assert_not_null(strstr(get("full")->remedy, "kill -CONT"));
}

Test(finding, messages_all_held_are_a_note_that_names_who_has_most)
{
	struct bus_queue *q = queue_with(4, 0);
	struct bus_msg msg[4];

	for (int i = 0; i < 4; i++)
		cr_assert_eq(bus_queue_peek(q, &msg[i], 0), 0);
	look_twice();
	compare(1000);
	expect_well();
	cr_assert_eq(get("all-held")->ep, 1);
	for (int i = 0; i < 4; i++)
		cr_assert_eq(bus_queue_release(q, &msg[i]), 0);
}

Test(finding, what_a_closed_queue_still_has_is_a_note)
{
	cr_assert_eq(bus_queue_close(queue_with(2, 0)), 0);
	look_twice();
	compare(1000);
	expect_well();
	cr_assert_not_null(get("left-over"));
}

/* ------------------------------------------------------ who is in the way */

Test(finding, a_loan_that_keeps_back_a_strict_queue_is_found)
{
	struct bus_queue *q = queue_with(0, BUS_QUEUE_STRICT);
	struct bus_msg loan;

	cr_assert_eq(bus_queue_loan(q, 8, &loan, 0), 0);
	cr_assert_eq(t_put_u64(q, 1, 0), 0);
	look_twice();
	compare(200);
	expect_well();
	compare(1000);
	cr_assert(says("unfinished", FINDING_WARNING));
	cr_assert_eq(get("unfinished")->pos, 0);
	cr_assert_eq(get("unfinished")->ep, 1);
	both_states(1, PROCESS_RUNNING);
	compare(1000);
	expect_well();
	cr_assert_eq(bus_queue_cancel(q, &loan), 0);
}

Test(finding, what_is_held_by_one_who_has_left_is_lost)
{
	struct bus_queue *q = queue_with(1, 0);
	struct bus_msg msg;

	cr_assert_eq(bus_queue_peek(q, &msg, 0), 0);
	look_twice();
	was.ep[1].word = now.ep[1].word = BUS_EP_RETIRED;
	was.ep[1].state = now.ep[1].state = BUS_EP_RETIRED;
	compare(200);
	expect_well();
	compare(1000);
	cr_assert(says("lost", FINDING_ERROR));
	cr_assert_eq(bus_queue_release(q, &msg), 0);
}

/* --------------------------------------------------------- stopped and dead */

Test(finding, what_a_stopped_one_holds_is_told)
{
	struct bus_queue *q = queue_with(3, 0);
	struct bus_msg msg[2];

	cr_assert_eq(bus_queue_peek(q, &msg[0], 0), 0);
	look_twice();
	both_states(1, PROCESS_STOPPED);
	compare(1); /* it needs no time */
	cr_assert(says("stopped", FINDING_WARNING));
	cr_assert_not_null(strstr(get("stopped")->what,
				  "message at position 0 of queue 'q'"));
	cr_assert_not_null(strstr(get("stopped")->remedy, "kill -CONT"));
	cr_assert_eq(bus_queue_peek(q, &msg[1], 0), 0);
	look_twice();
	both_states(1, PROCESS_TRACED);
	compare(1);
	cr_assert_not_null(strstr(get("stopped")->what, "2 messages"));
	cr_assert_not_null(strstr(get("stopped")->what, "debugger"));
	now.ep[1].proc.state = PROCESS_RUNNING;
	compare(5000);
	cr_assert_null(get("stopped"));
	for (int i = 0; i < 2; i++)
		cr_assert_eq(bus_queue_release(q, &msg[i]), 0);
}

Test(finding, a_stopped_one_who_holds_nothing_is_a_note)
{
	queue_with(0, 0);
	look_twice();
	both_states(1, PROCESS_STOPPED);
	compare(1);
	expect_well();
	cr_assert(says("stopped", FINDING_NOTE));
}

Test(finding, a_stopped_reader_beside_messages_is_a_warning)
{
	queue_with(2, 0);
	look_twice();
	sleeps_for_messages("q", 1);
	both_states(1, PROCESS_STOPPED);
	compare(1000);
	cr_assert_null(get("asleep-reader"));
	cr_assert(says("stopped", FINDING_WARNING));
	cr_assert_not_null(strstr(get("stopped")->what, "one to read"));
}

Test(finding, one_finding_for_each_that_is_stopped)
{
	struct bus *other[12];

	for (int i = 0; i < 12; i++)
		other[i] = adm_attach();
	look_twice();
	for (uint32_t id = 1; id < now.n_eps; id++)
		if (snap_attached(&now.ep[id]))
			both_states(id, PROCESS_STOPPED);
	compare(1);
	cr_assert_eq(found.n, 13);
	for (int i = 0; i < 12; i++)
		bus_close(other[i]);
}

Test(finding, a_death_counts_when_nobody_has_recovered_it_for_two_seconds)
{
	struct bus *other = adm_attach();
	struct bus_queue *q = queue_with(1, 0);
	struct bus_msg msg;

	q = t_queue(other, "q", 4, 24, 0);
	cr_assert_eq(bus_queue_peek(q, &msg, 0), 0);
	look_twice();
	both_states(2, PROCESS_ZOMBIE);
	compare(1000);
	expect_well();
	cr_assert_eq(found.wants_ns, FINDING_LONGEST_NS);
	compare(2000);
	cr_assert(says("dead", FINDING_WARNING));
	cr_assert_eq(get("dead")->ep, 2);
	cr_assert_not_null(strstr(get("dead")->what, "position 0"));
	/* Of one who held nothing it is a note. */
	cr_assert_eq(bus_queue_release(q, &msg), 0);
	look_twice();
	both_states(2, PROCESS_DEAD);
	compare(2000);
	expect_well();
	cr_assert(says("dead", FINDING_NOTE));
	bus_close(other);
}

Test(finding, if_all_are_dead_it_is_said_once)
{
	struct bus *other = adm_attach();

	queue_with(4, 0);
	look_twice();
	both_states(1, PROCESS_DEAD);
	both_states(2, PROCESS_DEAD);
	compare(2000);
	expect_well();
	cr_assert_eq(found.n, 1);
	cr_assert(says("dead", FINDING_NOTE));
	bus_close(other);
}

Test(finding, who_neither_comes_nor_goes_is_a_note)
{
	look_twice();
	was.ep[1].state = now.ep[1].state = BUS_EP_LEAVING;
	compare(1000);
	cr_assert_eq(found.n, 0);
	compare(2000);
	cr_assert(says("between", FINDING_NOTE));
}

Test(finding, a_directory_that_is_locked_for_long_is_found)
{
	look_twice();
	was.dir_owner = now.dir_owner = 1;
	compare(1000);
	expect_well();
	compare(2000);
	cr_assert(says("directory", FINDING_WARNING));
	cr_assert_eq(get("directory")->ep, 1);
	/* Of one who was never there. */
	was.dir_owner = now.dir_owner = 5;
	compare(2000);
	cr_assert(says("directory", FINDING_ERROR));
}

Test(finding, endpoints_that_are_used_up_are_a_note)
{
	look_twice();
	was.n_attached = now.n_attached = now.n_eps - 2;
	compare(200);
	expect_well();
	cr_assert_not_null(get("endpoints"));
}

Test(finding, an_orphan_with_messages_is_a_warning)
{
	queue_with(3, 0);
	look_twice();
	view.creator = VIEW_CREATOR_DEAD;
	both_states(1, PROCESS_DEAD);
	compare(200);
	cr_assert(says("orphan", FINDING_WARNING));
	cr_assert_not_null(strstr(get("orphan")->what, "3 messages"));
}

Test(finding, an_orphan_that_nobody_has_and_is_empty_is_a_note)
{
	queue_with(0, 0);
	look_twice();
	view.creator = VIEW_CREATOR_DEAD;
	both_states(1, PROCESS_DEAD);
	compare(200);
	expect_well();
	cr_assert(says("orphan", FINDING_NOTE));
	cr_assert_not_null(strstr(get("orphan")->remedy, "busadm gc"));
}

/* ------------------------------------------------------------------- damage */

Test(finding, positions_that_go_back_are_damage)
{
	queue_with(3, 0);
	look_twice();
	ring_of(&was, "q")->tail = 4;
	compare(200);
	cr_assert(says("damaged", FINDING_ERROR));
	look_twice();
	ring_of(&was, "q")->head = 2;
	ring_of(&now, "q")->head = 1;
	compare(200);
	cr_assert(says("damaged", FINDING_ERROR));
}

Test(finding, readers_ahead_of_writers_are_damage)
{
	queue_with(3, 0);
	look_twice();
	ring_of(&was, "q")->head = ring_of(&now, "q")->head = 4;
	compare(200);
	cr_assert(says("damaged", FINDING_ERROR));
}

Test(finding, a_busy_ring_whose_ends_were_read_apart_is_no_damage)
{
	struct snap_ring *r;

	queue_with(3, 0);
	look_twice();
	r = ring_of(&was, "q");
	r->bad = "its head and its tail contradict each other";
	r->head = 10; /* read after tail, which had moved on */
	r->tail = 8;
	r = ring_of(&now, "q");
	r->bad = "its head and its tail contradict each other";
	r->head = 25;
	r->tail = 23;
	compare(200);
	cr_assert_null(get("damaged"));
}

Test(finding, positions_may_wrap)
{
	uint64_t top = UINT64_C(1) << 48;
	struct snap_ring *r;

	queue_with(0, 0);
	look_twice();
	r = ring_of(&was, "q");
	r->head = r->tail = top - 1;
	r = ring_of(&now, "q");
	r->head = r->tail = 2;
	compare(200);
	expect_well();
}

static void spoil(struct snap *s, uint64_t seq)
{
	struct snap_slot *slot = &ring_of(s, "q")->slot[1];

	slot->state = SNAP_BAD;
	slot->bad = "it is bad";
	slot->seq = seq;
}

Test(finding, a_slot_that_is_bad_in_one_of_two_looks_was_read_while_it_changed)
{
	queue_with(3, 0);
	look_twice();
	spoil(&was, 0x1234);
	compare(200);
	expect_well();
	spoil(&now, 0x4321); /* bad again, but otherwise */
	compare(200);
	expect_well();
	spoil(&now, 0x1234);
	compare(200);
	cr_assert(says("damaged", FINDING_ERROR));
}

Test(finding, of_a_copy_contradictions_are_notes_and_wrong_words_are_errors)
{
	queue_with(3, 0);
	look_twice();
	spoil(&was, UINT64_C(1) << 16 | SB_FULL);
	findings_compare(&was, &was, FINDING_LONG_NS, &found);
	expect_well();
	cr_assert_not_null(get("contradiction"));
	findings_free(&found);
	spoil(&was, UINT64_C(2) << 16 | SB_FULL); /* another slot's */
	findings_compare(&was, &was, FINDING_LONG_NS, &found);
	cr_assert(says("damaged", FINDING_ERROR));
}

Test(finding, of_a_copy_what_may_pass_is_a_note)
{
	queue_with(2, 0);
	look_twice();
	sleeps_for_messages("q", 1);
	both_states(1, PROCESS_UNKNOWN);
	findings_compare(&was, &was, FINDING_LONG_NS, &found);
	expect_well();
	cr_assert(says("asleep-reader", FINDING_NOTE));
	cr_assert_eq(found.wants_ns, 0);
}

Test(finding, many_of_the_same_are_counted)
{
	struct bus_queue *q = t_queue(bus, "q", 64, 24, 0);

	(void)q;
	look_twice();
	for (int i = 0; i < 64; i++) {
		ring_of(&was, "q")->slot[i].state = SNAP_BAD;
		ring_of(&now, "q")->slot[i].state = SNAP_BAD;
	}
	compare(200);
	cr_assert_leq(found.n, 8);
	cr_assert_eq(found.n_of[FINDING_ERROR], 64);
	cr_assert_eq(found.n + found.n_left_out[FINDING_ERROR], 64);
}

Test(finding, channels_that_clash_are_damage)
{
	queue_with(0, 0);
	t_queue(bus, "r", 4, 24, 0);
	look_twice();
	was.chan[1].off = now.chan[1].off = now.chan[0].off;
	compare(200);
	cr_assert(says("damaged", FINDING_ERROR));
	look_twice();
	strcpy(was.chan[1].name, "q");
	strcpy(now.chan[1].name, "q");
	compare(200);
	cr_assert(says("damaged", FINDING_ERROR));
}

Test(finding, a_channel_that_is_only_too_large_is_not_damaged)
{
	queue_with(0, 0);
	look_twice();
	was.chan[0].bad = now.chan[0].bad = "too many";
	was.chan[0].unread = now.chan[0].unread = true;
	compare(200);
	expect_well();
	cr_assert_not_null(get("unread"));
}

/* ------------------------------------------------------------------- pipes */

static struct snap_pipe *pipe_of(struct snap *s)
{
	for (uint32_t i = 0; i < s->n_chans; i++)
		if (s->chan[i].pipe)
			return s->chan[i].pipe;
	cr_assert_fail("no pipe");
	return NULL;
}

/* Both ends of a pipe are ours, with a record from side 0. */
static void pipe_with_a_record(void)
{
	struct bus_pipe *a, *b;
	char c;
	size_t n;

	t_pipe(bus, BUS_PIPE_LATENCY, BUS_PIPE_SIMPLEX, 0, &a, &b);
	cr_assert_eq(bus_pipe_send(a, "x", 1, 0), 0);
	cr_assert_eq(bus_pipe_recv(b, &c, 1, &n, 0), 0);
	cr_assert_eq(bus_pipe_send(a, "y", 1, 0), 0);
	look_twice();
	cr_assert_eq(pipe_of(&now)->dir[0].n_records, 1);
	cr_assert_eq(pipe_of(&now)->side[1].ep, 1);
}

Test(finding, a_reader_asleep_beside_a_record_is_found)
{
	pipe_with_a_record();
	set_bit(&pipe_of(&was)->dir[0].rx, 1);
	set_bit(&pipe_of(&now)->dir[0].rx, 1);
	compare(200);
	expect_well();
	compare(1000);
	cr_assert(says("asleep-reader", FINDING_WARNING));
	pipe_of(&was)->dir[0].n_received--;
	compare(1000);
	expect_well();
}

Test(finding, a_full_pipe_whose_reader_does_something_else_is_a_note)
{
	pipe_with_a_record();
	pipe_of(&was)->dir[0].full = pipe_of(&now)->dir[0].full = true;
	set_bit(&pipe_of(&was)->dir[0].tx, 1);
	set_bit(&pipe_of(&now)->dir[0].tx, 1);
	compare(1000);
	expect_well();
	cr_assert_eq(get("full")->ep, 1);
}

Test(finding, a_full_pipe_that_nobody_has_opened_is_a_warning)
{
	pipe_with_a_record();
	for (int i = 0; i < 2; i++) {
		struct snap_pipe *p = pipe_of(i ? &now : &was);

		p->dir[0].full = true;
		p->side[1].state = BUS_SIDE_NEVER;
		p->side[1].ep = 0;
		set_bit(&p->dir[0].tx, 1);
	}
	compare(200);
	expect_well();
	compare(1000);
	cr_assert(says("full", FINDING_WARNING));
}

Test(finding, a_stopped_peer_for_whom_a_pipe_waits_is_a_warning)
{
	struct bus *other = adm_attach();

	pipe_with_a_record();
	pipe_of(&was)->side[0].ep = pipe_of(&now)->side[0].ep = 2;
	set_bit(&pipe_of(&was)->dir[0].rx, 1);
	set_bit(&pipe_of(&now)->dir[0].rx, 1);
	both_states(2, PROCESS_STOPPED);
	compare(1);
	cr_assert(says("stopped", FINDING_WARNING));
	cr_assert_not_null(strstr(get("stopped")->what, "side 0 of pipe"));
	bus_close(other);
}

Test(finding, a_side_that_went_to_a_dead_process_is_a_note)
{
	pid_t child = t_fork((int (*)(void *))(uintptr_t)getpid, NULL);

	t_wait(child);
	pipe_with_a_record();
	for (int i = 0; i < 2; i++) {
		struct snap_side *s = &pipe_of(i ? &now : &was)->side[0];

		s->state = BUS_SIDE_RESERVED;
		s->pid = s->word_pid = (uint32_t)child;
		s->ep = 0;
	}
	compare(1000);
	cr_assert_null(get("dead-heir"));
	compare(2000);
	expect_well();
	cr_assert_not_null(get("dead-heir"));
}

/* ------------------------------------------------------------------- cells */

static void both_owners(uint32_t cell, uint64_t word)
{
	was.cells.owner[cell] = now.cells.owner[cell] = word;
}

Test(finding, owners_of_cells_that_cannot_be_are_damage)
{
	static const uint64_t words[] = { 4, 3, 0x101 << 8 | 1, 1,
					  0xfb << 8 | 2 };

	for (size_t i = 0; i < lengthof(words); i++) {
		look_twice();
		both_owners(3, words[i]);
		compare(200);
		cr_assert(says("damaged", FINDING_ERROR), "%zu", i);
	}
}

Test(finding, cells_of_one_who_has_left_are_lost)
{
	look_twice();
	both_owners(3, 7 << 8 | 1);
	compare(1000);
	expect_well();
	compare(2000);
	cr_assert(says("lost-cells", FINDING_WARNING));
}

Test(finding, cells_of_messages_that_are_over_are_a_note)
{
	struct bus_queue *q = queue_with(1, 0);

	t_get_u64(q);
	look_twice();
	both_owners(3, 0 << 16 | 0 << 8 | 2);
	compare(2000);
	expect_well();
	cr_assert_not_null(get("stale-cells"));
}

Test(finding, a_large_message_and_its_cell_are_well)
{
	struct bus_queue *q = queue_with(0, 0);
	char large[5000];

	memset(large, 1, sizeof(large));
	cr_assert_eq(bus_queue_put(q, large, sizeof(large), 0), 0);
	look_twice();
	compare(5000);
	cr_assert_eq(found.n, 0);
}

Test(finding, a_large_message_without_bytes_is_an_error)
{
	struct bus_queue *q = queue_with(0, 0);
	char large[5000];
	uint32_t cell;

	memset(large, 1, sizeof(large));
	cr_assert_eq(bus_queue_put(q, large, sizeof(large), 0), 0);
	look_twice();
	cell = ring_of(&now, "q")->slot[0].cell;
	both_owners(cell, 0);
	compare(200);
	cr_assert(says("no-bytes", FINDING_ERROR));
}

Test(finding, who_waits_for_a_cell_beside_a_free_one_is_found)
{
	look_twice();
	was.ep[1].wants_cell = now.ep[1].wants_cell = true;
	compare(200);
	expect_well();
	compare(1000);
	cr_assert(says("asleep-writer", FINDING_WARNING));
	for (uint32_t i = 0; i < now.cells.n_cells; i++)
		both_owners(i, 1 << 8 | 1);
	compare(1000);
	expect_well();
	cr_assert(says("no-cell", FINDING_NOTE));
}

/* ------------------------------------------------------------ coordinators */

static int twice(void *ctx, const void *req, size_t len_bytes,
		 struct bus_reply *reply)
{
	(void)ctx;
	return bus_reply_put(reply, req, len_bytes);
}

static bool all_answered(void *arg)
{
	const struct snap_chan *c = adm_chan("work");

	return c->ring->n[SNAP_ANSWERED] == *(uint32_t *)arg;
}

/* A coordinator with @n answers to collect. */
static struct bus_coord *coord_with(uint32_t n)
{
	struct bus_coord_config config = BUS_COORD_CONFIG_INIT;
	struct bus_coord *coord;

	config.handler = twice;
	config.n_workers = 1;
	config.window = 8;
	cr_assert_eq(bus_coord_start(bus, "work", &config, &coord), 0);
	for (uint32_t i = 0; i < n; i++)
		cr_assert_eq(bus_submit(coord, i, &i, sizeof(i), -1), 0);
	cr_assert(t_eventually(all_answered, &n, 20000));
	look_twice();
	return coord;
}

static void coord_sleeps(void)
{
	set_bit(&ring_of(&was, "work")->done, 1);
	set_bit(&ring_of(&now, "work")->done, 1);
}

Test(finding, a_coordinator_asleep_beside_answers_is_found)
{
	struct bus_coord *coord = coord_with(2);

	coord_sleeps();
	compare(200);
	expect_well();
	compare(1000);
	cr_assert(says("asleep-coordinator", FINDING_WARNING));
	cr_assert_eq(get("asleep-coordinator")->ep, 1);
	bus_coord_stop(coord, -1);
}

Test(finding, the_answer_that_was_collected_last_is_none_to_sleep_beside)
{
	struct bus_coord *coord = coord_with(1);
	struct bus_result r;

	cr_assert_eq(bus_collect(coord, &r, -1), 0);
	look_twice();
	cr_assert_eq(ring_of(&now, "work")->n[SNAP_ANSWERED], 1);
	coord_sleeps();
	compare(5000);
	expect_well();
	bus_coord_stop(coord, -1);
}

Test(finding, a_large_result_that_is_lent_is_no_damage)
{
	struct bus_coord_config config = BUS_COORD_CONFIG_INIT;
	struct bus_coord *coord;
	struct bus_result r;
	char large[20000];

	memset(large, 1, sizeof(large));
	config.handler = twice;
	config.result_bytes = sizeof(large);
	cr_assert_eq(bus_coord_start(bus, "work", &config, &coord), 0);
	cr_assert_eq(bus_submit(coord, 1, large, sizeof(large), -1), 0);
	cr_assert_eq(bus_collect(coord, &r, -1), 0);
	cr_assert_eq(r.len_bytes, sizeof(large));
	look_twice();
	compare(200);
	cr_assert_eq(found.n, 0, "%s", found.n ? found.at[0].what : "");
	bus_coord_stop(coord, -1);
}

static int for_ever(void *ctx, const void *req, size_t len_bytes,
		    struct bus_reply *reply)
{
	(void)ctx;
	(void)req;
	(void)len_bytes;
	while (!bus_reply_canceled(reply))
		pause();
	return 0;
}

static bool at_work(void *arg)
{
	const struct snap_chan *c = adm_chan("pool");

	(void)arg;
	return c->crew->place[0].word != 0;
}

static struct bus_pool *pool_at_work(void)
{
	static const bus_handler handlers[] = { for_ever };
	struct bus_pool_config config = BUS_POOL_CONFIG_INIT;
	struct bus_pool *pool;

	config.handlers = handlers;
	config.n_handlers = 1;
	config.n_workers = 1;
	config.window = 8;
	cr_assert_eq(bus_pool_start(bus, "pool", &config, &pool), 0);
	for (int i = 0; i < 2; i++)
		cr_assert_eq(bus_pool_submit(pool, 0, "task", 4, NULL, NULL, 0),
			     0);
	cr_assert(t_eventually(at_work, NULL, 20000));
	look_twice();
	return pool;
}

static struct snap_crew *crew_of(struct snap *s)
{
	struct snap_chan *c =
		(struct snap_chan *)(uintptr_t)snap_find(s, "pool");

	cr_assert_not_null(c->crew);
	return c->crew;
}

static void since(uint64_t ns)
{
	crew_of(&was)->place[0].since_ns = crew_of(&now)->place[0].since_ns =
		ns;
}

Test(finding, a_worker_that_is_long_at_a_task_is_found)
{
	struct bus_pool *pool = pool_at_work();

	compare(200);
	expect_well();
	since(was.taken_ns - 59 * SB_NS_PER_S);
	compare(200);
	expect_well();
	since(was.taken_ns - 61 * SB_NS_PER_S);
	compare(200);
	cr_assert(says("long-task", FINDING_WARNING));
	cr_assert_eq((uint32_t)get("long-task")->pid,
		     crew_of(&now)->place[0].pid);
	/* Another task, which began meanwhile. */
	crew_of(&now)->place[0].task++;
	compare(200);
	expect_well();
	bus_pool_free(pool);
}

Test(finding, a_worker_that_was_to_be_killed_and_lives_is_found)
{
	struct bus_pool *pool = pool_at_work();

	crew_of(&was)->place[0].doomed = crew_of(&now)->place[0].doomed = true;
	compare(1000);
	expect_well();
	compare(2000);
	cr_assert(says("doomed", FINDING_WARNING));
	crew_of(&now)->place[0].proc.state = PROCESS_ZOMBIE;
	compare(2000);
	cr_assert_null(get("doomed"));
	bus_pool_free(pool);
}

Test(finding, requests_without_a_worker_are_found)
{
	struct bus_pool *pool = pool_at_work();

	crew_of(&was)->place[0].pid = crew_of(&now)->place[0].pid = 0;
	compare(1000);
	expect_well();
	compare(2000);
	cr_assert(says("no-worker", FINDING_WARNING));
	strcpy(crew_of(&now)->init_error, "no \033[31mlicence");
	compare(200);
	cr_assert(says("no-worker", FINDING_WARNING));
	cr_assert_not_null(
		strstr(get("no-worker")->what, "no \\x1b[31mlicence"));
	bus_pool_free(pool);
}

/* ------------------------------------------------------------------ showing */

static json_t *shown;

Test(finding, json_tells_all_of_it)
{
	json_t *one;

	queue_with(4, 0);
	look_twice();
	compare(1000);
	shown = findings_json(&found);
	cr_assert_eq(json_array_size(shown), 1);
	one = json_array_get(shown, 0);
	cr_assert_str_eq(json_string_value(json_object_get(one, "severity")),
			 "warning");
	cr_assert_str_eq(json_string_value(json_object_get(one, "rule")),
			 "full");
	cr_assert_eq(json_integer_value(json_object_get(one, "channel")), 0);
	cr_assert_null(json_object_get(one, "pid"));
	json_decref(shown);
}

Test(finding, nothing_of_a_peer_gets_to_the_terminal)
{
	char *text = NULL;
	size_t n = 0;
	FILE *to;

	queue_with(2, 0);
	look_twice();
	strcpy(was.chan[0].name, "\033[2J");
	strcpy(now.chan[0].name, "\033[2J");
	set_bit(&was.chan[0].ring->rx, 1);
	set_bit(&now.chan[0].ring->rx, 1);
	strcpy(now.ep[1].proc.command, "\033]0;title\a");
	both_states(1, PROCESS_STOPPED);
	compare(1000);
	cr_assert_geq(found.n, 1);
	to = open_memstream(&text, &n);
	findings_print(&found, to, 2, false);
	fclose(to);
	cr_assert_null(strchr(text, '\033'), "%s", text);
	cr_assert_null(strchr(text, '\a'));
	cr_assert_not_null(strstr(text, "\\x1b[2J"));
	free(text);
}

/* ----------------------------------------------------------- real processes */

static int hold_one(void *arg)
{
	struct bus_msg msg;

	T_CHECK(bus_queue_peek(arg, &msg, T_LONG) == 0);
	for (;;)
		pause();
}

static bool somebody_holds(void *arg)
{
	(void)arg;
	return snap_held(adm_chan("q")->ring) == 1;
}

Test(finding, a_process_that_is_stopped_with_a_message_is_found)
{
	struct bus_queue *q = queue_with(1, 0);
	pid_t child = t_fork(hold_one, q);

	cr_assert(t_eventually(somebody_holds, NULL, 20000));
	cr_assert_eq(
		findings_of(&view, 10 * SB_NS_PER_MS, FINDING_LONG_NS, &found),
		0);
	expect_well();
	findings_free(&found);
	kill(child, SIGSTOP);
	waitpid(child, NULL, WUNTRACED);
	cr_assert_eq(
		findings_of(&view, 10 * SB_NS_PER_MS, FINDING_LONG_NS, &found),
		0);
	cr_assert(says("stopped", FINDING_WARNING));
	cr_assert_eq(get("stopped")->pid, child);
	t_kill(child);
}

static int become_another(void *arg)
{
	struct bus_msg msg;

	T_CHECK(bus_queue_peek(arg, &msg, T_LONG) == 0);
	execlp("sleep", "sleep", "1000", (char *)NULL);
	return T_SKIP;
}

static bool is_another(void *arg)
{
	adm_snap();
	for (uint32_t id = 1; id < snap.n_eps; id++)
		if (snap.ep[id].pid == (uint32_t) * (pid_t *)arg)
			return !strncmp(snap.ep[id].proc.command, "sleep", 5);
	return false;
}

Test(finding, an_endpoint_that_called_exec_is_found)
{
	struct bus_queue *q = queue_with(1, 0);
	pid_t child = t_fork(become_another, q);

	cr_assert(t_eventually(is_another, &child, 20000));
	cr_assert_eq(
		findings_of(&view, 10 * SB_NS_PER_MS, FINDING_LONG_NS, &found),
		0);
	cr_assert(says("exec", FINDING_WARNING));
	cr_assert_eq(get("exec")->pid, child);
	cr_assert_not_null(strstr(get("exec")->what, "position 0 of queue"));
	t_kill(child);
}

Test(finding, a_dead_one_is_found_while_nobody_waits_and_not_afterwards)
{
	struct bus_queue *q = queue_with(1, 0);
	pid_t child = t_fork(hold_one, q);

	cr_assert(t_eventually(somebody_holds, NULL, 20000));
	t_kill(child);
	cr_assert_eq(
		findings_of(&view, 10 * SB_NS_PER_MS, FINDING_LONG_NS, &found),
		0);
	cr_assert(says("dead", FINDING_WARNING));
	cr_assert_eq(get("dead")->pid, child);
	cr_assert_eq(t_get_u64(q), 0); /* waits, and recovers */
	findings_free(&found);
	cr_assert_eq(
		findings_of(&view, 10 * SB_NS_PER_MS, FINDING_LONG_NS, &found),
		0);
	cr_assert_eq(found.n, 0);
}
