/*
 * plan.c - which cases are measured, and whom each of them compares
 *
 * Without a workload on the command line all are measured, quickly: the whole
 * table is there in less than 15 seconds.  A named workload takes longer and
 * compares with more rivals.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "bench/calls.h"
#include "bench/cpus.h"
#include "bench/message.h"
#include "bench/plan.h"
#include "bench/run.h"

#define OPERANDS_BYTES 16   /* two 64-bit numbers */
#define PYTHON_BYTES   1024 /* where the quick table has it in stream */
#define PYTHON_SECONDS 0.1  /* a round of Python is no use below that */

/* Besides the rounds themselves: to start processes, or Python, and to measure
 * the ping-pong. */
#define START_SECONDS        0.01
#define PYTHON_START_SECONDS 0.15
#define PYTHON_POOL_SECONDS  0.25 /* and the map that it is in at the end */

/* The quick table has loans only of what is long enough to be lent. */
#define QUICK_LOAN_BYTES 65536

#define DEFAULT_INFLIGHT 1024
#define DEFAULT_BATCH    32
/* A stream of messages up to this size is measured with many a call as well. */
#define MANY_MAX_BYTES   64
/* Of a map.  Items that go one by one are slow, in Python. */
#define DEFAULT_ITEMS    20000
#define CHUNKED_ITEMS    5000

/* Seconds and rounds of each transport. */
struct effort {
	double seconds;
	unsigned runs;
};

static const struct effort quick[LOAD_N] = {
	[LOAD_RTT] = { 0.02, 3 },    [LOAD_STREAM] = { 0.02, 3 },
	[LOAD_DUPLEX] = { 0.02, 3 }, [LOAD_MPMC] = { 0.02, 3 },
	[LOAD_FARM] = { 0.02, 3 },   [LOAD_POOL] = { 0.02, 3 },
	[LOAD_WAKE] = { 0.15, 1 },   [LOAD_RECOVER] = { 0.15, 1 },
	[LOAD_IDLE] = { 0.2, 1 },
};

static const struct effort thorough[LOAD_N] = {
	[LOAD_RTT] = { 0.15, 7 },    [LOAD_STREAM] = { 0.15, 7 },
	[LOAD_DUPLEX] = { 0.15, 7 }, [LOAD_MPMC] = { 0.15, 7 },
	[LOAD_FARM] = { 0.15, 7 },   [LOAD_POOL] = { 0.15, 7 },
	[LOAD_WAKE] = { 0.5, 3 },    [LOAD_RECOVER] = { 1.0, 3 },
	[LOAD_IDLE] = { 1.0, 1 },
};

/* A sweep has many cases. */
static const struct effort sweeping = { 0.06, 7 };

/* A round of a Python pool does some thousand tasks in this time. */
static const struct effort python_pool = { 0.4, 3 };

#define B(load) LOAD_BIT(LOAD_##load)

/*
 * Who takes part by default: in a named workload, in the quick table.  Of that
 * plan_seconds() has to be a second below the 15 that are promised, with all
 * that are libraries of others.
 */
