/*
 * kill_ring.c - SIGKILL after every instruction of every operation of the ring
 *
 * For each operation, in each state of the ring, a victim process is
 * single-stepped with ptrace.  After each instruction it is taken for dead: its
 * id is recovered, and the survivors go on.  Every message must be finished
 * exactly once, every request answered exactly once, nothing may hang, and all
 * slots must be there again.  Then the shared memory is put back as it was,
 * which a stopped process cannot tell, and it does its next instruction.
 *
 * To be sure that this is the same as killing, every KILL_STRIDE-th point is
 * done again with SIGKILL; --full does that with all of them.  --full also
 * does this to the recovery of each point: k times j points.
 *
 * A case is ring/operation/state, a point the number of instructions.
 */
#include "config.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"
#include "tests/support/proc.h"
#include "tests/support/step.h"
#include "tools/torture/torture.h"

/* Each look at the clock is most of the patience of a consumer, so that the
 * number of instructions is the same each time. */
static uint64_t sim_now_ns(void);
#define SB_RING_NOW_NS() sim_now_ns()

/* A ring of our own, which the rest of the program does not use. */
#include "tools/torture/sim_ring.h"

#include "lib/fence.c"
#include "lib/ring.c"
#include "lib/ring_recover.c"

#define RING_BYTES 8192
#define N_MSGS     64
#define K_MAX      100000
#define RETRIES    400 /* of a call of a survivor, before it is a hang */

#define KILL_STRIDE 97

enum id { CLIENT = 1, STALLED, HOLDER, HELPER, VICTIM, RECOVERER, AUDIT };

/* What the ring is like when the victim starts. */
enum state {
	EMPTY,
	ONE,
	FULL,
	HELD,       /* the next position's slot is held: skip */
	STALL,      /* a live producer stalls at head: pass */
	STALL_TAIL, /* ... before it recorded its claim: help */
	STALL_HEAD, /* a live consumer stalls before it recorded its take */
	PASSED,     /* head stands behind a position that was passed */
	N_STATES
};

static const char *const state_names[N_STATES] = {
	"empty", "one", "full", "held", "stall", "tail", "head", "passed",
};

/* Shared with the victim.  A message is its number: data[0]. */
static struct shared {
	alignas(SB_FAR) unsigned char memory[RING_BYTES];
	uint64_t clock_ns;
	volatile bool done;
	volatile uint32_t published[N_MSGS]; /* by the victim, for certain */
	volatile uint32_t finished[N_MSGS];
	volatile uint32_t gave_back;
	uint64_t held[8]; /* positions that the victim starts with */
	int n_held;
} *sh;

/* One experiment. */
static struct {
	struct sb_ring *ring;
	struct sb_ring_end client, stalled, holder, helper, victim, recoverer;
	unsigned int log_n;
	uint64_t first;
	uint32_t batch;
	bool request;
	uint32_t max_attempts;
	uint64_t stalled_pos, holder_pos, head_pos;
	uint32_t stalled_msg, holder_msg, head_msg;
	uint32_t n_msgs;         /* numbers given out to survivors */
	uint64_t pos_of[N_MSGS]; /* where requests of the client lie */
	bool is_request[N_MSGS];
	bool expected[N_MSGS]; /* must be finished exactly once */
	uint32_t n_done[N_MSGS];
	uint32_t n_quarantined;
	bool closed;
	const struct op *op;
	enum state state;
	long *k;
} x;

struct row {
	struct tally t;
	_Atomic uint64_t kills;
};

/* Of the case that this shard is at. */
static struct row *row;
static char case_name[80];
static long case_k, case_j = -1;

static uint64_t sim_now_ns(void)
{
	return sh->clock_ns += 60000;
}

static void bad(const _Atomic uint64_t *what, const char *msg)
{
	torture_bad(&row->t, (size_t)((const char *)what -
				      (const char *)&row->t),
		    case_name, case_k, "%s%s", msg,
		    case_j < 0 ? "" : " (recovery killed too)");
}

static volatile uint64_t *data_of(uint64_t pos)
{
	return (volatile uint64_t *)(void *)sb_ring_slot(&x.client, pos)->data;
}

static uint64_t answer_to(uint64_t i)
{
	return i * 5 + 2;
}

/* ------------------------------------------------------------ survivors -- */

