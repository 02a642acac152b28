/*
 * chaos.c - everything at full speed, and SIGKILL, SIGSTOP and no descriptors
 * at random
 *
 * On one bus there are writers and readers of a queue, a writer and a reader of
 * a pipe, and a coordinator with workers.  We kill them at random and start
 * others in their place, stop some for a while, and take away the coordinator's
 * descriptors so that it cannot start workers.  The coordinator itself is only
 * stopped: it does the accounting of the requests.
 *
 * What each has begun and what it has done is in memory that all share, so the
 * account is exact: a message whose put returned comes out once, one whose put
 * was killed at most once, and a request is answered once.  After each round,
 * of a second, all leave; what is left then is a leak.
 *
 * Unlike the other tests a point (a kill or a stop) cannot be repeated: --at is
 * the number of the round, which only seeds the random numbers.
 */
#include "config.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/bus/t_bus.h"
#include "tools/torture/torture.h"

#define N_WORKERS   3u
#define N_MSGS	    (1u << 22) /* of each writer in a round */
#define SMALL	    16u
#define BIG	    600u
#define HUNG_NS	    ((int64_t)(10 * SB_NS_PER_S))
#define ROUND_NS    ((int64_t)SB_NS_PER_S)
#define QUICK_ROUNDS 6
#define FULL_POINTS 100000u
#define WATCHDOG_S  60

enum role { WRITER_1, WRITER_2, READER_1, READER_2, SENDER, RECEIVER, CLIENT,
	    N_ROLES };

#define N_WRITERS 2

/* Of a message, bits. */
enum { BEGUN = 1, DONE = 2, FINISHING = 4, FINISHED = 8, TWICE = 16 };

static struct shared {
	_Atomic uint32_t stop_writing, stop_reading;
	_Atomic uint32_t n_begun[N_WRITERS]; /* of each writer */
	_Atomic unsigned char msg[N_WRITERS][N_MSGS];
	/* the pipe; messages there are numbered from 1 */
	_Atomic uint32_t n_sending, taken;
	_Atomic uint32_t n_readers; /* since one noted what it took */
	_Atomic unsigned char sent[N_MSGS];
	_Atomic uint32_t sender_done;
	_Atomic uint32_t is_open[2]; /* its sides */
	/* requests */
	_Atomic uint64_t n_answers;
	_Atomic int32_t worker[N_WORKERS + 4];
	_Atomic uint32_t next_worker;
	_Atomic uint32_t hung, lost, duplicated, wrong; /* a line */
	_Atomic int32_t ret;
	_Atomic uint64_t n_messages, n_sent;
} *sh;

static struct bus *bus;
static pid_t pid[N_ROLES];
static long round_number;

#define bad(field, ...)                                                        \
	torture_bad(NULL, offsetof(struct tally, field), "round",              \
		    round_number, __VA_ARGS__)

/* Told by a child: what, and where. */
#define tell(what, ret_)                   \
	do {                               \
		sh->ret = (ret_);          \
		sh->what = __LINE__;       \
		_exit(0);                  \
	} while (0)

static uint32_t length_of(uint64_t i)
{
	return i % 16 == 7 ? BIG : SMALL;
}

static void write_message(unsigned char *to, uint64_t i)
{
	t_fill(to, length_of(i), i);
	memcpy(to, &i, sizeof(i));
}

/* Its number, or UINT64_MAX. */
static uint64_t read_message(const unsigned char *from, size_t len)
{
	unsigned char should[BIG];
	uint64_t i;

	if (len < sizeof(i))
		return UINT64_MAX;
	memcpy(&i, from, sizeof(i));
	if (len != length_of(i))
		return UINT64_MAX;
	write_message(should, i);
	return memcmp(should, from, len) ? UINT64_MAX : i;
}

/* ---------------------------------------------------------------- queue -- */

static struct bus_queue *open_queue(void)
{
	return t_queue(bus, "q", 32, 24, 0);
}