static const struct {
	const struct transport *transport;
	unsigned named;
	unsigned quick;
} defaults[] = {
	{ &transport_shmbus, LOAD_ALL, LOAD_ALL },
	{ &transport_pipe, LOAD_ALL, B(RTT) | B(STREAM) | B(DUPLEX) },
	{ &transport_pipe_latency, LOAD_ALL, LOAD_ALL },
	{ &transport_pipe_stream, LOAD_ALL, LOAD_ALL },
	{ &rival_vyukov, B(RTT) | B(STREAM) | B(MPMC) | B(FARM),
	  B(RTT) | B(STREAM) | B(MPMC) | B(FARM) },
	{ &rival_spsc, B(RTT) | B(STREAM) | B(DUPLEX),
	  B(RTT) | B(STREAM) | B(DUPLEX) },
	{ &rival_spsc_mem, B(STREAM) | B(DUPLEX), 0 },
	{ &rival_line, B(RTT), B(RTT) },
	{ &rival_futex, B(RTT) | B(WAKE) | B(IDLE), B(RTT) | B(WAKE) },
	{ &rival_eventfd, B(RTT) | B(STREAM) | B(WAKE) | B(IDLE), 0 },
	{ &rival_eventfd_mpmc, B(MPMC) | B(FARM) | B(IDLE), 0 },
	{ &rival_pipe, LOAD_ALL, LOAD_ALL },
	{ &rival_pipe_batch, B(STREAM) | B(FARM), 0 },
	{ &rival_seqpacket, LOAD_ALL, B(RTT) | B(DUPLEX) },
	{ &rival_mq, LOAD_ALL, B(RTT) },
	{ &rival_ck_spsc, B(RTT) | B(STREAM), 0 },
	{ &rival_ck_spsc_mem, B(STREAM), 0 },
	{ &rival_ck_mpmc, B(MPMC) | B(FARM), 0 },
	{ &rival_ck_mpmc_mem, B(MPMC) | B(FARM), 0 },
	{ &rival_rte_spsc, B(RTT) | B(STREAM), 0 },
	{ &rival_rte_spsc_mem, B(STREAM), 0 },
	{ &rival_rte_spsc_b32, B(STREAM), B(STREAM) },
	{ &rival_rte_spsc_b32_mem, B(STREAM), 0 },
	{ &rival_rte_mpmc, B(RTT) | B(STREAM) | B(MPMC) | B(FARM), 0 },
	{ &rival_rte_mpmc_mem, B(MPMC) | B(FARM), 0 },
	{ &rival_rte_mpmc_b32, B(STREAM) | B(FARM), 0 },
	{ &rival_rte_hts, B(MPMC) | B(FARM), B(MPMC) },
	{ &rival_rte_hts_b32, B(STREAM) | B(FARM), B(FARM) },
	{ &rival_rte_rts, B(MPMC) | B(FARM), 0 },
	{ &rival_rte_rts_b32, B(FARM), 0 },
	{ &rival_qb, LOAD_ALL, 0 },
	{ &rival_qb_mem, B(FARM), 0 },
	{ &rival_boost, LOAD_ALL, 0 },
	{ &rival_boost_mem, B(FARM), 0 },
	{ &rival_zmq, LOAD_ALL, 0 },
	{ &rival_nng, LOAD_ALL, 0 },
	{ &rival_iceoryx, LOAD_ALL, 0 },
	{ &rival_iceoryx_poll, B(RTT) | B(STREAM), 0 },
	{ &rival_iceoryx_mem, B(STREAM), 0 },
	{ &rival_python_queue, LOAD_ALL, B(MPMC) },
	{ &rival_python_pipe, LOAD_ALL, B(RTT) | B(STREAM) },
	{ &rival_python_pool_map, B(POOL), B(POOL) },
	{ &rival_python_pool_imap, B(POOL), B(POOL) },
	{ &rival_python_pool_apply, B(POOL), B(POOL) },
	{ &rival_python_executor, B(POOL), 0 },
};

#undef B

static bool is_quick(const struct options *options)
{
	return !options->loads;
}

static bool is_python(const struct transport *transport)
{
	return transport->run != NULL;
}

static bool is_default(const struct options *options,
		       const struct transport *transport, enum load load)
{
	for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
		if (defaults[i].transport == transport)
			return transport->loads & LOAD_BIT(load) &
			       (is_quick(options) ? defaults[i].quick
						  : defaults[i].named);
	return false;
}

/* A rival that cannot do it is still wanted if it was named: then the table
 * says that it is absent. */
static bool is_wanted(const struct options *options,
		      const struct transport *rival, enum load load)
{
	if (options->kills_per_s > 0)
		return false;
	/* Starting Python for each value of a sweep takes too long. */
	if (!options->rivals_given)
		return is_default(options, rival, load) &&
		       !(options->sweep.name && is_python(rival));
	for (unsigned i = 0; i < options->n_rivals; i++)
		if (options->rivals[i] == rival)
			return true;
	return options->all_rivals && rival->loads & LOAD_BIT(load);
}

/* Few messages a second, by nature. */
static bool is_slow(enum load load)
{
	return load == LOAD_WAKE || load == LOAD_RECOVER || load == LOAD_IDLE;
}