static int take_one(struct sb_ring_end *e, uint64_t *pos)
{
	int n = -EAGAIN;

	for (int t = 0; t < RETRIES; t++) {
		n = sb_ring_take(e, 1, true, pos);
		if (n != -EBUSY)
			break;
	}
	return n;
}

static bool send(struct sb_ring_end *e, uint32_t i, uint64_t *pos)
{
	int n = -EAGAIN;

	for (int t = 0; t < RETRIES && n == -EAGAIN; t++)
		n = sb_ring_claim(e, 1, true, pos);
	if (n != 1)
		return false;
	data_of(*pos)[0] = i;
	data_of(*pos)[1] = 0;
	sb_ring_publish(e, *pos, 16, 0);
	return true;
}

static uint32_t client_publishes(uint64_t pos)
{
	uint32_t i = x.n_msgs++;

	data_of(pos)[0] = i;
	data_of(pos)[1] = 0;
	sb_ring_publish(&x.client, pos, 16, 0);
	x.pos_of[i] = pos;
	x.expected[i] = true;
	x.is_request[i] = x.request;
	return i;
}

static uint32_t client_sends(void)
{
	int n = -EAGAIN;
	uint64_t pos;

	for (int t = 0; t < RETRIES && n == -EAGAIN; t++)
		n = sb_ring_claim(&x.client, 1, true, &pos);
	if (n == 1)
		return client_publishes(pos);
	bad(&row->t.wrong, "cannot prepare");
	return 0;
}

/* A message of ours, or of the victim's, is at @pos: finish it. */
static void finish(struct sb_ring_end *e, uint64_t pos)
{
	uint64_t i = data_of(pos)[0];

	if (i >= N_MSGS) {
		bad(&row->t.wrong, "took garbage");
	} else if (x.request) {
		data_of(pos)[1] = answer_to(i);
		sb_ring_answer(e, pos, 16, 0);
		return;
	} else {
		x.n_done[i]++;
	}
	sb_ring_free(e, pos);
}

static void collect(void)
{
	for (uint32_t i = 0; i < x.n_msgs; i++) {
		uint64_t seq;

		if (!x.is_request[i] ||
		    !sb_ring_answered(&x.client, x.pos_of[i], &seq))
			continue;
		if (seq & SB_FLAG_QUAR)
			x.n_quarantined++;
		else if (data_of(x.pos_of[i])[1] != answer_to(i))
			bad(&row->t.wrong, "wrong answer");
		if (data_of(x.pos_of[i])[0] != i)
			bad(&row->t.wrong, "answer to another");
		sb_ring_free(&x.client, x.pos_of[i]);
		x.n_done[i]++;
	}
}

static void drain(void)
{
	uint64_t pos;
	int n = -EAGAIN;

	for (int t = 0; t < 3 * N_MSGS; t++) {
		n = take_one(&x.helper, &pos);
		if (n != 1)
			break;
		finish(&x.helper, pos);
	}
	if (n == 1 || n == -EBUSY)
		bad(&row->t.hung, "never empty");
	collect();
}

/* -------------------------------------------------------------- prepare -- */

static uint64_t n_slots(void)
{
	return x.client.mask + 1;
}

/* Positions go round until the slot that the holder has comes next. */
static void prepare_held(void)
{
	x.holder_msg = client_sends();
	if (take_one(&x.holder, &x.holder_pos) != 1)
		bad(&row->t.wrong, "cannot prepare");
	for (uint64_t k = 1; k < n_slots(); k++) {
		client_sends();
		drain();
	}
}

static void prepare(enum state state)
{
	struct sb_ring_end *c = &x.client;
	uint64_t tail, head, old, pos;

	switch (state) {
	case EMPTY:
	case N_STATES:
		break;
	case ONE:
		client_sends();
		break;
	case FULL:
		for (uint64_t k = 0; k < n_slots(); k++)
			client_sends();
		break;
	case HELD:
		prepare_held();
		if (n_slots() > 2)
			client_sends(); /* skips, and is one behind it */
		break;
	case STALL:
	case STALL_TAIL:
	case PASSED:
		tail = c->ring->tail;
		old = c->pown[sb_ring_idx(c, tail)];
		if (sb_ring_claim(&x.stalled, 1, true, &x.stalled_pos) != 1)
			bad(&row->t.wrong, "cannot prepare");
		if (state == STALL_TAIL) {
			/* As if it were stopped right after its CAS. */
			c->pown[sb_ring_idx(c, tail)] = old;
			break;
		}
		client_sends();
		if (state == STALL || n_slots() == 2)
			break;
		client_sends();
		if (take_one(&x.helper, &pos) == 1)
			finish(&x.helper, pos);
		break;
	case STALL_HEAD:
		x.head_msg = client_sends();
		client_sends();
		head = c->ring->head;
		old = c->cown[sb_ring_idx(c, head)];
		if (sb_ring_take(&x.holder, 1, true, &x.head_pos) != 1)
			bad(&row->t.wrong, "cannot prepare");
		c->cown[sb_ring_idx(c, head)] = old;
		break;
	}
}

