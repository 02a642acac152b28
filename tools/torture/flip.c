/*
 * flip.c - a hostile peer changes words of shared memory under our feet
 *
 * A victim process is single-stepped into one public call, and after
 * instruction k one word of the segment gets a hostile value.  Then it goes on,
 * at full speed.  It may say whatever it likes, -EPROTO above all; it may lose
 * messages; but it must not crash, not write past the buffer that it was given
 * (which ends at a page that nobody may touch, as the segment does), and come
 * to an end.
 *
 * Words are all of those that control something: header, endpoints, directory,
 * the rings and pipes, the pool of cells with its owners.  Three in four are
 * words that the operation reaches, just before it does that, and for those
 * that it reads twice between the two.  Values are those that a check may
 * forget: 0, all ones, the sign, one more and one less, the next position, what
 * the neighbour has.
 *
 * A shard makes a bus for each case and copies its memory; each point has a
 * victim of its own, forked, and begins with that copy.  No other process runs,
 * so that the same point is the same again.
 *
 * A case is operation/state, a point (word * N_VALUES + value) << 20 | k, where
 * word is its distance from the beginning of the segment / 8.
 */
#include "config.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/support/step.h"
#include "tools/torture/flip.h"
#include "tools/torture/reach.h"

#define K_MAX      200000
#define PATIENCE_S 10
#define QUICK_N    45    /* points of a case */
#define FULL_N     20000 /* most of them */
#define OTHER_N    500   /* of words that it does not reach */

static const char *const state_names[] = { "empty", "one", "full" };

static struct {
	_Atomic uint32_t next_case;
	struct row row[64];
} *all;

struct fl fl;

/* ------------------------------------------------------------ the victim -- */

/* Of the victim, and of workers that it forks. */
static void on_crash(int sig, siginfo_t *info, void *context)
{
	(void)context;
	fl.sh->crash_at = (uint64_t)(uintptr_t)info->si_addr;
	if (getpid() == fl.sh->victim_pid)
		fl.sh->crashed = (uint32_t)sig;
	else
		fl.sh->worker_crashed = (uint32_t)sig;
	_exit(99);
}

static void tell_of_crashes(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE,
				       SIGILL };
	struct sigaction sa = { .sa_sigaction = on_crash,
				.sa_flags = SA_SIGINFO };
	struct rlimit no_core = { 0, 0 };

	for (size_t i = 0; i < lengthof(signals); i++)
		sigaction(signals[i], &sa, NULL);
	setrlimit(RLIMIT_CORE, &no_core);
}

static int victim_main(void *arg)
{
	(void)arg;
	tell_of_crashes();
	if (!fl.op->fresh)
		T_CHECK(bus_check(fl.bus) == 0);
	if (fl.op->before)
		fl.op->before();
	t_step_offer(&fl.sh->victim_pid, &fl.sh->seized);
	fl.sh->ret = fl.op->fn();
	fl.sh->done = 1;
	return 0;
}

static void set_tick(bool on)
{
	struct itimerval it = { 0 };

	if (on)
		it.it_value.tv_usec = it.it_interval.tv_usec = 1000;
	setitimer(ITIMER_REAL, &it, NULL);
}

static void on_tick(int sig)
{
	(void)sig;
}

/* It waits for a time-out, or a lock of the kernel's: let it. */
static enum t_stop while_blocked(void *arg)
{
	uint64_t *since = arg; /* 0: it was not yet seen so */

	if (fl.op->sleeps && t_parked(fl.sh->victim_pid))
		return T_BLOCKED;
	if (!*since)
		*since = sb_now_ns();
	return sb_now_ns() - *since > 5 * SB_NS_PER_S ? T_HANGS : T_STEPPED;
}

static pid_t start_victim(void)
{
	const struct timespec t = { .tv_nsec = 20000 };
	pid_t pid;
	int status;

	memset(fl.sh, 0, sizeof(*fl.sh));
	memcpy(fl.memory, fl.copy, fl.bytes);
	pid = t_fork(victim_main, NULL);
	for (uint32_t i = 0; !fl.sh->victim_pid; i++) {
		if (i % 64 == 63 && waitpid(pid, &status, WNOHANG) == pid)
			return -1;
		nanosleep(&t, NULL);
	}
	if (t_step_seize(pid, &fl.sh->seized))
		return -1;
	return pid;
}