static void add_entry(struct bench_case *bench_case,
		      const struct options *options,
		      const struct transport *transport, enum wait_kind wait,
		      unsigned batch)
{
	enum load load = bench_case->spec.load;
	const struct effort *effort =
		&(is_quick(options) ? quick : thorough)[load];
	struct entry *entry = &bench_case->entry[bench_case->n++];

	if (options->sweep.name && !is_slow(load))
		effort = &sweeping;
	if (is_python(transport) && load == LOAD_POOL && !is_quick(options))
		effort = &python_pool;

	*entry = (struct entry){
		.transport = transport,
		.wait = wait,
		.method = bench_case->spec.method,
		.batch = transport->batches ? batch : 1,
		.unasked = !transport_is_built(transport) &&
			   !options->rivals_given,
		.runs = options->runs ? options->runs : effort->runs,
		.seconds = options->seconds > 0 ? options->seconds
						: effort->seconds,
	};
	entry->warm_seconds = options->warmup >= 0
				      ? options->warmup
				      : crew_warm_seconds(entry->seconds);
	if (!is_python(transport) || !is_quick(options))
		return;
	if (!options->runs)
		entry->runs = 1; /* half of its time it only starts */
	if (options->seconds <= 0 && entry->seconds < PYTHON_SECONDS)
		entry->seconds = PYTHON_SECONDS;
}

static bool is_ours_wanted(const struct options *options,
			   const struct transport *transport,
			   const struct spec *spec)
{
	bool queue = transport == &transport_shmbus;

	if (spec->loan && !transport->lends)
		return false;
	/* Nobody takes the place of an end of a pipe. */
	if (!queue && options->kills_per_s > 0)
		return false;
	if (queue && options->only_pipe & LOAD_BIT(spec->load))
		return false;
	/* What has slots is the queue; who wants pipes beside it says so. */
	if (!queue && spec->slots && !options->ours_given)
		return false;
	if (options->ours_given)
		return transport->loads & LOAD_BIT(spec->load);
	return is_default(options, transport, spec->load);
}

/* Ours in the ways of @waits (a bit each), or in the way that was asked for.
 */
static void add_ours(struct bench_case *bench_case,
		     const struct options *options, unsigned waits)
{
	if (options->wait >= 0)
		waits = 1u << options->wait;
	for (unsigned i = 0; i < options->n_ours; i++) {
		const struct transport *transport = options->ours[i];

		if (!is_ours_wanted(options, transport, &bench_case->spec))
			continue;
		for (unsigned wait = 0; wait < WAIT_N; wait++)
			if (waits & 1u << wait)
				add_entry(bench_case, options, transport,
					  (enum wait_kind)wait,
					  bench_case->spec.batch);
	}
}

static void add_rivals(struct bench_case *bench_case,
		       const struct options *options)
{
	enum load load = bench_case->spec.load;

	for (size_t i = 0; transports[i]; i++) {
		if (transports[i]->ours ||
		    !is_wanted(options, transports[i], load) ||
		    (bench_case->spec.loan && !transports[i]->lends))
			continue;
		add_entry(bench_case, options, transports[i], WAIT_ADAPTIVE,
			  bench_case->spec.batch);
	}
}

static void add_rival(struct bench_case *bench_case,
		      const struct options *options,
		      const struct transport *rival)
{
	if (is_wanted(options, rival, bench_case->spec.load))
		add_entry(bench_case, options, rival, WAIT_ADAPTIVE, 1);
}

/* Starting Python takes longer than a quick round of all others together, so
 * the quick table has it in some cases only.  It comes last. */
static void drop_python(struct bench_case *bench_case)
{
	while (bench_case->n > 0 &&
	       is_python(bench_case->entry[bench_case->n - 1].transport))
		bench_case->n--;
}

/* What the first of our pipes has; it does not depend on the case. */
static uint64_t pipe_bytes(const struct options *options)
{
	static struct spec spec;

	if (!spec.pipe_bytes) {
		if (options->ours[0] != &transport_shmbus)
			spec.variant = options->ours[0]->variant;
		spec.bytes = MSG_MIN_BYTES;
		pipe_geometry(&spec);
	}
	return spec.pipe_bytes;
}

