/*
 * kill_pipe_audit.c - what the victim left, and whether that is what all others
 * were told
 *
 * Before it dies, while it stands still, its side's word and the slots say what
 * must become of it: is half a message there, and with which one must the next
 * reader begin?  In the end that is held against what survivors have received,
 * and nothing may be left.
 */
#include "config.h"

#include "tools/torture/audit.h"
#include "tools/torture/kill_pipe.h"
#include "tools/torture/point.h"
#include "tools/torture/walk.h"

/* ------------------------------------------------------ in shared memory -- */

static struct bus_pipe_head *pipe_head(void)
{
	uint64_t bytes;

	return bus_channel_pipe(kp.bus, 0, &bytes);
}

uint64_t kp_side_word(void)
{
	struct bus_pipe_head *head = pipe_head();

	return head ? ld_acq(&head->side[kp.side]) : 0;
}

static struct sb_spsc *slots_of(struct bus_pipe_head *head, uint32_t dir)
{
	uint32_t i = dir == FROM_VICTIM ? kp.side : 1 - kp.side;

	if (i == 1 && (head->flags & BUS_PIPE_SIMPLEX))
		return NULL;
	return (void *)((unsigned char *)head +
			bus_pipe_dir_off(head->slot_bytes, i));
}

/* A record, as it lies there. */
struct record {
	uint32_t kind;
	size_t len;
	const unsigned char *data;
	uint64_t at; /* lap << 32 | offset */
};

/* The record at @off of lap @lap.  1, 0: none yet; -1: the slot is sealed. */
static int record_at(struct sb_spsc *s, uint32_t lap, uint32_t off,
		     struct record *r)
{
	unsigned char *at = s->slots + (lap & 1) * (size_t)s->slot_bytes + off;
	uint64_t h = ld_acq(sb_spsc_word(at));

	if (!(h & SB_SPSC_THERE) || h >> 32 != lap)
		return 0;
	if (h & SB_SPSC_SEAL)
		return -1;
	r->len = h & SB_SPSC_LEN;
	r->kind = h >> SB_SPSC_KIND_AT & SB_SPSC_KIND_MAX;
	r->data = at + 8;
	r->at = (uint64_t)lap << 32 | off;
	return 1;
}

/* The last record that a writer has published, also when it was read. */
static bool last_record(struct sb_spsc *s, struct record *r)
{
	uint64_t h[2];
	uint32_t lap, off = 0;
	bool any = false;

	for (uint32_t i = 0; i < 2; i++)
		h[i] = ld_acq(sb_spsc_word(s->slots + i * s->slot_bytes));
	if (!h[0])
		return false;
	lap = (uint32_t)(h[0] >> 32);
	if (h[1] && (int32_t)((uint32_t)(h[1] >> 32) - lap) > 0)
		lap = (uint32_t)(h[1] >> 32);
	while (record_at(s, lap, off, r) > 0) {
		any = true;
		off += 8 + (uint32_t)sb_spsc_pad(r->len);
	}
	return any;
}

bool kp_is_half_sent(uint32_t dir, uint64_t *at)
{
	struct bus_pipe_head *head = pipe_head();
	struct sb_spsc *s = head ? slots_of(head, dir) : NULL;
	struct bus_fragment f;
	struct record r;

	if (!s || !last_record(s, &r) || r.kind != BUS_REC_FRAGMENT)
		return false;
	*at = r.at;
	memcpy(&f, r.data, sizeof(f));
	return f.offset_bytes + r.len - sizeof(f) < f.total_bytes;
}

/* The message that begins where the reader of a direction has stopped. */
static uint32_t front_of(uint32_t dir)
{
	struct bus_pipe_head *head = pipe_head();
	struct sb_spsc *s = head ? slots_of(head, dir) : NULL;
	struct bus_fragment f = { 0 };
	struct record r;
	uint64_t at, number;
	int ret;

	if (!s)
		return NO_FRONT;
	at = ld_acq(&s->position);
	ret = record_at(s, (uint32_t)(at >> 32), (uint32_t)at, &r);
	if (ret < 0)
		ret = record_at(s, (uint32_t)(at >> 32) + 1, 0, &r);
	if (ret <= 0)
		return NO_FRONT;
	if (r.kind == BUS_REC_FRAGMENT) {
		memcpy(&f, r.data, sizeof(f));
		r.data += sizeof(f);
		if (f.offset_bytes)
			return NO_FRONT;
	}
	memcpy(&number, r.data, sizeof(number));
	return (uint32_t)number;
}

/* Somebody has the victim's side, or had it: its end is to be seen. */
bool kp_is_taken(uint64_t word)
{
	uint32_t state = bus_side_state(word);

	return state != BUS_SIDE_NEVER && state != BUS_SIDE_MADE;
}

