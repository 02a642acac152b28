/*
 * pipe.c - the ends of pipes: made, opened, used, handed over, closed
 *
 * A handle is private to a process; whose the end is stands in shared memory
 * (pipe_side.h).  The first call that is not on a short way takes it, and only
 * then are the writer's and the reader's places in the slots looked up: so a
 * handle that was copied by fork() never goes by what its parent knew.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bus/endpoint.h"
#include "bus/pipe.h"
#include "bus/settings.h"
#include "lib/clock.h"

/* Exit status of a spawned child that could not become an endpoint. */
#define SPAWN_FAILED 125

static _Atomic uint64_t *own_word(struct bus_pipe *p)
{
	return &p->head->side[p->side];
}

/* Is this copy, in this process, the owner? */
static bool is_owner(const struct bus_pipe *p)
{
	return p->owned && p->bus->fork_gen == sb_fork_gen;
}

void bus_pipe_set_ways(struct bus_pipe *p)
{
	bool free_way = is_owner(p) && !p->x.on;

	p->tx_gen = free_way && (p->can & BUS_PIPE_SEND) && !p->mark &&
				    !p->loaned && !p->sending
			    ? sb_fork_gen
			    : BUS_NO_GEN;
	p->n_glances = 0;
	p->rx_gen = free_way && (p->can & BUS_PIPE_RECV) && !p->receiving
			    ? sb_fork_gen
			    : BUS_NO_GEN;
}

/* ---------------------------------------------------------- whose it is -- */

static int reserve_slots(void *arg, size_t off, size_t len_bytes)
{
	struct bus_pipe *p = arg;
	unsigned char *base = p->bus->map->seg.base;

	off += (size_t)((unsigned char *)p->tx.s - base);
	return sb_seg_reserve(&p->bus->map->seg, off, len_bytes);
}

/* The reader has left a slot: let the writer have it. */
static void wake_writer(void *arg)
{
	struct bus_pipe *p = arg;

	sb_wake(&p->in->tx, &p->bus->bells, 1);
}

static struct sb_spsc *spsc_of(struct bus_pipe *p, uint32_t dir)
{
	unsigned char *at = (unsigned char *)p->head;

	return (void *)(at + bus_pipe_dir_off(p->slot_bytes, dir));
}

/* Find our places in the slots. */
static int find_places(struct bus_pipe *p)
{
	size_t bytes = sb_spsc_bytes((size_t)p->slot_bytes);
	int ret = 0;

	if (p->out) {
		ret = sb_spsc_tx_attach(&p->tx, spsc_of(p, p->side), bytes);
		if (!ret && p->tx.slot_bytes != p->slot_bytes)
			ret = -EPROTO;
		p->tx.reserve = reserve_slots;
		p->tx.reserve_arg = p;
		p->small_bytes = sb_spsc_max_reserved(&p->tx);
	}
	if (p->in && !ret) {
		ret = sb_spsc_rx_attach(&p->rx, spsc_of(p, 1 - p->side), bytes);
		if (!ret && p->rx.slot_bytes != p->slot_bytes)
			ret = -EPROTO;
		p->rx.freed = wake_writer;
		p->rx.freed_arg = p;
	}
	if (p->in && p->out && !ret)
		sb_spsc_meet(&p->tx, &p->rx, &p->head->meet, p->side);
	return ret;
}

/* Does it say that the end is ours?  Once we have closed it, it may be open
 * again, and somebody else's. */
static bool is_ours(const struct bus_pipe *p, uint64_t w)
{
	return bus_side_state(w) == BUS_SIDE_OPEN &&
	       bus_side_who(w) == bus_side_me(p->bus) &&
	       !((w ^ p->inst) & BUS_SIDE_INST);
}

/* Our side's word, now OPEN by us, loses @gone; and the peer is told. */
static void shut(struct bus_pipe *p, uint64_t gone)
{
	uint64_t w = ld_acq(own_word(p)), to;

	do {
		to = w | gone;
		if ((to & BUS_SIDE_GONE) == BUS_SIDE_GONE)
			to = bus_side_closed(w);
	} while (is_ours(p, w) &&
		 !cas_acqrel(own_word(p), &w, to)); /* V1 -> V2 */
	bus_pipe_wake_all(p->bus, p->head);
}