static struct bench_case *add_case(struct plan *plan,
				   const struct options *options,
				   const struct spec *spec)
{
	struct bench_case *bench_case = &plan->cases[plan->n++];
	struct spec ring = *spec;

	*bench_case =
		(struct bench_case){ .spec = *spec, .sweep = options->sweep };
	bench_case->syscalls = options->syscalls;
	bench_case->spec.kills_per_s = options->kills_per_s;
	if (options->pin >= 0)
		bench_case->spec.pin = options->pin;
	else
		bench_case->spec.pin = spec->load == LOAD_RTT ||
				       spec->load == LOAD_STREAM ||
				       spec->load == LOAD_DUPLEX;
	if (cpus_count() < 2)
		bench_case->spec.pin = false;
	if (spec->workers)
		ring.bytes = CALL_BYTES;
	shmbus_geometry(&ring);
	bench_case->spec.n_slots = ring.n_slots;
	bench_case->spec.slot_bytes = ring.slot_bytes;
	bench_case->spec.pipe_bytes = pipe_bytes(options);
	return bench_case;
}

enum way { BUSY, ADAPTIVE, PARKED, WAY_N };

static void add_these(struct bench_case *bench_case,
		      const struct options *options,
		      const struct transport *const *rivals, size_t n)
{
	for (size_t i = 0; i < n; i++)
		add_rival(bench_case, options, rivals[i]);
}

/* Those who never sleep; whoever there is; those who sleep at once, without a
 * look around before. */
static void add_rtt_rivals(struct bench_case *bench_case,
			   const struct options *options, enum way way)
{
	static const struct transport *const awake[] = {
		&rival_vyukov,  &rival_spsc,         &rival_spsc_mem,
		&rival_ck_spsc, &rival_rte_spsc,     &rival_rte_mpmc,
		&rival_line,    &rival_iceoryx_poll,
	};
	static const struct transport *const asleep[] = {
		&rival_futex,
		&rival_pipe,
		&rival_seqpacket,
		&rival_mq,
	};
	/* The quick table has no time for all of them. */
	size_t n_asleep = is_quick(options) && !options->rivals_given
				  ? 2
				  : sizeof(asleep) / sizeof(asleep[0]);

	switch (way) {
	case BUSY:
		add_these(bench_case, options, awake,
			  sizeof(awake) / sizeof(awake[0]));
		break;
	case ADAPTIVE:
		for (size_t i = 0; transports[i]; i++)
			if (!transports[i]->ours &&
			    transports[i] != &rival_futex)
				add_rival(bench_case, options, transports[i]);
		break;
	default:
		add_these(bench_case, options, asleep, n_asleep);
	}
}

static void plan_rtt(struct plan *plan, const struct options *options)
{
	static const struct {
		const char *title;
		unsigned waits;
	} ways[WAY_N] = {
		[BUSY] = { "busy", 1u << WAIT_SPIN },
		[ADAPTIVE] = { "adaptive", 1u << WAIT_ADAPTIVE },
		[PARKED] = { "parked", 1u << WAIT_URING | 1u << WAIT_FUTEX },
	};
	struct spec spec = { .load = LOAD_RTT,
			     .bytes = OPERANDS_BYTES,
			     .workers = 1,
			     .batch = 1,
			     .rate = options->rate,
			     .inflight = 1 };

	for (enum way way = 0; way < WAY_N; way++) {
		struct bench_case *added;

		/* One way was asked for: one case, with all rivals. */
		if (options->wait >= 0 && way != ADAPTIVE)
			continue;
		added = add_case(plan, options, &spec);
		add_ours(added, options, ways[way].waits);
		if (options->wait >= 0) {
			add_rivals(added, options);
			continue;
		}
		snprintf(added->title, sizeof(added->title), "%s",
			 ways[way].title);
		add_rtt_rivals(added, options, way);
	}
}