static void write_queue(uint32_t me)
{
	struct bus_queue *q = open_queue();
	unsigned char buf[BIG];

	while (!sh->stop_writing && sh->n_begun[me] < N_MSGS) {
		uint32_t n = sh->n_begun[me]++;
		uint64_t i = n | (uint64_t)me << 32;
		int ret;

		write_message(buf, i);
		sh->msg[me][n] |= BEGUN;
		ret = bus_queue_put(q, buf, length_of(i), HUNG_NS);
		if (ret == -ETIMEDOUT)
			tell(hung, ret);
		if (ret)
			tell(wrong, ret);
		sh->msg[me][n] |= DONE;
		sh->n_messages++;
	}
	bus_queue_free(q);
}

/* A message that was released, but of which that was not noted, cannot come
 * again: then it was FINISHING, and comes with a second FINISHING. */
static void take(struct bus_queue *q, struct bus_msg *m)
{
	uint64_t i = read_message(m->data, m->len_bytes);
	_Atomic unsigned char *state;
	int ret;

	if (i == UINT64_MAX || i >> 32 >= N_WRITERS || (uint32_t)i >= N_MSGS)
		tell(wrong, 0);
	state = &sh->msg[i >> 32][(uint32_t)i];
	if (!(*state & BEGUN))
		tell(wrong, 0);
	if (*state & FINISHED)
		*state |= TWICE;
	*state |= FINISHING;
	ret = bus_queue_release(q, m);
	if (ret)
		tell(wrong, ret);
	*state |= FINISHED;
}

static void read_queue(void)
{
	struct bus_queue *q = open_queue();
	struct bus_msg m;

	while (!sh->stop_reading) {
		int ret = bus_queue_peek(q, &m, (int64_t)SB_NS_PER_MS * 20);

		if (ret == -ETIMEDOUT)
			continue;
		if (ret)
			tell(wrong, ret);
		take(q, &m);
	}
	bus_queue_free(q);
}

static void check_queue(void)
{
	struct bus_queue *q = open_queue();
	struct bus_msg m;
	uint64_t left = sb_deadline(HUNG_NS);

	while (bus_queue_peek(q, &m, 0) == 0 && sb_now_ns() < left)
		take(q, &m);
	for (uint32_t w = 0; w < N_WRITERS; w++)
		for (uint32_t n = 0; n < sh->n_begun[w]; n++) {
			if (sh->msg[w][n] & TWICE)
				bad(duplicated, "message %u of %u", n, w);
			if ((sh->msg[w][n] & (DONE | FINISHING)) == DONE)
				bad(lost, "message %u of %u", n, w);
		}
	if (t_queue_stats(q).n_waiting || t_queue_stats(q).n_held)
		bad(leaked, "a slot is not free");
	bus_queue_free(q);
}

/* ----------------------------------------------------------------- pipe -- */

/* Its side may still be that of the dead one, for a moment. */
static struct bus_pipe *open_side(int side)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	uint64_t until = sb_deadline(HUNG_NS);
	struct bus_pipe *p;
	int ret;

	c.slot_bytes = 1024;
	c.flags = BUS_PIPE_SIMPLEX;
	while ((ret = bus_pipe_open(bus, "p", &c, side, &p)) == -EBUSY) {
		if (sb_now_ns() > until)
			tell(hung, ret);
		bus_reap(bus);
		sched_yield();
	}
	if (ret)
		tell(wrong, ret);
	sh->is_open[side] = 1;
	return p;
}

static void send_pipe(void)
{
	struct bus_pipe *p = open_side(0);
	uint64_t until = sb_deadline(HUNG_NS);
	unsigned char buf[BIG];

	while (!sh->stop_writing && sh->n_sending < N_MSGS - 1) {
		uint32_t n = ++sh->n_sending;
		int ret;

		write_message(buf, n);
		sh->sent[n] |= BEGUN;
		while ((ret = bus_pipe_send(p, buf, length_of(n), HUNG_NS)) ==
		       -EPIPE) {
			/* the reader is dead: another one comes */
			if (sb_now_ns() > until)
				tell(hung, ret);
			sched_yield();
		}
		until = sb_deadline(HUNG_NS);
		if (ret == -ETIMEDOUT)
			tell(hung, ret);
		if (ret)
			tell(wrong, ret);
		sh->sent[n] |= DONE;
		sh->n_sent++;
	}
	sh->sender_done = 1;
	bus_pipe_free(p);
}