void bus_pipe_marked(struct bus_pipe *p)
{
	uint64_t w = ld_acq(own_word(p));

	p->mark = false;
	while (is_ours(p, w) &&
	       !cas_acqrel(own_word(p), &w, w & ~BUS_SIDE_HALF)) /* V1 -> V2 */
		;
	bus_pipe_set_ways(p);
}

/* The word says that the end is ours. */
static int begin(struct bus_pipe *p)
{
	uint64_t w = ld_acq(own_word(p));
	int ret = find_places(p);

	p->owned = true;
	p->mark = p->out && (w & BUS_SIDE_HALF);
	p->can = 0;
	if (p->out && !(w & BUS_SIDE_TX_GONE))
		p->can |= BUS_PIPE_SEND;
	if (p->in && !(w & BUS_SIDE_RX_GONE))
		p->can |= BUS_PIPE_RECV;
	if (ret) {
		shut(p, BUS_SIDE_GONE);
		p->can = 0;
	} else {
		/* Who waits for us may want to know who we are. */
		bus_pipe_wake_all(p->bus, p->head);
	}
	bus_pipe_set_ways(p);
	return ret;
}

/* Make an end ours that nobody has used, or that was given to us. */
static int claim(struct bus_pipe *p)
{
	uint64_t w = ld_acq(own_word(p)), to;

	if (p->done)
		return -EBADF;
	do {
		if ((w ^ p->inst) & BUS_SIDE_INST)
			return -EBADF;
		if (bus_side_state(w) == BUS_SIDE_LOST)
			return -EPIPE;
		if (bus_side_state(w) != BUS_SIDE_MADE &&
		    (bus_side_state(w) != BUS_SIDE_RESERVED ||
		     bus_side_who(w) != (uint32_t)getpid()))
			return -EBADF;
		to = bus_side_word(bus_side_me(p->bus), w,
				   BUS_SIDE_OPEN | (w & BUS_SIDE_GONE) |
					   bus_side_lacks(p->flags, p->side));
	} while (!cas_acqrel(own_word(p), &w, to));
	return begin(p);
}

int bus_pipe_use(struct bus_pipe *p, uint32_t which)
{
	int ret = bus_check(p->bus);

	if (!ret && !p->owned)
		ret = claim(p);
	if (!ret && (p->can & which) != which)
		ret = -EBADF;
	return ret;
}

void bus_pipe_after_fork(struct bus_pipe *p)
{
	for (; p; p = p->next) {
		p->owned = false;
		p->can = 0;
		p->mark = p->loaned = p->sending = p->x.on = false;
		p->peek_data = NULL;
		bus_pipe_drop_partial(p);
		/* The waiter has forgotten its watches already. */
		bus_pipe_unwatch(p);
		p->seen_peer = 0;
		bus_pipe_set_ways(p);
	}
}

/* -------------------------------------------------------- make and open -- */

static int spec_of(const struct bus_pipe_config *config,
		   struct bus_channel_spec *spec)
{
	struct bus_pipe_config c;
	int ret = bus_config_copy(&c, sizeof(c), config);

	*spec = (struct bus_channel_spec){ .kind = BUS_CHAN_PIPE };
	if (!ret)
		spec->may_shrink =
			!c.slot_bytes && c.profile == BUS_PIPE_ADAPTIVE;
	if (!ret)
		ret = bus_pipe_config_fill(&c);
	if (ret)
		return ret;
	spec->flags = c.flags;
	spec->profile = c.profile;
	spec->slot_bytes = c.slot_bytes;
	return 0;
}

/* A handle for @side of channel @idx, which is a pipe whose that side is ours,
 * or may become it. */
static int new_handle(struct bus *bus, uint32_t idx, uint32_t side,
		      struct bus_pipe **out)
{
	uint64_t bytes;
	struct bus_pipe_head *head = bus_channel_pipe(bus, idx, &bytes);
	struct bus_pipe *p;