void kp_look(void)
{
	uint64_t at = UINT64_MAX;
	bool half;

	kp.word = kp_side_word();
	kp.front = front_of(TO_VICTIM);
	half = kp_is_half_sent(FROM_VICTIM, &at);
	if (kp.half_before && at == kp.last_before)
		half = false; /* that was the other one */
	if (bus_side_state(kp.word) != BUS_SIDE_OPEN)
		half = false;
	/* It had closed that direction before it died: both can be said. */
	kp.sh->half_closed = !(kp.op->flags & BUS_PIPE_SIMPLEX) &&
			     bus_side_state(kp.word) == BUS_SIDE_OPEN &&
			     (kp.word & BUS_SIDE_GONE);
	kp.maybe_half = half && (kp.word & BUS_SIDE_TX_GONE);
	kp.half = half;
}

/* ----------------------------------------------------- what was received -- */

static int32_t event(const struct log *log, uint32_t at)
{
	return at < log->n ? log->ev[at] : INT32_MIN;
}

/*
 * What a reader is told of one writer, in the log from @at: messages @from ..
 * @to - 1 and its end.  Returns where the next one's begin.
 */
static uint32_t check_writer(uint32_t at, uint32_t from, uint32_t to, bool half,
			     bool maybe_half, bool must_end)
{
	const struct log *log = &kp.sh->log[FROM_VICTIM];
	bool dead, end = at > 0 && event(log, at - 1) == EV_END;

	for (uint32_t i = from; i < to; i++) {
		uint32_t state = kp.sh->put[FROM_VICTIM][i];

		if (event(log, at) == (int32_t)i) {
			at++;
			if (state == NOT)
				BAD(wrong, "one that was never sent");
		} else if (state == DONE) {
			BAD(lost, "a message was lost");
		}
	}
	dead = event(log, at) == EV_DEAD;
	if (dead)
		at++;
	if (dead && !half)
		BAD(wrong, "-EOWNERDEAD for nothing");
	if (!dead && half && !maybe_half)
		BAD(lost, "no -EOWNERDEAD for half a message");
	if (event(log, at) == EV_END)
		at++;
	else if (must_end && !end)
		BAD(wrong, "no end");
	return at;
}

/* Which messages came twice?  The other checks would only say that something
 * is out of order. */
static bool any_twice(const struct log *log)
{
	uint32_t n[N_MSGS] = { 0 };

	for (uint32_t i = 0; i < log->n; i++)
		if (log->ev[i] >= 0 && n[log->ev[i]]++)
			return true;
	return false;
}

/* What survivors received from the victim's side. */
static void check_received(void)
{
	const struct log *log = &kp.sh->log[FROM_VICTIM];
	uint32_t at = 0;

	if (any_twice(log)) {
		BAD(duplicated, "delivered twice");
		return;
	}
	if (kp.op->before == DEAD_WRITER)
		at = check_writer(at, BY_BEFORE, BY_VICTIM, kp.half_before,
				  false, false);
	at = check_writer(at, BY_VICTIM, BY_HEIR, kp.half, kp.maybe_half,
			  !kp.early && kp.op->flow == NAMED);
	at = check_writer(at, BY_HEIR, N_MSGS, false, false, true);
	if (at != log->n)
		BAD(wrong, "out of order");
}

/* Was message @i, which the victim's last call took as its @n-th, in the
 * caller's hands? */
static bool victim_has(uint32_t i, uint32_t n)
{
	size_t len = kp_len_of(TO_VICTIM, i);

	const unsigned char *at =
		kp.sh->buf[0] + n * (kp.op->run ? MID : MSG_MAX);

	/* of one in parts the others may be in a slot that was used again */
	return len > SLOT ||
	       (n < N_HAND && kp_read_message(TO_VICTIM, at, len) == i);
}

/*
 * What the new reader begins with.  The victim's calls have taken the first
 * n, and the one in which it died may have taken so many more.
 */
static void check_first(uint32_t number)
{
	uint32_t n = kp.sh->taken >> 8, most = n + (kp.sh->taken & 0xff);

	if (number < n)
		BAD(duplicated, "what was received comes again");
	for (uint32_t i = n; i < number; i++) {
		if (kp.sh->put[TO_VICTIM][i] != DONE)
			continue;
		if (i >= most)
			BAD(lost, "the new reader has missed it");
		else if (!victim_has(i, i - n))
			BAD(lost, "taken, and in nobody's hands");
	}
	if (kp.front < N_MSGS && kp.sh->put[TO_VICTIM][kp.front] == DONE &&
	    number != kp.front)
		BAD(lost, "not what was at the front");
}