/* Returns NULL when nobody of ours takes part. */
static struct bench_case *add_stream(struct plan *plan,
				     const struct options *options,
				     size_t bytes, bool loan)
{
	struct spec spec = { .load = LOAD_STREAM,
			     .bytes = bytes,
			     .producers = 1,
			     .consumers = 1,
			     .batch = options->batch && !loan ? options->batch
							      : 1,
			     .slots = options->slots,
			     .rate = options->rate,
			     .loan = loan };
	struct bench_case *added = add_case(plan, options, &spec);

	snprintf(added->title, sizeof(added->title), "%zu B%s", bytes,
		 loan             ? " loan"
		 : spec.batch > 1 ? " batch"
				  : "");
	add_ours(added, options, 1u << WAIT_ADAPTIVE);
	if (added->n == 0) { /* ours that were asked for cannot lend */
		plan->n--;
		return NULL;
	}
	add_rivals(added, options);
	if (is_quick(options) && !options->rivals_given &&
	    bytes != PYTHON_BYTES)
		drop_python(added);
	return added;
}

/* Many a call, for those who can, against one by one.  Python is slow enough
 * one by one. */
static void add_stream_many(struct plan *plan, const struct options *options,
			    size_t bytes)
{
	struct options many = *options;
	struct bench_case *added;

	many.batch = DEFAULT_BATCH;
	added = add_stream(plan, &many, bytes, false);
	if (!added)
		return;
	snprintf(added->title, sizeof(added->title), "%zu B many", bytes);
	if (!options->rivals_given)
		drop_python(added);
}

/* Whether a stream is also to be measured in that way: of a named workload, if
 * nothing was said that speaks against it. */
static bool wants_many(const struct options *options, size_t bytes)
{
	return !is_quick(options) && !options->loan && !options->batch &&
	       options->rate <= 0 && !options->sweep.name &&
	       bytes <= MANY_MAX_BYTES;
}

static void plan_stream(struct plan *plan, const struct options *options)
{
	static const struct list short_list = { 4, { 8, 64, 1024, 65536 } };
	static const struct list long_list = {
		6, { 8, 64, 1024, 4096, 65536, 1048576 }
	};
	const struct list *sizes = is_quick(options) ? &short_list : &long_list;
	bool both = !options->copy && !options->loan;

	if (options->sizes.n)
		sizes = &options->sizes;
	for (unsigned i = 0; i < sizes->n; i++) {
		if (options->copy || both)
			add_stream(plan, options, sizes->value[i], false);
		if (options->loan || (both && !options->batch &&
				      (!is_quick(options) ||
				       sizes->value[i] >= QUICK_LOAN_BYTES)))
			add_stream(plan, options, sizes->value[i], true);
		if (wants_many(options, sizes->value[i]))
			add_stream_many(plan, options, sizes->value[i]);
	}
}

static void plan_duplex(struct plan *plan, const struct options *options)
{
	static const struct list short_list = { 1, { 1024 } };
	static const struct list long_list = {
		5, { 8, 64, 1024, 65536, 1048576 }
	};
	const struct list *sizes = is_quick(options) ? &short_list : &long_list;

	if (options->sizes.n)
		sizes = &options->sizes;
	for (unsigned i = 0; i < sizes->n; i++) {
		struct spec spec = { .load = LOAD_DUPLEX,
				     .bytes = sizes->value[i],
				     .producers = 1,
				     .consumers = 1,
				     .batch = 1 };
		struct bench_case *added = add_case(plan, options, &spec);

		snprintf(added->title, sizeof(added->title), "%zu B",
			 spec.bytes);
		add_ours(added, options, 1u << WAIT_ADAPTIVE);
		add_rivals(added, options);
	}
}

static struct bench_case *add_mpmc(struct plan *plan,
				   const struct options *options, size_t bytes,
				   unsigned producers, unsigned consumers)
{
	struct spec spec = { .load = LOAD_MPMC,
			     .bytes = bytes,
			     .producers = producers,
			     .consumers = consumers,
			     .batch = options->batch ? options->batch : 1,
			     .slots = options->slots };
	struct bench_case *added = add_case(plan, options, &spec);

	if (bytes == MSG_MIN_BYTES)
		snprintf(added->title, sizeof(added->title), "%ux%u", producers,
			 consumers);
	else
		snprintf(added->title, sizeof(added->title), "%ux%u %zu B",
			 producers, consumers, bytes);
	add_ours(added, options, 1u << WAIT_ADAPTIVE);
	return added;
}