/* Each dead reader may have taken one without a note of that, and lost one of
 * several parts. */
static void note_received(uint64_t i, uint32_t *spare)
{
	uint32_t next = sh->taken + 1;

	if (i == UINT64_MAX || i >= N_MSGS || !(sh->sent[i] & BEGUN))
		tell(wrong, 0);
	if (i < next)
		tell(duplicated, (int)(next - i));
	for (; next < i; next++) {
		if (!(sh->sent[next] & DONE))
			continue;
		if (!*spare)
			tell(lost, (int)next);
		--*spare;
	}
	sh->taken = (uint32_t)i;
	sh->n_readers = 1;
	*spare = 0;
}

static void recv_pipe(void)
{
	uint32_t spare = 2 * sh->n_readers++;
	struct bus_pipe *p = open_side(1);
	unsigned char buf[BIG];
	size_t len;

	for (;;) {
		int ret = bus_pipe_recv(p, buf, sizeof(buf), &len,
					(int64_t)SB_NS_PER_MS * 20);

		if (ret == 0)
			note_received(read_message(buf, len), &spare);
		else if (ret == -EPIPE && sh->sender_done)
			break;
		else if (ret == -EPIPE)
			sched_yield(); /* another one comes */
		else if (ret != -ETIMEDOUT && ret != -EOWNERDEAD)
			tell(wrong, ret);
	}
	for (uint32_t n = sh->taken + 1; n <= sh->n_sending; n++)
		if (sh->sent[n] & DONE && !spare--)
			tell(lost, (int)n);
	bus_pipe_free(p);
}

/* ------------------------------------------------------------- requests -- */

static int handler(void *ctx, const void *req, size_t len,
		   struct bus_reply *reply)
{
	(void)ctx;
	return bus_reply_put(reply, req, len);
}

static int init_worker(void *ctx)
{
	(void)ctx;
	sh->worker[sh->next_worker++ % lengthof(sh->worker)] = getpid();
	return 0;
}

/* For a while no descriptor is to be had, so that no worker can be started. */
static void deny_descriptors(bool on)
{
	static struct rlimit was;
	struct rlimit none;

	if (!was.rlim_cur)
		getrlimit(RLIMIT_NOFILE, &was);
	none = was;
	none.rlim_cur = 4;
	setrlimit(RLIMIT_NOFILE, on ? &none : &was);
}

static void collect(struct bus_coord *coord, unsigned char *answered,
		    bool denied)
{
	struct bus_result r;
	int ret = bus_collect_any(coord, &r, HUNG_NS);

	if (ret == -ETIMEDOUT)
		tell(hung, ret);
	if (ret && !denied)
		tell(wrong, ret);
	if (ret)
		return;
	if (r.kind == BUS_RESULT_OK &&
	    read_message(r.data, r.len_bytes) != r.id)
		tell(wrong, 0);
	if (r.kind == BUS_RESULT_ERROR || r.id >= N_MSGS)
		tell(wrong, r.code);
	if (answered[r.id]++)
		tell(duplicated, (int)r.id);
	sh->n_answers++;
}

static void submit_and_collect(struct bus_coord *coord, uint64_t *seed)
{
	unsigned char *answered = calloc(N_MSGS, 1), buf[BIG];
	bool denied = false;
	uint64_t n = 0;

	T_CHECK(answered);
	while (!sh->stop_writing && n < N_MSGS) {
		int ret;

		if (torture_random(seed) % 512 == 0) {
			denied = !denied;
			deny_descriptors(denied);
		}
		write_message(buf, n);
		ret = bus_submit(coord, n, buf, length_of(n), 0);
		if (ret == 0)
			n++;
		else if (ret != -EAGAIN && !denied)
			tell(wrong, ret);
		if (ret || n % 4 == 0) {
			/* with all workers dead only descriptors help */
			if (denied)
				deny_descriptors(denied = false);
			collect(coord, answered, denied);
		}
	}
	deny_descriptors(false);
	while (bus_coord_outstanding(coord))
		collect(coord, answered, false);
	for (uint64_t i = 0; i < n; i++)
		if (!answered[i])
			tell(lost, (int)i);
	free(answered);
}

