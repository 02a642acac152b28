/*
 * kill_pipe_after.c - who survives goes on, and a new one has the victim's side
 *
 * The peer gets to the end of what it can do.  A pipe with a name has then, or
 * before anybody has noticed the death, a new owner of that side, and the two
 * talk; an end that was being given away is its heir's.
 */
#include "config.h"

#include <signal.h>
#include <sys/wait.h>

#include "tools/torture/kill_pipe.h"
#include "tools/torture/point.h"
#include "tools/torture/walk.h"

/* -------------------------------------------------------------- the peer -- */

static void tell_peer(char c)
{
	if (write(kp.gate.fd[1], &c, 1) != 1)
		point_cannot("tell the peer");
}

static bool peer_at_end(void)
{
	return kp.sh->n_ends > kp.n_again;
}

static bool we_are_at_end(void)
{
	uint64_t end = sb_deadline(100 * SB_NS_PER_US);

	while (!kp_at_end(&kp.mine) && sb_now_ns() < end)
		kp_do_job(&kp.mine, 0);
	return kp_at_end(&kp.mine);
}

/*
 * Who opens a side, uses it first, or gives it away unused, rings whoever
 * waits, and that one then watches the new owner.  If it was killed between
 * the two, and the new owner is dead, too, nobody tells a peer that sleeps: its
 * heartbeat finds it out, in 100 ms.  There is none here; we do what it would.
 */
static bool may_sleep_on(void)
{
	if (kp.n_again || (kp.peer != FUTEX && kp.peer != URING))
		return false;
	return kp.op->opens || kp.op->flow == PAIR ||
	       (kp.op->flow == GIVE && kp.state == EMPTY);
}

static void beat(void)
{
	if (!may_sleep_on() || point_within(100 * SB_NS_PER_MS, peer_at_end))
		return;
	kp.row->slow++;
	bus_reap(kp.bus);
}

/* The peer must get to the end of what it can do. */
static bool await_end(const char *if_not)
{
	uint64_t since = sb_now_ns(), ns;

	kp_let_peer_go();
	beat();
	if (!point_soon(kp.peer == POLL ? we_are_at_end : peer_at_end)) {
		BAD(hung, "%s", if_not);
		return false;
	}
	if (kp.peer == POLL) {
		kp_check_end(&kp.mine);
		ns = sb_now_ns() - since;
	} else {
		since = kp.n_again ? since : kp.killed_ns;
		ns = kp.sh->end_ns > since ? kp.sh->end_ns - since : 0;
	}
	if (ns > kp.row->wait_ns && ns < 100 * SB_NS_PER_MS)
		kp.row->wait_ns = ns;
	return true;
}

/* The peer goes on, if it has come to an end. */
static void again(void)
{
	if (kp.peer == POLL) {
		if (kp_at_end(&kp.mine))
			kp_go_on(&kp.mine);
	} else if (peer_at_end()) {
		kp.n_again++;
		tell_peer('a');
	}
}

/* ------------------------------------------------------------- a new one -- */

/* The highest number of this direction that was put for certain, + 1. */
static uint32_t n_put(uint32_t dir)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < N_MSGS; i++)
		if (kp.sh->put[dir][i] == DONE)
			n = i + 1;
	return n;
}

static uint32_t n_received(uint32_t dir)
{
	uint32_t i = kp.sh->log[dir].n;
	int32_t ev;

	while (i-- > 0) {
		ev = kp.sh->log[dir].ev[i];
		if (ev >= 0)
			return (uint32_t)ev + 1;
	}
	return 0;
}

/* The peer has got what the new one sends, which has got what the dead one
 * should have, and two more. */
static bool have_talked(const struct end *heir, uint32_t wanted)
{
	if (heir->job != READ && n_received(FROM_VICTIM) < heir->limit)
		return false;
	return heir->job == WRITE || n_received(TO_VICTIM) >= wanted || !wanted;
}