/* Its workers, if it has any, die with it.  Those of our own stay. */
static void reap_others(void)
{
	while (fl.op->kind == COORD && waitpid(-1, NULL, __WALL) > 0)
		;
}

/* -------------------------------------------------------------- verdicts -- */

static void bad(size_t what, uint64_t at, const char *how)
{
	uint64_t off = flip_offset_of(at);

	torture_bad(&fl.row->t, what, fl.name, (long)at, "%s (%s, %u)", how,
		    flip_place_of(off), (unsigned)off);
}

#define WHAT(field) offsetof(struct tally, field)

/* Processor time of @pid, in ms. */
static uint64_t used_ms(pid_t pid)
{
	unsigned long user = 0, sys = 0;
	char path[64], line[512] = "", *at;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (!fgets(line, sizeof(line), f))
		line[0] = 0;
	fclose(f);
	at = strrchr(line, ')');
	if (at)
		sscanf(at + 2,
		       "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u "
		       "%lu %lu",
		       &user, &sys);
	return (user + sys) * 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
}

/* It ends; or it is asleep and may be; or it is killed.  Whether it ended. */
static bool comes_to_an_end(pid_t pid, int *status)
{
	uint64_t until = sb_deadline(PATIENCE_S * (int64_t)SB_NS_PER_S);
	struct pollfd p = { .events = POLLIN };
	bool ended = false;

	p.fd = (int)syscall(434, pid, 0u); /* pidfd_open */
	while (!ended && sb_now_ns() < until) {
		ended = poll(&p, 1, fl.op->sleeps ? 20 : 500) == 1;
		if (!ended && used_ms(pid) > 4000)
			break;
		if (!ended && fl.op->sleeps && t_parked(pid)) {
			fl.sh->done = 1;
			break;
		}
	}
	close(p.fd);
	if (!ended)
		kill(pid, SIGKILL);
	waitpid(pid, status, 0);
	return ended;
}

static void judge(pid_t pid, uint64_t at)
{
	char how[128];
	int status;
	bool ended = comes_to_an_end(pid, &status);

	if (fl.sh->crashed || fl.sh->worker_crashed) {
		snprintf(how, sizeof(how),
			 "signal %u%s at address %" PRIx64
			 ", of a segment at %" PRIx64,
			 fl.sh->crashed ? (unsigned)fl.sh->crashed
					: (unsigned)fl.sh->worker_crashed,
			 fl.sh->crashed ? "" : " in a worker",
			 (uint64_t)fl.sh->crash_at,
			 (uint64_t)(uintptr_t)fl.memory);
		bad(WHAT(crashed), at, how);
	} else if (ended && WIFSIGNALED(status)) {
		bad(WHAT(crashed), at, strsignal(WTERMSIG(status)));
	} else if (!ended && !fl.sh->done) {
		bad(WHAT(hung), at, "it does not come to an end");
	} else if (ended && WEXITSTATUS(status)) {
		bad(WHAT(wrong), at, "an exit status");
	}
	if (fl.sh->ret == -EPROTO) {
		torture->tally->rejected++;
		fl.row->t.rejected++;
	}
}

/* ---------------------------------------------------------------- points -- */

static void note_reached(pid_t pid)
{
	uint64_t base = (uint64_t)(uintptr_t)fl.memory, at[REACH_MAX];
	size_t n = reach(pid, base, fl.bytes, at);

	while (n-- > 0 && fl.n_reached < N_REACHED) {
		fl.reached[fl.n_reached].off = (uint32_t)(at[n] - base) & ~7u;
		fl.reached[fl.n_reached++].k = (uint32_t)fl.len;
	}
}