static void be_client(uint64_t *seed)
{
	struct bus_coord_config c = BUS_COORD_CONFIG_INIT;
	struct bus_coord *coord;
	int ret;

	c.handler = handler;
	c.init = init_worker;
	c.n_workers = N_WORKERS;
	c.window = 32;
	c.prefetch = 1 + *seed % 4;
	c.result_bytes = BIG;
	c.max_attempts = 60;
	c.backoff_ns = 1; /* most die within a second */
	ret = bus_coord_start(bus, "r", &c, &coord);
	if (ret)
		tell(wrong, ret);
	submit_and_collect(coord, seed);
	if (bus_coord_stop(coord, HUNG_NS))
		tell(hung, 0);
}

/* ------------------------------------------------------------ processes -- */

static int role_main(void *arg)
{
	enum role role = *(enum role *)arg;
	uint64_t seed = torture->seed + (uint64_t)round_number;
	int ret = bus_check(bus);

	if (ret)
		tell(wrong, ret);
	if (role <= WRITER_2)
		write_queue(role - WRITER_1);
	else if (role <= READER_2)
		read_queue();
	else if (role == SENDER)
		send_pipe();
	else if (role == RECEIVER)
		recv_pipe();
	else
		be_client(&seed);
	bus_close(bus);
	return 0;
}

static void start(enum role role)
{
	pid[role] = t_fork(role_main, &role);
}

static void kill_worker(uint64_t r)
{
	pid_t w = sh->worker[r % lengthof(sh->worker)];
	static char path[64], text[64];
	FILE *f;

	/* Only if it is still a child of the client's. */
	if (!w)
		return;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)w);
	f = fopen(path, "re");
	if (!f)
		return;
	if (!fgets(text, sizeof(text), f))
		text[0] = 0;
	fclose(f);
	if (strstr(text, "(bustorture)")) {
		int ppid = 0;
		const char *at = strrchr(text, ')');

		if (at && sscanf(at + 3, " %d", &ppid) == 1 &&
		    ppid == pid[CLIENT]) {
			kill(w, SIGKILL);
			torture_point(NULL);
		}
	}
}

/* When both ends of a pipe are dead it is nobody's, and what is in it is gone;
 * so one is left alone until the other is there again. */
static bool may_kill(enum role role)
{
	if (role != SENDER && role != RECEIVER)
		return true;
	if (!sh->is_open[role == SENDER])
		return false;
	sh->is_open[role != SENDER] = 0;
	return true;
}

static void kill_role(enum role role)
{
	if (!may_kill(role))
		return;
	kill(pid[role], SIGKILL);
	waitpid(pid[role], NULL, 0);
	torture_point(NULL);
	bus_reap(bus);
	start(role);
}

static void stop_role(enum role role, uint64_t us)
{
	const struct timespec t = { .tv_nsec = (long)us * 1000 };

	kill(pid[role], SIGSTOP);
	nanosleep(&t, NULL);
	kill(pid[role], SIGCONT);
	torture_point(NULL);
}

static bool told(void)
{
	return sh->hung || sh->lost || sh->duplicated || sh->wrong;
}

static void do_harm(uint64_t *seed)
{
	uint64_t until = sb_deadline(ROUND_NS);

	while (sb_now_ns() < until && !told()) {
		uint64_t r = torture_random(seed);
		const struct timespec t = { .tv_nsec = (long)(r >> 40) %
						       500000 };

		nanosleep(&t, NULL);
		if (r % 8 == 0)
			stop_role(r >> 8 & 7 ? (r >> 8) % N_ROLES : CLIENT,
				  (r >> 16) % 3000);
		else if (r % 8 < 4)
			kill_worker(r >> 8);
		else
			kill_role((r >> 8) % CLIENT);
	}
}