/* What survivors received on the victim's side. */
static void check_taken(void)
{
	const struct log *log = &kp.sh->log[TO_VICTIM];
	uint32_t next;

	if (!log->n)
		return;
	if (log->ev[0] < 0) {
		BAD(wrong, "an end that is none");
		return;
	}
	check_first((uint32_t)log->ev[0]);
	next = (uint32_t)log->ev[0];
	for (uint32_t i = 0; i < log->n; i++, next++) {
		int32_t ev = log->ev[i];

		while (next < N_MSGS && (int32_t)next != ev &&
		       kp.sh->put[TO_VICTIM][next] != DONE)
			next++;
		if (ev < 0) {
			BAD(wrong, "an end that is none");
			return;
		}
		if ((int32_t)next != ev) {
			point_bad(ev < (int32_t)next
					  ? offsetof(struct tally, duplicated)
					  : offsetof(struct tally, lost),
				  "the new reader's messages");
			return;
		}
		if (kp.sh->put[TO_VICTIM][next] == NOT)
			BAD(wrong, "one that was never sent");
	}
}

void kp_check_messages(void)
{
	if (kp.op->flow == ALONE || kp.op->flow == LAST)
		return;
	if (kp.mine.job != WRITE)
		check_received();
	if (kp.mine.job != READ)
		check_taken();
}

/* For who looks at one point. */
void kp_dump(void)
{
	static const char *const names[] = { "from", "to" };

	torture_say(
		"killed after %ld instructions, word %llx, half %d, front %d, "
		"taken %u + %u, %s\n",
		walk.len, (unsigned long long)kp.word, kp.half, (int)kp.front,
		(unsigned)kp.sh->taken >> 8, (unsigned)kp.sh->taken & 0xff,
		kp.early ? "early" : "late");
	for (int d = 0; d < 2; d++) {
		torture_say("%s the victim's side, sent:", names[d]);
		for (int i = 0; i < N_MSGS; i++)
			if (kp.sh->put[d][i])
				torture_say(" %d%s", i,
					    kp.sh->put[d][i] == DONE ? ""
								     : "?");
		torture_say("\n  received:");
		for (uint32_t i = 0; i < kp.sh->log[d].n; i++)
			switch (ld_acq(&kp.sh->log[d].ev[i])) {
			case EV_END:
				torture_say(" end");
				break;
			case EV_DEAD:
				torture_say(" dead");
				break;
			default:
				torture_say(" %d", (int)kp.sh->log[d].ev[i]);
			}
		torture_say("\n");
	}
}

/* ---------------------------------------------------------- what is left -- */

/* Does a message of @len bytes go from one to the other? */
static bool goes(struct bus_pipe *from, struct bus_pipe *to, size_t len)
{
	unsigned char buf[BIG], got[BIG];
	size_t n;

	t_fill(buf, len, 1);
	return !bus_pipe_send(from, buf, len, 0) &&
	       !bus_pipe_recv(to, got, sizeof(got), &n, 0) && n == len &&
	       t_is(got, n, 1);
}

/* The memory of what was can be used again, and works. */
static void check_channels(void)
{
	struct bus_pipe_config c = kp_pipe_settings();
	uint32_t n = audit_channels(kp.bus),
		 least = kp.op->flow == ALONE ? 0 : 1;
	struct bus_pipe *a, *b;
	bool good = true;

	if (n < least || n > 1)
		BAD(leaked, "too many channels");
	if (bus_pipe(kp.bus, &c, &a, &b)) {
		BAD(leaked, "no new pipe");
		return;
	}
	for (int i = 0; i < 4; i++)
		good = good && goes(a, b, MID) && goes(a, b, 8);
	if (!(c.flags & BUS_PIPE_SIMPLEX))
		good = good && goes(b, a, MID);
	if (!good)
		BAD(wrong, "a new pipe does not work");
	bus_pipe_free(a);
	bus_pipe_free(b);
	if (audit_channels(kp.bus) > (n ? n : 1))
		BAD(leaked, "the channel is not used again");
}

void kp_check_last(void)
{
	struct bus_pipe *a = NULL, *b = NULL;

	if (kp_open_side(0, &a) || kp_open_side(1, &b))
		BAD(leaked, "the name cannot be used again");
	else if (!goes(a, b, MID) || !goes(b, a, MID))
		BAD(wrong, "a new pipe does not work");
	bus_pipe_free(a);
	bus_pipe_free(b);
}

void kp_audit(void)
{
	point_watch("the audit hangs");
	audit_bus(kp.bus);
	check_channels();
	audit_ids(kp.bus, MAX_EP);
	bus_close(kp.bus);
	t_gate_close(&kp.gate);
	t_gate_close(&kp.heir_gate);
	if (t_count_fds() != kp.fds)
		BAD(leaked, "a descriptor is left");
	if (t_shm_leftovers()) {
		BAD(leaked, "a file is left");
		t_shm_clean();
	}
}