	if (!head)
		return -EPROTO;
	/* Apart from the other end's, which may be another thread's. */
	p = aligned_alloc(SB_FAR, SB_ROUND_UP(sizeof(*p), SB_FAR));
	if (!p)
		return -ENOMEM;
	memset(p, 0, sizeof(*p));
	p->bus = bus;
	p->head = head;
	p->idx = idx;
	p->side = side;
	p->inst = ld_acq(own_word(p));
	p->slot_bytes = *(volatile uint64_t *)&head->slot_bytes;
	p->profile = *(volatile uint32_t *)&head->profile;
	p->flags = *(volatile uint32_t *)&head->flags;
	if (bus_pipe_check(p->slot_bytes, p->profile, p->flags, bytes)) {
		free(p);
		return -EPROTO;
	}
	p->asym = bus->bells.asym;
	p->peer = &head->side[1 - side];
	if (!(p->flags & BUS_PIPE_SIMPLEX) || side == 0)
		p->out = &head->dir[side];
	if (!(p->flags & BUS_PIPE_SIMPLEX) || side == 1)
		p->in = &head->dir[1 - side];
	p->made_gen = sb_fork_gen;
	p->made_forks = sb_forks_made;
	p->watch.fd = -1;
	p->loan_gen = BUS_NO_GEN;
	bus_pipe_set_ways(p);
	p->next = bus->pipes;
	bus->pipes = p;
	*out = p;
	return 0;
}

/* A side that nobody has used, and nobody can, or that is ours without a
 * handle: it is over. */
static void give_up(struct bus *bus, struct bus_pipe_head *head, uint32_t side,
		    uint64_t inst)
{
	uint64_t w = ld_acq(&head->side[side]);

	while (!((w ^ inst) & BUS_SIDE_INST) &&
	       (bus_side_state(w) == BUS_SIDE_MADE ||
		bus_side_state(w) == BUS_SIDE_OPEN) &&
	       bus_side_who(w) == bus_side_me(bus))
		if (cas_acqrel(&head->side[side], &w, /* V1 -> V2 */
			       bus_side_closed(w)))
			break;
	bus_pipe_wake_all(bus, head);
}

static void give_up_new(struct bus *bus, uint32_t idx, uint32_t side)
{
	uint64_t bytes;
	struct bus_pipe_head *head = bus_channel_pipe(bus, idx, &bytes);

	if (head)
		give_up(bus, head, side, ld_acq(&head->side[side]));
}

int bus_pipe(struct bus *bus, const struct bus_pipe_config *config,
	     struct bus_pipe **a, struct bus_pipe **b)
{
	struct bus_channel_spec spec;
	struct bus_pipe *first;
	int ret, idx;

	if (!bus || !a || !b)
		return -EINVAL;
	ret = spec_of(config, &spec);
	if (!ret)
		ret = bus_check(bus);
	if (ret)
		return ret;
	idx = bus_channel_make_pipe(bus, NULL, &spec, -1);
	if (idx < 0)
		return idx;
	ret = new_handle(bus, (uint32_t)idx, 0, &first);
	if (ret)
		goto err_give_up;
	ret = new_handle(bus, (uint32_t)idx, 1, b);
	if (ret)
		goto err_free;
	*a = first;
	return 0;

err_free:
	bus_pipe_free(first);
err_give_up:
	for (uint32_t i = 0; i < 2; i++)
		give_up_new(bus, (uint32_t)idx, i);
	return ret;
}

int bus_pipe_open(struct bus *bus, const char *name,
		  const struct bus_pipe_config *config, int side,
		  struct bus_pipe **out)
{
	struct bus_channel_spec spec;
	struct bus_pipe *p;
	int ret, idx;

	if (!bus || !name || !out || side < 0 || side > 1)
		return -EINVAL;
	ret = config ? spec_of(config, &spec) : 0;
	if (!ret)
		ret = bus_check(bus);
	if (ret)
		return ret;
	idx = bus_channel_make_pipe(bus, name, config ? &spec : NULL, side);
	if (idx < 0)
		return idx;
	ret = new_handle(bus, (uint32_t)idx, (uint32_t)side, &p);
	if (ret) {
		give_up_new(bus, (uint32_t)idx, (uint32_t)side);
		return ret;
	}
	ret = begin(p);
	if (ret) {
		bus_pipe_free(p);
		return ret;
	}
	*out = p;
	return 0;
}

/* -------------------------------------------------- give to another one -- */

static void unlink_handle(struct bus_pipe *p)
{
	struct bus_pipe **at = &p->bus->pipes;

	while (*at && *at != p)
		at = &(*at)->next;
	if (*at)
		*at = p->next;
}