/* -------------------------------------------------------------- a round -- */

static const char *doing;

static void on_alarm(int sig)
{
	(void)sig;
	bad(hung, "%s", doing);
	_exit(3);
}

static void expect_end(enum role role)
{
	uint64_t until = sb_deadline(2 * HUNG_NS);
	const struct timespec t = { .tv_nsec = 1000000 };
	int status;

	while (waitpid(pid[role], &status, WNOHANG) == 0) {
		if (sb_now_ns() > until) {
			bad(hung, "role %d does not come to its end",
			    (int)role);
			kill(pid[role], SIGKILL);
			waitpid(pid[role], &status, 0);
			return;
		}
		bus_reap(bus);
		nanosleep(&t, NULL);
	}
	if (WIFSIGNALED(status))
		bad(crashed, "role %d: %s", (int)role,
		    strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status))
		bad(wrong, "role %d ended with %d", (int)role,
		    WEXITSTATUS(status));
}

static bool alone(void *arg)
{
	(void)arg;
	bus_reap(bus);
	return t_stats(bus).n_endpoints == 1;
}

static void check_told(void)
{
	if (sh->hung)
		bad(hung, "%s:%u: %d", __FILE__, (unsigned)sh->hung,
		    (int)sh->ret);
	if (sh->lost)
		bad(lost, "%s:%u: %d", __FILE__, (unsigned)sh->lost,
		    (int)sh->ret);
	if (sh->duplicated)
		bad(duplicated, "%s:%u: %d", __FILE__,
		    (unsigned)sh->duplicated, (int)sh->ret);
	if (sh->wrong)
		bad(wrong, "%s:%u: %d", __FILE__, (unsigned)sh->wrong,
		    (int)sh->ret);
}

static void end_round(void)
{
	doing = "somebody does not leave";
	sh->stop_writing = 1;
	expect_end(WRITER_1);
	expect_end(WRITER_2);
	expect_end(SENDER);
	expect_end(CLIENT);
	sh->stop_reading = 1;
	expect_end(READER_1);
	expect_end(READER_2);
	expect_end(RECEIVER);
	doing = "the account hangs";
	check_told();
	if (told())
		return;
	check_queue();
	if (!t_eventually(alone, NULL, 5000))
		bad(leaked, "an endpoint is left");
	if (t_stats(bus).blob_bytes_used)
		bad(leaked, "a cell is not free");
}

static void run_round(uint64_t *seed)
{
	struct bus_config c = BUS_CONFIG_INIT;
	int n_fds = t_count_fds();

	torture_gate();
	c.max_endpoints = 64;
	c.channel_bytes = 1 << 20;
	c.max_message_bytes = 4096;
	c.blob_bytes = 1 << 20;
	alarm(WATCHDOG_S);
	doing = "the harm hangs";
	memset(sh, 0, sizeof(*sh));
	bus = t_bus_with(NULL, &c);
	bus_queue_free(open_queue());
	for (int r = 0; r < N_ROLES; r++)
		start((enum role)r);
	do_harm(seed);
	end_round();
	bus_close(bus);
	if (t_count_fds() != n_fds)
		bad(leaked, "a descriptor is left");
	torture_say("chaos: round %ld, %u messages, %u through the pipe, %u "
		    "requests\n", round_number, (unsigned)sh->n_messages,
		    (unsigned)sh->n_sent, (unsigned)sh->n_answers);
	alarm(0);
}

int chaos_main(void)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	long n = torture->at >= 0 ? torture->at + 1 : QUICK_ROUNDS;

	if (!torture_wants("round"))
		return 0;
	sigaction(SIGALRM, &sa, NULL);
	sh = t_shared(sizeof(*sh));
	round_number = torture->at >= 0 ? torture->at : 0;
	torture_has(true);
	for (; torture->full && torture->at < 0
		       ? torture->tally->points < FULL_POINTS
		       : round_number < n;
	     round_number++) {
		uint64_t seed = torture->seed * 1000 + (uint64_t)round_number;

		run_round(&seed);
	}
	return 0;
}