/* Those that only stalled go on. */
static void unstall(enum state state)
{
	uint32_t i;

	switch (state) {
	case HELD:
		finish(&x.holder, x.holder_pos);
		break;
	case STALL:
	case STALL_TAIL:
	case PASSED:
		x.stalled.pown[sb_ring_idx(&x.stalled, x.stalled_pos)] =
			x.stalled_pos | x.stalled.me;
		i = x.n_msgs++;
		x.expected[i] = true;
		data_of(x.stalled_pos)[0] = i;
		x.pos_of[i] = x.stalled_pos;
		x.is_request[i] = x.request;
		sb_ring_publish(&x.stalled, x.stalled_pos, 16, 0);
		break;
	case STALL_HEAD:
		x.holder.cown[sb_ring_idx(&x.holder, x.head_pos)] =
			x.head_pos | x.holder.me | SB_TAKEN;
		finish(&x.holder, x.head_pos);
		break;
	default:
		break;
	}
}

/* --------------------------------------------------------------- victims -- */

#define VICTIM_MSG 40 /* its messages have numbers from here */

static void do_put(void)
{
	struct sb_ring_end *e = &x.victim;
	uint32_t i = VICTIM_MSG;

	for (int t = 0; t < 3 && i < VICTIM_MSG + 3; t++) {
		uint64_t pos;
		int n = sb_ring_claim(e, x.batch, true, &pos);

		for (int k = 0; k < n; k++, pos += SB_POS_ONE, i++) {
			data_of(pos)[0] = i;
			data_of(pos)[1] = 0;
			sb_ring_publish(e, pos, 16, 0);
			sh->published[i] = 1;
		}
	}
}

static void do_cancel(void)
{
	struct sb_ring_end *e = &x.victim;

	for (int t = 0; t < 2; t++) {
		uint64_t pos;
		int n = sb_ring_claim(e, x.batch, true, &pos);

		for (int k = 0; k < n; k++, pos += SB_POS_ONE)
			sb_ring_cancel(e, pos);
	}
}

/* take and free, take and answer */
static void do_get(void)
{
	struct sb_ring_end *e = &x.victim;

	for (int t = 0; t < 6; t++) {
		uint64_t pos;
		int n = sb_ring_take(e, x.batch, true, &pos);

		for (int k = 0; k < n; k++, pos += SB_POS_ONE) {
			uint64_t i = data_of(pos)[0];

			if (x.request) {
				if (n > 1)
					sb_ring_begin(e, pos);
				data_of(pos)[1] = answer_to(i);
				sb_ring_answer(e, pos, 16, 0);
			} else {
				sb_ring_free(e, pos);
				sh->finished[i] = 1;
			}
		}
		if (n == -EAGAIN || n == -EPIPE)
			break;
	}
}

static void do_give_back(void)
{
	struct sb_ring_end *e = &x.victim;
	uint64_t pos;

	for (int t = 0; t < 3; t++) {
		int n = sb_ring_take(e, x.batch, true, &pos);

		for (int k = 0; k < n; k++, pos += SB_POS_ONE)
			sb_ring_give_back(e, pos);
	}
}

/* The victim is the client of requests that were answered. */
static void do_collect(void)
{
	for (int k = 0; k < sh->n_held; k++) {
		uint64_t pos = sh->held[k], seq;

		if (sb_ring_answered(&x.victim, pos, &seq))
			sb_ring_free(&x.victim, pos);
	}
}

static void do_close(void)
{
	sb_ring_close(&x.victim);
}

static void do_abort(void)
{
	sb_ring_abort(&x.victim);
}

static void do_recover(void)
{
	struct sb_ring_recovered what = { 0 };

	sb_ring_recover(&x.recoverer, VICTIM, &what);
}