/* Step through it once, undisturbed, to learn the way. */
static bool measure(void)
{
	pid_t pid = start_victim();
	int stop = T_STEPPED, status;
	uint64_t since;

	if (pid < 0) {
		torture_bad(&fl.row->t, WHAT(wrong), fl.name, -1, "no victim");
		return false;
	}
	fl.n_reached = 0;
	set_tick(true);
	for (fl.len = 0; fl.len < K_MAX; fl.len++) {
		fl.pc[fl.len] = t_step_pc(pid);
		if (fl.sh->done || stop != T_STEPPED)
			break;
		note_reached(pid);
		since = 0;
		stop = t_step(pid, while_blocked, &since);
	}
	set_tick(false);
	kill(pid, SIGKILL);
	waitpid(pid, &status, __WALL);
	reap_others();
	if (fl.len > (long)fl.row->longest)
		fl.row->longest = (uint64_t)fl.len;
	if (fl.len > 0 && stop != T_HANGS)
		return true;
	torture_bad(&fl.row->t, WHAT(wrong), fl.name, -1,
		    "it does not end undisturbed");
	return false;
}

/* Go to after @k instructions by @pc (NULL: by steps), flip there, and look
 * what becomes of it.  False when it was over before, as it was faster than
 * when it was measured. */
static bool run_once(uint64_t at, const uint64_t *pc, long k)
{
	pid_t pid = start_victim();
	int stop = T_STEPPED;
	uint64_t since = 0;

	if (pid < 0) {
		bad(WHAT(wrong), at, "no victim");
		return true;
	}
	set_tick(true);
	if (pc)
		stop = t_step_on(pid, pc, 0, k, while_blocked, &since);
	else
		for (; k > 0 && stop == T_STEPPED && !fl.sh->done; k--) {
			since = 0;
			stop = t_step(pid, while_blocked, &since);
		}
	set_tick(false);
	if (stop == T_ENDED)
		return fl.sh->crashed;
	flip_do(at);
	if (stop == T_HANGS)
		bad(WHAT(hung), at, "it hangs before anything was done to it");
	t_step_let_go(pid, (enum t_stop)stop);
	judge(pid, at);
	return true;
}

static void run_point(uint64_t at)
{
	long k = (long)(at & ((1u << K_BITS) - 1));

	torture_gate();
	if (k > fl.len)
		k = fl.len;
	torture_point(&fl.row->t);
	if (!run_once(at, fl.pc, k)) {
		reap_others();
		run_once(at, NULL, k);
	}
	reap_others();
}

/* In four three that it reaches; of the rest, in two one of the channel that is
 * worked on. */
static uint64_t random_point(uint64_t *seed)
{
	uint64_t r = torture_random(seed), n_own = fl.n_words - fl.first_own;
	uint64_t value = torture_random(seed) % N_VALUES, off, k;

	k = torture_random(seed) % (uint64_t)(fl.len + 1);
	if (r & 3 && fl.n_reached) {
		uint64_t i = (r >> 3) % fl.n_reached;

		off = fl.reached[i].off;
		k = fl.reached[i].k;
	} else if (r & 4 && n_own) {
		off = fl.word[fl.first_own + (r >> 3) % n_own].off;
	} else {
		off = fl.word[(r >> 3) % fl.n_words].off;
	}
	return (off / 8 * N_VALUES + value) << K_BITS | k;
}

/* ----------------------------------------------------------------- cases -- */

static struct bus_config bus_settings(void)
{
	struct bus_config c = BUS_CONFIG_INIT;

	c.wait = BUS_WAIT_FUTEX;
	c.spin = BUS_SPIN_NEVER;
	c.max_endpoints = MAX_EP;
	c.channel_bytes = fl.op->channel_bytes ? fl.op->channel_bytes : 16384;
	c.max_message_bytes = 1024;
	c.blob_bytes = 8192; /* 16 cells of 256, 4 of 1024 */
	return c;
}