/* Many at a time against one at a time. */
static void add_batched(struct plan *plan, const struct options *options,
			size_t bytes)
{
	struct options many = *options;
	struct bench_case *added;

	many.batch = DEFAULT_BATCH;
	added = add_mpmc(plan, &many, bytes, 1, 1);
	snprintf(added->title, sizeof(added->title), "1x1 many");
	add_entry(added, options, &transport_shmbus, added->entry[0].wait, 1);
	add_rival(added, options, &rival_vyukov);
	for (size_t i = 0; transports[i]; i++)
		if (!transports[i]->ours && transports[i]->batches &&
		    transports[i]->loads & LOAD_BIT(LOAD_MPMC) &&
		    is_wanted(options, transports[i], LOAD_MPMC))
			add_entry(added, options, transports[i], WAIT_ADAPTIVE,
				  DEFAULT_BATCH);
}

static void plan_mpmc(struct plan *plan, const struct options *options)
{
	static const struct list eight = { 1, { MSG_MIN_BYTES } };
	const struct list *sizes = options->sizes.n ? &options->sizes : &eight;
	bool given = options->producers || options->consumers;

	for (unsigned i = 0; i < sizes->n; i++) {
		size_t bytes = sizes->value[i];

		if (given) {
			unsigned producers = options->producers;
			unsigned consumers = options->consumers;

			add_rivals(add_mpmc(plan, options, bytes,
					    producers ? producers : 1,
					    consumers ? consumers : 1),
				   options);
			continue;
		}
		for (unsigned n = 1; n <= 8; n *= 2) {
			struct bench_case *added =
				add_mpmc(plan, options, bytes, n, n);

			add_rivals(added, options);
			if (is_quick(options) && !options->rivals_given &&
			    n > 1)
				drop_python(added);
		}
		if (!options->batch && options->kills_per_s <= 0)
			add_batched(plan, options, bytes);
	}
}

/* Whether requests are also to be handed over many at a time, if nothing was
 * said that speaks against it, and as many may be outstanding. */
static bool wants_many_calls(const struct options *options, unsigned inflight)
{
	return !options->batch && options->rate <= 0 &&
	       options->kills_per_s <= 0 && !options->ours_given &&
	       inflight >= DEFAULT_BATCH;
}

static void plan_farm(struct plan *plan, const struct options *options)
{
	static const struct list default_workers = { 4, { 1, 2, 4, 8 } };
	const struct list *workers = &default_workers;

	if (options->workers.n)
		workers = &options->workers;
	for (unsigned i = 0; i < workers->n; i++) {
		struct spec spec = { .load = LOAD_FARM,
				     .bytes = OPERANDS_BYTES,
				     .workers = (unsigned)workers->value[i],
				     .batch = options->batch ? options->batch
							     : 1,
				     .rate = options->rate,
				     .inflight = options->inflight
							 ? options->inflight
							 : DEFAULT_INFLIGHT };
		struct bench_case *added = add_case(plan, options, &spec);

		snprintf(added->title, sizeof(added->title), "%u worker%s",
			 spec.workers, spec.workers > 1 ? "s" : "");
		add_ours(added, options, 1u << WAIT_ADAPTIVE);
		if (wants_many_calls(options, spec.inflight))
			add_entry(added, options, &transport_shmbus,
				  added->entry[0].wait, DEFAULT_BATCH);
		/* Rivals that have bursts are rows of their own. */
		added->spec.batch = 1;
		add_rivals(added, options);
	}
}

static unsigned some_workers(void)
{
	int n = cpus_count();

	return n < 1 ? 1 : n > 8 ? 8 : (unsigned)n;
}

/* Beside ours, whatever it is: the same without a pool. */
static void add_farm(struct bench_case *bench_case,
		     const struct options *options)
{
	unsigned n = bench_case->n;

	for (unsigned i = 0; i < n; i++) {
		add_entry(bench_case, options, &transport_farm,
			  bench_case->entry[i].wait, 1);
		bench_case->entry[bench_case->n - 1].method = METHOD_FARM;
	}
}