/* A new one comes and has the victim's side. */
static bool heir_works(void)
{
	static struct end heir;
	uint32_t wanted = n_put(TO_VICTIM);
	uint64_t end;
	int ret;

	kp_set_end(&heir,
		   kp.mine.job == READ    ? WRITE
		   : kp.mine.job == WRITE ? READ
					  : DUPLEX,
		   TO_VICTIM);
	heir.how = 0;
	heir.next = BY_HEIR;
	heir.limit = BY_HEIR + 3;
	if (heir.job == READ)
		wanted += 2;
	else if (kp.front < N_MSGS && kp.sh->put[TO_VICTIM][kp.front] == DONE)
		wanted = kp.front + 1;
	else if (wanted <= (kp.sh->taken >> 8) + (kp.sh->taken & 0xff))
		wanted = 0; /* it may have died in the victim's hands */
	ret = kp_open_side(kp.side, &heir.p);
	if (ret) {
		BAD(leaked, "the side cannot be opened again");
		return false;
	}
	kp_let_peer_go();
	end = sb_deadline(POINT_HUNG_NS);
	while (!have_talked(&heir, wanted)) {
		again();
		if (kp_do_job(&heir, 0) && kp.peer != POLL)
			point_nap();
		if (kp.peer == POLL)
			kp_do_job(&kp.mine, 0);
		if (sb_now_ns() > end) {
			BAD(hung, "nothing goes between the peer and "
				  "a new one");
			bus_pipe_free(heir.p);
			return false;
		}
	}
	bus_pipe_free(heir.p);
	return true;
}

static bool heir_done(void)
{
	return kp.sh->heir_done;
}

/*
 * The victim was giving its end away.  Now it is the heir's, or nobody's but
 * the one's who made it, or went with the victim.  Odd points kill the heir
 * before it has done anything.
 */
static void heir_comes(void)
{
	bool lost = bus_side_state(kp.word) == BUS_SIDE_OPEN;
	int status;

	if (point.k % 2)
		kill(kp.sh->heir_pid, SIGKILL);
	if (bus_side_state(kp.word) == BUS_SIDE_MADE) {
		if (bus_pipe_hand_over(kp.pair[kp.side], kp.sh->heir_pid))
			BAD(wrong, "the maker cannot hand it over");
		else
			kp.pair[kp.side] = NULL;
	}
	t_gate_open(&kp.heir_gate);
	if (point.k % 2 == 0) {
		if (!point_soon(heir_done))
			BAD(hung, "the heir hangs");
		else if (kp.sh->heir_ret != (lost ? -EBADF : 0))
			BAD(wrong, "what the heir is told");
	}
	kill(kp.sh->heir_pid, SIGKILL);
	waitpid(kp.sh->heir_pid, &status, 0);
}

/* Nobody has used the end, so it counts as ours: it is nobody's when we give
 * it to the dead. */
static void give_up_unused(void)
{
	if (kp.op->flow != PAIR || kp_is_taken(kp.word))
		return;
	if (bus_pipe_hand_over(kp.pair[kp.side], walk.victim))
		BAD(wrong, "the maker cannot hand it over");
	else
		kp.pair[kp.side] = NULL;
}

/* ------------------------------------------------------------------ both -- */

bool kp_peer_survives(void)
{
	if (kp.op->flow == GIVE)
		heir_comes();
	give_up_unused();
	if (!kp.early && !await_end("the peer does not see the end"))
		return false;
	if (kp.op->flow != NAMED)
		return true;
	return heir_works() && await_end("the peer does not see the new end");
}

void kp_end_peer(bool well)
{
	int status;

	kp_let_peer_go();
	if (kp.peer_pid) {
		if (!well) {
			t_kill(kp.peer_pid);
			return;
		}
		tell_peer('q');
		point_watch("the peer does not leave");
		status = t_wait(kp.peer_pid);
		if (status == 1)
			BAD(leaked, "the peer has more descriptors");
		else if (status)
			BAD(wrong, "the peer cannot leave");
	}
	bus_pipe_free(kp.pair[kp.side]);
	if (kp.peer == POLL)
		bus_pipe_free(kp.mine.p);
	else
		bus_pipe_free(kp.pair[1 - kp.side]);
}