/* The segment between two pages that nobody may touch, if there is room. */
static void make_bus(void)
{
	struct bus_config c = bus_settings();
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	unsigned char *after;

	mmap(NULL, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fl.bus = t_bus_with(NULL, &c);
	fl.memory = fl.bus->map->seg.base;
	fl.bytes = fl.bus->map->seg.bytes;
	after = fl.memory + (fl.bytes + page - 1) / page * page;
	mmap(after, page, PROT_NONE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	mmap(fl.memory - page, page, PROT_NONE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
}

static void set_up(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	t_fill(fl.text, sizeof(fl.text), 7);
	make_bus();
	if (fl.op->kind == QUEUE || fl.op->kind == JOINABLE)
		flip_fill_queue();
	else if (fl.op->kind == PIPE)
		flip_fill_pipe();
	else if (fl.op->kind == REQUEST)
		flip_fill_requests();
	flip_find_words();
	fl.copy = malloc(fl.bytes);
	T_CHECK(fl.copy);
	memcpy(fl.copy, fl.memory, fl.bytes);
	fl.guarded = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	T_CHECK(fl.guarded != MAP_FAILED);
	fl.guarded += page;
	mprotect(fl.guarded, page, PROT_NONE);
}

/* Each word that it reaches, at each time, with each value; of long operations
 * a sample.  And some of the others. */
static void run_all(uint64_t *seed)
{
	uint64_t n = (uint64_t)fl.n_reached * N_VALUES, step = n / FULL_N + 1;

	for (uint64_t i = *seed % step; i < n; i += step) {
		uint64_t off = fl.reached[i / N_VALUES].off;
		uint64_t k = fl.reached[i / N_VALUES].k;

		run_point((off / 8 * N_VALUES + i % N_VALUES) << K_BITS | k);
	}
	for (uint32_t i = 0; i < OTHER_N; i++)
		run_point(random_point(seed));
}

/* A process for each case: what it maps and forks goes with it. */
static int case_main(void *arg)
{
	struct sigaction sa = { .sa_handler = on_tick };
	uint64_t seed = torture->seed * 1000003 + *(const uint32_t *)arg;
	sigaction(SIGALRM, &sa, NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	fl.pc = malloc((K_MAX + 1) * sizeof(*fl.pc));
	T_CHECK(fl.pc);
	set_up();
	if (!measure())
		return 0;
	if (torture->at >= 0) {
		if (torture_has(flip_is_there((uint64_t)torture->at)))
			run_point((uint64_t)torture->at);
		return 0;
	}
	if (torture->full)
		run_all(&seed);
	else
		for (uint32_t i = 0; i < QUICK_N; i++)
			run_point(random_point(&seed));
	return 0;
}

static void run_case(uint32_t c)
{
	uint64_t since = sb_now_ns();
	int status;

	fl.op = &flip_ops[c / N_STATES];
	fl.state = c % N_STATES;
	snprintf(fl.name, sizeof(fl.name), "%s/%s", fl.op->name,
		 state_names[fl.state]);
	if (!(fl.op->states & 1u << fl.state) || !torture_wants(fl.name))
		return;
	fl.row = &all->row[fl.op - flip_ops];
	status = t_wait(t_fork(case_main, &c));
	if (status)
		torture_bad(&fl.row->t, torture_verdict(status), fl.name, -1,
			    "the case did not come to its end (%d)", status);
	fl.row->ns += sb_now_ns() - since;
}

#define N_CASES (flip_n_ops * N_STATES)

static int shard_main(void *arg)
{
	uint32_t c;

	(void)arg;
	fl.sh = t_shared(sizeof(*fl.sh));
	while ((c = all->next_case++) < N_CASES)
		run_case(c);
	return 0;
}

int flip_main(void)
{
	bool good;

	all = t_shared(sizeof(*all));
	good = t_each_cpu(shard_main, NULL);
	torture_say("%-18s %7s %7s %8s %5s %8s\n", "operation", "instr",
		    "points", "rejected", "bad", "seconds");
	for (size_t o = 0; o < flip_n_ops; o++) {
		const struct row *r = &all->row[o];

		if (r->t.points)
			torture_say("%-18s %7u %7u %8u %5u %8.1f\n",
				    flip_ops[o].name, (unsigned)r->longest,
				    (unsigned)r->t.points,
				    (unsigned)r->t.rejected,
				    (unsigned)tally_bad(&r->t),
				    (double)r->ns / 1e9);
	}
	return good ? 0 : 1;
}