static pid_t start_victim(void (*fn)(void))
{
	pid_t pid = fork();
	int status;

	if (pid < 0) {
		perror("fork");
		exit(1);
	}
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		syscall(SYS_kill, getpid(), SIGSTOP);
		fn();
		sh->done = true;
		for (;;)
			syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0);
	}
	waitpid(pid, &status, 0);
	return pid;
}

static void end_victim(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
}

static bool one_instruction(pid_t pid)
{
	int status;

	if (!ptrace(PTRACE_SINGLESTEP, pid, 0, 0) &&
	    waitpid(pid, &status, 0) == pid && WIFSTOPPED(status) &&
	    WSTOPSIG(status) == SIGTRAP)
		return true;
	bad(&row->t.wrong, "victim went astray");
	return false;
}

/* Run @fn as the victim and kill it after @k instructions.  Returns false when
 * it was through before. */
static bool kill_after(void (*fn)(void), long k)
{
	pid_t pid;
	long i;

	sh->done = false;
	pid = start_victim(fn);
	for (i = 0; i < k && !sh->done; i++)
		if (!one_instruction(pid))
			break;
	end_victim(pid);
	torture_has(i == k);
	return !sh->done;
}

/* Run @fn as the victim, and @look after each instruction, with everything
 * put back afterwards. */
static void sweep(void (*fn)(void), void (*look)(void))
{
	struct shared *sh_was = malloc(sizeof(*sh));
	typeof(x) *x_was = malloc(sizeof(x));
	pid_t pid;
	long k;

	sh->done = false;
	pid = start_victim(fn);
	for (k = 0; k < K_MAX; k++) {
		bool done = sh->done;

		memcpy(sh_was, sh, sizeof(*sh));
		memcpy(x_was, &x, sizeof(x));
		look();
		memcpy(sh, sh_was, sizeof(*sh));
		memcpy(&x, x_was, sizeof(x));
		if (done || !one_instruction(pid))
			break;
		*x.k = *x.k + 1;
	}
	if (k == K_MAX)
		bad(&row->t.hung, "the operation does not end");
	end_victim(pid);
	free(sh_was);
	free(x_was);
}

/* ---------------------------------------------------------------- checks -- */

static void check_messages(bool victim_takes)
{
	uint32_t n_missing = 0, n_committed = 0;

	for (uint32_t i = 0; i < N_MSGS; i++) {
		uint32_t n = x.n_done[i] + sh->finished[i];
		bool victims = i >= VICTIM_MSG && i < VICTIM_MSG + 12;

		if (n > 1)
			bad(&row->t.duplicated, "finished twice");
		if (victims && !sh->published[i] && n == 1)
			n_committed++;
		if ((x.expected[i] || (victims && sh->published[i])) &&
		    !(victims && x.request) && n == 0)
			n_missing++;
	}
	/* It may have finished one and been killed before it could say so. */
	if (n_missing > (victim_takes && !x.request ? 1u : 0u))
		bad(&row->t.lost, "a message was lost");
	if (n_committed > 1)
		bad(&row->t.wrong, "more came out than went in");
}

static void check_ring(void)
{
	struct sb_ring_end a, b;
	uint64_t pos = 0, n = 0;

	sb_ring_attach(&a, x.ring, RING_BYTES, AUDIT);
	sb_ring_attach(&b, x.ring, RING_BYTES, AUDIT + 1);
	for (uint64_t i = 0; i <= a.mask; i++)
		if ((sb_ring_slot(&a, i << 16)->seq & 3) != SB_FREE) {
			bad(&row->t.leaked, "a slot is not free");
			return;
		}
	if (sb_ring_unfinished(&a)) {
		bad(&row->t.leaked, "unfinished");
		return;
	}
	if (x.closed)
		return;
	while (n <= n_slots() && sb_ring_claim(&a, 1, true, &pos) == 1) {
		sb_ring_publish(&a, pos, 0, 0);
		n++;
	}
	if (n != n_slots()) {
		bad(&row->t.leaked, "fewer slots than before");
		return;
	}
	for (uint64_t k = 0; k < 3 * n_slots() + 1; k++) {
		if (take_one(&b, &pos) != 1) {
			bad(&row->t.hung, "nothing comes out");
			return;
		}
		sb_ring_free(&b, pos);
		if (sb_ring_claim(&a, 1, true, &pos) != 1) {
			bad(&row->t.hung, "nothing goes in");
			return;
		}
		sb_ring_publish(&a, pos, 0, 0);
	}
}