/* Only our copy goes; whose the end is stays. */
static void free_handle(struct bus_pipe *p)
{
	bus_pipe_unwatch(p);
	unlink_handle(p);
	free(p->keep);
	free(p);
}

/*
 * Did @pid get there before us?  If the end was made here and not used here,
 * one who has it inherited it: @pid, or who was given it by that one, and may
 * be dead by now.
 */
static bool has_begun(struct bus_pipe *p, uint64_t w, pid_t pid)
{
	bool inherited = p->made_gen == sb_fork_gen && !p->owned;
	struct sb_proc_id id;

	if (bus_side_state(w) == BUS_SIDE_OPEN)
		return inherited ||
		       (!bus_side_process(p->bus, p->head, p->side, w, &id) &&
			id.pid == (uint32_t)pid);
	if (bus_side_state(w) == BUS_SIDE_MADE ||
	    bus_side_state(w) == BUS_SIDE_LOST)
		return false;
	return bus_side_who(w) == (uint32_t)pid ||
	       (inherited && bus_side_who(w) != (uint32_t)getpid());
}

/* May it be given away?  Takes it first if it was given to us, for the time of
 * one process must not be read with the pid of another. */
static int make_ready(struct bus_pipe *p)
{
	uint64_t w = ld_acq(own_word(p));

	if (p->done || (p->owned && !p->can))
		return -EBADF;
	if (p->loaned || p->sending || p->mark || p->receiving || p->x.on)
		return -EBUSY;
	return !p->owned && bus_side_state(w) == BUS_SIDE_RESERVED &&
			       bus_side_who(w) == (uint32_t)getpid()
		       ? claim(p)
		       : 0;
}

int bus_pipe_hand_over(struct bus_pipe *p, pid_t pid)
{
	uint64_t w;
	int ret;

	if (pid <= 0)
		return -EINVAL;
	ret = bus_check(p->bus);
	if (!ret)
		ret = make_ready(p);
	if (ret)
		return ret;
	w = ld_acq(own_word(p));
	do {
		if ((w ^ p->inst) & BUS_SIDE_INST)
			return -EBADF;
		if (has_begun(p, w, pid))
			break;
		if (bus_side_state(w) != BUS_SIDE_MADE &&
		    !(p->owned && is_ours(p, w)))
			return -EBADF;
		/* H1: before the word that it goes with.  Somebody else may get
		 * there with another process, before this or after it. */
		st_rlx(&p->head->start_time[p->side],
		       bus_side_start(sb_proc_of(pid)));
	} while (!cas_acqrel(
		own_word(p), &w,
		bus_side_word((uint32_t)pid, w,
			      BUS_SIDE_RESERVED | (w & BUS_SIDE_GONE))));
	/* Who waits for this side shall watch the process from now on. */
	bus_pipe_wake_all(p->bus, p->head);
	bus_side_recover_reserved(p->bus, p->head);
	free_handle(p);
	return 0;
}

bool bus_pipe_has_handle(const struct bus *bus, uint32_t idx, uint32_t side,
			 uint64_t inst)
{
	const struct bus_pipe *p = bus->pipes;

	while (p && (p->done || p->idx != idx || p->side != side ||
		     ((p->inst ^ inst) & BUS_SIDE_INST)))
		p = p->next;
	return p;
}

int bus_pipe_move(struct bus_pipe *p, struct bus *to)
{
	int ret;

	if (!to || to->map != p->bus->map)
		return -EINVAL;
	if (is_owner(p) || p->done)
		return -EBADF;
	ret = bus_check(p->bus);
	if (!ret)
		ret = bus_check(to);
	if (ret)
		return ret;
	unlink_handle(p);
	p->bus = to;
	p->next = to->pipes;
	to->pipes = p;
	return bus_pipe_use(p, 0);
}

int bus_pipe_ref(struct bus_pipe *p, struct bus_pipe_ref *ref)
{
	uint64_t w;
	int ret;

	if (!ref)
		return -EINVAL;
	ret = bus_check(p->bus);
	if (ret)
		return ret;
	w = ld_acq(own_word(p));
	if (p->done || p->owned || ((w ^ p->inst) & BUS_SIDE_INST) ||
	    bus_side_state(w) != BUS_SIDE_MADE)
		return -EBADF;
	p->named = true;
	*ref = (struct bus_pipe_ref){ .channel = p->idx,
				      .side = p->side,
				      .instance = w & BUS_SIDE_INST };
	return 0;
}