/* A rival that is a pool and has not got this method is not even absent. */
static void add_pool_rivals(struct bench_case *bench_case,
			    const struct options *options)
{
	const struct spec *spec = &bench_case->spec;

	for (size_t i = 0; transports[i]; i++) {
		const struct transport *rival = transports[i];

		if (rival->ours || !is_wanted(options, rival, LOAD_POOL))
			continue;
		if (rival->methods &&
		    !(rival->methods & METHOD_BIT(spec->method)))
			continue;
		/* Its default is 1: that is another case. */
		if (rival == &rival_python_executor && !spec->chunk)
			continue;
		add_entry(bench_case, options, rival, WAIT_ADAPTIVE, 1);
	}
}

static void add_pool(struct plan *plan, const struct options *options,
		     enum method method, size_t chunk, unsigned workers)
{
	struct spec spec = { .load = LOAD_POOL,
			     .bytes = OPERANDS_BYTES,
			     .workers = workers,
			     .batch = 1,
			     .method = method,
			     .chunk = chunk };
	struct bench_case *added;
	char number[24] = "";

	spec.inflight = method == METHOD_APPLY ? 1
			: options->inflight    ? options->inflight
					       : DEFAULT_INFLIGHT;
	if (method == METHOD_MAP)
		spec.items = options->items ? options->items
			     : chunk        ? CHUNKED_ITEMS
					    : DEFAULT_ITEMS;
	added = add_case(plan, options, &spec);
	if (method == METHOD_MAP || chunk != 1)
		snprintf(number, sizeof(number), chunk ? "/%zu" : "/default",
			 chunk);
	snprintf(added->title, sizeof(added->title), "%s%s x%u",
		 method_names[method], number, workers);
	add_ours(added, options, 1u << WAIT_ADAPTIVE);
	add_farm(added, options);
	add_pool_rivals(added, options);
}

static void plan_pool(struct plan *plan, const struct options *options)
{
	static const unsigned quick_methods = METHOD_BIT(METHOD_SUBMIT) |
					      METHOD_BIT(METHOD_MAP) |
					      METHOD_BIT(METHOD_IMAP_UNORDERED);
	struct list some = { 1, { some_workers() } };
	const struct list *workers =
		options->workers.n ? &options->workers : &some;
	unsigned methods = options->methods    ? options->methods
			   : is_quick(options) ? quick_methods
					       : METHOD_BIT(METHOD_FARM) - 1;

	for (unsigned i = 0; i < workers->n; i++)
		for (enum method method = 0; method < METHOD_FARM; method++) {
			unsigned n = (unsigned)workers->value[i];
			bool single = method == METHOD_APPLY ||
				      method == METHOD_SUBMIT;

			if (!(methods & METHOD_BIT(method)))
				continue;
			add_pool(plan, options, method,
				 options->chunk_given && !single
					 ? options->chunk
					 : 1,
				 n);
			if (method == METHOD_MAP && !options->chunk_given)
				add_pool(plan, options, METHOD_MAP, 0, n);
		}
}

static void plan_recover(struct plan *plan, const struct options *options)
{
	static const struct list default_workers = { 1, { 2 } };
	const struct list *workers =
		options->workers.n ? &options->workers : &default_workers;

	for (unsigned i = 0; i < workers->n; i++) {
		struct spec spec = { .load = LOAD_RECOVER,
				     .bytes = OPERANDS_BYTES,
				     .workers = (unsigned)workers->value[i],
				     .batch = 1,
				     .inflight = 1 };
		struct bench_case *added = add_case(plan, options, &spec);

		snprintf(added->title, sizeof(added->title), "%u worker%s",
			 spec.workers, spec.workers > 1 ? "s" : "");
		add_ours(added, options, 1u << WAIT_ADAPTIVE);
		add_farm(added, options);
		if (options->rivals_given)
			add_rivals(added, options);
	}
}

static size_t first_size(const struct options *options, size_t otherwise)
{
	return options->sizes.n ? options->sizes.value[0] : otherwise;
}

static void plan_wake(struct plan *plan, const struct options *options)
{
	/* A message has its number and the time. */
	struct spec spec = { .load = LOAD_WAKE,
			     .bytes = first_size(options, 24),
			     .producers = 1,
			     .consumers = 1,
			     .batch = 1 };
	struct bench_case *added;
	unsigned waits =
		1u << WAIT_ADAPTIVE | 1u << WAIT_URING | 1u << WAIT_FUTEX;

	if (spec.bytes < 16)
		spec.bytes = 16;
	added = add_case(plan, options, &spec);
	add_ours(added, options, waits);
	add_rivals(added, options);
}