/* The victim answered one after the other: it died of one of them at most. */
static void check_blame(void)
{
	uint32_t n = 0;

	for (uint64_t i = 0; i < n_slots(); i++)
		n += SB_ATTEMPTS(x.client.cown[i]);
	if (n > 1)
		bad(&row->t.wrong, "one death is blamed on several requests");
}

/* ---------------------------------------------------------------- cases -- */

struct op {
	const char *name;
	void (*fn)(void);
	bool request;
	bool takes;
	uint32_t batch;
	void (*before)(void); /* the victim's past */
};

static void victim_holds(void)
{
	uint64_t pos;

	for (int k = 0; k < 2; k++)
		if (take_one(&x.victim, &pos) == 1)
			sh->held[sh->n_held++] = pos;
}

/* Requests of the victim: answered, waiting, taken; and a claim. */
static void victim_asked(void)
{
	uint64_t pos;

	for (uint32_t k = 0; k < 3; k++) {
		if (!send(&x.victim, VICTIM_MSG + k, &pos))
			break;
		sh->held[sh->n_held++] = pos;
		sh->published[VICTIM_MSG + k] = 1;
		if (k < 2 && take_one(&x.helper, &pos) == 1)
			finish(&x.helper, pos);
	}
}

static void victim_had_all(void)
{
	uint64_t pos;

	victim_holds();
	victim_asked();
	if (sb_ring_claim(&x.victim, 2, true, &pos) < 1)
		return;
}

static void victim_poisoned(void)
{
	victim_had_all();
	x.max_attempts = 1;
	x.recoverer.max_attempts = 1;
	x.helper.max_attempts = 1;
}

static const struct op ops[] = {
	{ "put", do_put, false, false, 1, NULL },
	{ "put-batch", do_put, false, false, 3, NULL },
	{ "put-request", do_put, true, false, 1, NULL },
	{ "cancel", do_cancel, false, false, 2, NULL },
	{ "take-free", do_get, false, true, 1, NULL },
	{ "take-free-batch", do_get, false, true, 3, NULL },
	{ "take-answer", do_get, true, true, 1, NULL },
	{ "take-answer-batch", do_get, true, true, 3, NULL },
	{ "give-back", do_give_back, true, true, 2, NULL },
	{ "collect", do_collect, true, false, 1, victim_asked },
	{ "close", do_close, true, false, 1, NULL },
	{ "abort", do_abort, true, false, 1, NULL },
	{ "recover", do_recover, true, true, 1, victim_had_all },
	{ "recover-one-way", do_recover, false, true, 1, victim_had_all },
	{ "recover-quarantine", do_recover, true, true, 1, victim_poisoned },
	{ "recover-quarantine-one-way", do_recover, false, true, 1,
	  victim_poisoned },
};
#define N_OPS (sizeof(ops) / sizeof(ops[0]))

static void set_up(const struct op *op, unsigned int log_n, uint64_t first)
{
	memset(sh, 0, sizeof(*sh));
	memset(&x, 0, sizeof(x));
	x.ring = (void *)sh->memory;
	x.request = op->request;
	x.batch = op->batch;
	sb_ring_init(x.ring, log_n, 32, op->request ? SB_RING_REQUEST : 0, 0,
		     first);
	sb_ring_attach(&x.client, x.ring, RING_BYTES, CLIENT);
	sb_ring_attach(&x.stalled, x.ring, RING_BYTES, STALLED);
	sb_ring_attach(&x.holder, x.ring, RING_BYTES, HOLDER);
	sb_ring_attach(&x.helper, x.ring, RING_BYTES, HELPER);
	sb_ring_attach(&x.victim, x.ring, RING_BYTES, VICTIM);
	sb_ring_attach(&x.recoverer, x.ring, RING_BYTES, RECOVERER);
}

/* What the others do before anybody has noticed a death. */
static void go_on_unaware(void)
{
	uint64_t pos;

	if (take_one(&x.helper, &pos) == 1)
		finish(&x.helper, pos);
	if (sb_ring_claim(&x.client, 1, true, &pos) == 1)
		client_publishes(pos);
}