int bus_pipe_take(struct bus *bus, const struct bus_pipe_ref *ref,
		  struct bus_pipe **out)
{
	struct bus_pipe *p;
	uint64_t bytes;
	int ret;

	if (!bus || !ref || !out || ref->side > 1 ||
	    (ref->instance & ~BUS_SIDE_INST))
		return -EINVAL;
	ret = bus_check(bus);
	if (ret)
		return ret;
	if (!bus_channel_pipe(bus, ref->channel, &bytes))
		return -EINVAL;
	ret = new_handle(bus, ref->channel, ref->side, &p);
	if (ret)
		return ret;
	p->inst = ref->instance; /* another one is not ours to take */
	ret = claim(p);
	if (ret) {
		free_handle(p);
		return ret;
	}
	*out = p;
	return 0;
}

struct spawn {
	struct bus *bus;
	struct bus_pipe *mine, *its;
	int (*fn)(void *ctx, struct bus_pipe *end);
	void *ctx;
};

static int spawn_main(void *arg)
{
	struct spawn *s = arg;
	int ret;

	if (bus_pipe_use(s->its, 0))
		return SPAWN_FAILED;
	bus_pipe_free(s->mine); /* our copy: it has one end and no other */
	ret = s->fn(s->ctx, s->its);
	bus_close(s->bus);
	return ret;
}

int bus_pipe_spawn(struct bus *bus, const struct bus_pipe_config *config,
		   int (*fn)(void *ctx, struct bus_pipe *end), void *ctx,
		   struct bus_pipe **mine, pid_t *pid)
{
	struct spawn s = { .bus = bus, .fn = fn, .ctx = ctx };
	struct sb_proc proc;
	int ret;

	if (!bus || !fn || !mine)
		return -EINVAL;
	ret = bus_pipe(bus, config, &s.mine, &s.its);
	if (ret)
		return ret;
	ret = bus_pipe_use(s.mine, 0);
	if (!ret)
		ret = sb_proc_fork(&proc, spawn_main, &s);
	if (ret) {
		/* There is no child to have it. */
		give_up(bus, s.its->head, 1, s.its->inst);
		bus_pipe_free(s.its);
		bus_pipe_free(s.mine);
		return ret;
	}
	close(proc.pidfd);
	/* What stands there now is the child's to say, and if it is nonsense,
	 * it is not ours anyway. */
	if (bus_pipe_hand_over(s.its, proc.pid))
		free_handle(s.its);
	*mine = s.mine;
	if (pid)
		*pid = proc.pid;
	return 0;
}

/* ---------------------------------------------------------------- close -- */

/* An end that was handed over to this process, which does not want it. */
static void decline(struct bus_pipe *p)
{
	uint64_t w = ld_acq(own_word(p));
	uint32_t pid = (uint32_t)getpid();

	do {
		if (((w ^ p->inst) & BUS_SIDE_INST) ||
		    bus_side_state(w) != BUS_SIDE_RESERVED ||
		    bus_side_who(w) != pid)
			return;
	} while (!cas_acqrel(own_word(p), &w, /* V1 -> V2 */
			     bus_side_closed(w)));
	fence_seqcst(); /* K2: this may not be an endpoint yet */
	bus_pipe_wake_all(p->bus, p->head);
}

/* A copy that nobody has used.  If no other process can have one, or the end is
 * meant for us, it goes with the copy. */
static void close_unused(struct bus_pipe *p)
{
	p->done = true;
	if (p->made_gen == sb_fork_gen && p->made_forks == sb_forks_made &&
	    !p->owned && !p->named)
		give_up(p->bus, p->head, p->side, p->inst);
	else
		decline(p);
}