static void plan_idle(struct plan *plan, const struct options *options)
{
	struct spec reader = { .load = LOAD_IDLE,
			       .bytes = first_size(options, MSG_MIN_BYTES),
			       .producers = 1,
			       .consumers = 1,
			       .batch = 1,
			       .inflight = 1 };
	struct spec workers = { .load = LOAD_IDLE,
				.bytes = OPERANDS_BYTES,
				.workers = 1,
				.batch = 1,
				.inflight = 1 };
	unsigned all =
		1u << WAIT_ADAPTIVE | 1u << WAIT_URING | 1u << WAIT_FUTEX;
	struct bench_case *added;

	if (options->workers.n)
		workers.workers = (unsigned)options->workers.value[0];
	added = add_case(plan, options, &workers);
	snprintf(added->title, sizeof(added->title), "worker");
	add_ours(added, options, is_quick(options) ? 1u << WAIT_ADAPTIVE : all);
	if (!is_quick(options) || options->rivals_given)
		add_rivals(added, options);
	added = add_case(plan, options, &reader);
	snprintf(added->title, sizeof(added->title), "reader");
	add_ours(added, options, is_quick(options) ? 1u << WAIT_ADAPTIVE : all);
	add_rivals(added, options);
}

/* A case of a sweep is named by its value. */
static void name_after(struct bench_case *bench_case, const struct sweep *sweep,
		       bool only)
{
	char title[sizeof(bench_case->title)];

	snprintf(title, sizeof(title), "%s %.20s%s%.12s", sweep->name,
		 sweep->value, only ? "" : " ", only ? "" : bench_case->title);
	memcpy(bench_case->title, title, sizeof(title));
}

void plan_add(struct plan *plan, const struct options *options)
{
	static void (*const makers[LOAD_N])(struct plan * plan,
					    const struct options *options) = {
		[LOAD_RTT] = plan_rtt,       [LOAD_STREAM] = plan_stream,
		[LOAD_DUPLEX] = plan_duplex, [LOAD_MPMC] = plan_mpmc,
		[LOAD_FARM] = plan_farm,     [LOAD_POOL] = plan_pool,
		[LOAD_WAKE] = plan_wake,     [LOAD_RECOVER] = plan_recover,
		[LOAD_IDLE] = plan_idle,
	};
	bool any = is_quick(options) || options->all;
	unsigned before = plan->n;

	for (unsigned load = 0; load < LOAD_N; load++)
		if (any ? options_can(options, load)
			: options->loads & LOAD_BIT(load))
			makers[load](plan, options);
	for (unsigned i = before; options->sweep.name && i < plan->n; i++)
		name_after(&plan->cases[i], &options->sweep,
			   plan->n - before == 1);
}

struct spec plan_spec(const struct bench_case *bench_case,
		      const struct entry *entry)
{
	struct spec spec = bench_case->spec;

	spec.variant = entry->transport->variant;
	spec.method = entry->method;
	if (spec.method == METHOD_FARM) {
		spec.chunk = 1;
		spec.items = 0;
	}
	spec.wait = entry->wait;
	spec.batch = entry->batch;
	spec.warm_seconds = entry->warm_seconds;
	spec.seconds = entry->seconds;
	return spec;
}

double plan_seconds(const struct bench_case *bench_case)
{
	enum load load = bench_case->spec.load;
	double sum = 0;

	for (unsigned i = 0; i < bench_case->n; i++) {
		const struct entry *entry = &bench_case->entry[i];
		double start = !is_python(entry->transport) ? START_SECONDS
			       : load == LOAD_POOL ? PYTHON_POOL_SECONDS
						   : PYTHON_START_SECONDS;

		if (!transport_is_built(entry->transport))
			continue;
		if (!is_slow(load) && !is_python(entry->transport))
			start += entry->warm_seconds;
		sum += entry->runs * (entry->seconds + start);
	}
	return sum;
}