/* The victim is dead.  Do the others get along? */
static void survive(void)
{
	struct sb_ring_recovered what = { 0 };
	bool recovers = x.op->fn == do_recover;

	torture_gate();
	torture_point(&row->t);
	if (*x.k & 1)
		go_on_unaware();
	sb_ring_recover(&x.helper, RECOVERER, &what);
	sb_ring_recover(&x.helper, VICTIM, &what);
	if (x.op->fn == do_get && x.request)
		check_blame();
	x.closed = sb_ring_closed(&x.client);
	if (x.op->fn == do_abort && x.closed) {
		/* What lies there is dropped. */
		sb_ring_abort(&x.helper);
		if ((x.ring->tail & 3) != SB_CLOSED ||
		    (x.ring->head & 3) != SB_CLOSED)
			bad(&row->t.wrong, "not aborted");
		return;
	}
	unstall(x.state);
	drain();
	/* A one-way message that kills too many is dropped. */
	if (!x.max_attempts || x.request)
		check_messages(x.op->takes && !recovers);
	check_ring();
}

/* The victim is dead, and those that recover it die too. */
static void survive_twice(void)
{
	case_j = 0;
	x.k = &case_j;
	sweep(do_recover, survive);
	case_j = -1;
}

static void set_up_case(const struct op *op, enum state state,
			unsigned int log_n, uint64_t first)
{
	set_up(op, log_n, first);
	x.op = op;
	x.state = state;
	x.k = &case_k;
	case_k = 0;
	case_j = -1;
	prepare(state);
	if (op->before)
		op->before();
}

static void kill_case(const struct op *op, enum state state, unsigned int log_n,
		      uint64_t first, long from, long stride)
{
	bool killed = true;

	for (long k = from; k <= K_MAX && killed; k += stride) {
		set_up_case(op, state, log_n, first);
		case_k = k;
		killed = kill_after(op->fn, k);
		row->kills++;
		survive();
	}
}

static bool makes_sense(const struct op *op, enum state state)
{
	if (op->fn == do_collect && (state == FULL || state == STALL_HEAD))
		return false;
	return true;
}

static const struct {
	const char *name;
	unsigned int log_n;
	uint64_t first;
} rings[] = {
	{ "n8", 3, 0 },
	{ "n4", 2, (UINT64_C(1) << 48) - 4 },
	{ "n2", 1, (UINT64_C(1) << 48) - 2 },
};

#define N_RINGS (sizeof(rings) / sizeof(rings[0]))

/* Of the whole run, seen by all shards. */
static struct {
	_Atomic uint32_t next_case;
	struct row row[N_RINGS][N_OPS];
} *all;

static void run_case(const struct op *op, enum state state, size_t r)
{
	unsigned int log_n = rings[r].log_n;
	uint64_t first = rings[r].first;

	snprintf(case_name, sizeof(case_name), "%s/%s/%s", rings[r].name,
		 op->name, state_names[state]);
	if (!torture_wants(case_name))
		return;
	row = &all->row[r][op - ops];
	if (torture->at >= 0) {
		kill_case(op, state, log_n, first, torture->at, K_MAX);
		return;
	}
	set_up_case(op, state, log_n, first);
	sweep(op->fn, survive);
	kill_case(op, state, log_n, first, (long)state,
		  torture->full ? 1 : KILL_STRIDE);
	if (!torture->full || log_n > 2)
		return;
	set_up_case(op, state, log_n, first);
	sweep(op->fn, survive_twice);
}

static int shard_main(void *arg)
{
	uint32_t c;

	(void)arg;
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	T_CHECK(sh != MAP_FAILED);
	while ((c = all->next_case++) < N_RINGS * N_OPS * N_STATES) {
		const struct op *op = &ops[c / N_STATES % N_OPS];
		enum state state = c % N_STATES;

		if (makes_sense(op, state))
			run_case(op, state, c / N_STATES / N_OPS);
	}
	return 0;
}

static void print_rows(void)
{
	torture_say("%-4s %-28s %8s %8s %5s\n", "ring", "operation", "points",
		    "SIGKILL", "bad");
	for (size_t r = 0; r < N_RINGS; r++)
		for (size_t o = 0; o < N_OPS; o++) {
			const struct row *w = &all->row[r][o];

			if (w->t.points)
				torture_say("%-4s %-28s %8u %8u %5u\n",
					    rings[r].name, ops[o].name,
					    (unsigned)w->t.points,
					    (unsigned)w->kills,
					    (unsigned)tally_bad(&w->t));
		}
}

int kill_ring(void)
{
	bool good;

	all = mmap(NULL, sizeof(*all), PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	T_CHECK(all != MAP_FAILED);
	good = t_each_cpu(shard_main, NULL);
	print_rows();
	return good ? 0 : 1;
}