static void close_own(struct bus_pipe *p, unsigned which)
{
	uint64_t gone = 0;

	which &= p->can;
	if (!which)
		return;
	if (which & BUS_PIPE_SEND) {
		gone |= BUS_SIDE_TX_GONE;
		p->loaned = p->sending = p->x.on = false;
	}
	if (which & BUS_PIPE_RECV) {
		gone |= BUS_SIDE_RX_GONE;
		p->peek_data = NULL;
		p->x.on = false;
		bus_pipe_drop_partial(p);
	}
	p->can &= ~which;
	bus_pipe_set_ways(p);
	shut(p, gone);
	if (!p->can) {
		bus_pipe_unwatch(p);
		bus_channel_shed_pipe(p->bus, p->idx);
	}
}

int bus_pipe_close(struct bus_pipe *p, unsigned which)
{
	const unsigned both = BUS_PIPE_SEND | BUS_PIPE_RECV;
	int ret;

	if (!which || (which & ~both))
		return -EINVAL;
	if (p->done)
		return 0;
	if (!is_owner(p) && which == both) {
		close_unused(p);
		return 0;
	}
	ret = bus_pipe_use(p, 0);
	if (!ret)
		close_own(p, which);
	return ret == -EPIPE ? 0 : ret;
}

void bus_pipe_free(struct bus_pipe *p)
{
	if (!p)
		return;
	bus_pipe_close(p, BUS_PIPE_SEND | BUS_PIPE_RECV);
	free_handle(p);
}

/* ---------------------------------------------------------------- stats -- */

static uint32_t open_of(uint64_t w, uint32_t flags, uint32_t side)
{
	uint32_t open = BUS_PIPE_SEND | BUS_PIPE_RECV;

	w |= bus_side_lacks(flags, side);
	if (w & BUS_SIDE_TX_GONE)
		open &= ~BUS_PIPE_SEND;
	if (w & BUS_SIDE_RX_GONE)
		open &= ~BUS_PIPE_RECV;
	return open;
}

static bool is_over(struct bus_pipe *p)
{
	uint64_t w = ld_acq(own_word(p));

	return bus_side_over(w) || ((w ^ p->inst) & BUS_SIDE_INST);
}

static uint32_t peer_state(uint64_t w)
{
	switch (bus_side_state(w)) {
	case BUS_SIDE_RESERVED:
		return BUS_PIPE_PEER_RESERVED;
	case BUS_SIDE_OPEN:
		return BUS_PIPE_PEER_OPEN;
	case BUS_SIDE_CLOSED:
		return BUS_PIPE_PEER_CLOSED;
	case BUS_SIDE_DEAD:
	case BUS_SIDE_LOST:
		return BUS_PIPE_PEER_DEAD;
	default:
		return BUS_PIPE_PEER_NONE;
	}
}

int bus_pipe_stats(struct bus_pipe *p, struct bus_pipe_stats *out)
{
	struct bus_pipe_stats s = { 0 };
	size_t size = out ? out->size : 0;
	uint64_t w = ld_acq(p->peer);
	struct sb_proc_id id;

	if (size < sizeof(size))
		return -EINVAL;
	s.side = p->side;
	s.flags = p->flags;
	s.profile = p->profile;
	s.open = is_owner(p) ? p->can : 0;
	s.peer_open = open_of(w, p->flags, 1 - p->side);
	s.peer_state = peer_state(w);
	if (bus_side_state(w) >= BUS_SIDE_CLOSED)
		s.peer_pid = (int32_t)bus_side_who(w);
	else if (s.peer_state != BUS_PIPE_PEER_NONE &&
		 !bus_side_process(p->bus, p->head, 1 - p->side, w, &id))
		s.peer_pid = (int32_t)id.pid;
	s.slot_bytes = p->slot_bytes;
	/* Where nobody is, there may be no memory. */
	if (p->out && !is_over(p)) {
		s.send_bytes =
			sb_spsc_cap(spsc_of(p, p->side), (size_t)p->slot_bytes);
		s.n_sent = ld_rlx(&p->out->n_sent) -
			   *(volatile uint64_t *)&p->out->sent_before;
	}
	if (p->in && !is_over(p)) {
		s.recv_bytes = sb_spsc_cap(spsc_of(p, 1 - p->side),
					   (size_t)p->slot_bytes);
		s.n_received = ld_rlx(&p->in->n_received) -
			       *(volatile uint64_t *)&p->in->received_before;
	}
	s.size = size;
	memcpy(out, &s, size < sizeof(s) ? size : sizeof(s));
	return 0;
}
