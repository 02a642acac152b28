/*
 * calls.h - requests and answers over two lanes, for transports that have no
 * calls of their own
 */
#ifndef BENCH_CALLS_H
#define BENCH_CALLS_H

#include "bench/transport.h"

/* The bytes of a request and of an answer: id, a, b or id, product, check. */
#define CALL_BYTES 24

/* What the load goes through: the transport's own calls or two lanes. */
struct caller {
	const struct transport *transport;
	struct calls *calls;   /* its own, or NULL */
	struct lane *requests; /* the two lanes, or NULL */
	struct lane *answers;
	unsigned workers;
	struct shares *shares; /* what they did; may be NULL */
};

/* Parent; on failure sets @out and returns -1. */
int caller_open(struct caller *caller, const struct transport *transport,
		const struct spec *spec, struct outcome *out);
void caller_close(struct caller *caller);

/* True when the parent has to fork workers that run caller_serve(). */
bool caller_needs_workers(const struct caller *caller);
int caller_serve(struct caller *caller);

/* A worker, before it says that it is ready. */
int caller_attach(struct caller *caller);

/* The coordinator; see struct call_ops. */
int caller_start(struct caller *caller);
int caller_submit(struct caller *caller, uint64_t id, uint64_t a, uint64_t b,
		  bool wait);
int caller_collect(struct caller *caller, uint64_t *id, uint64_t *product,
		   bool wait);
int caller_stop(struct caller *caller);
int caller_pids(struct caller *caller, pid_t *pids, size_t n);

/* What goes over the lanes.  A worker ends at a request with the id CALL_END.
 */
#define CALL_END UINT64_MAX

struct call_request {
	uint64_t id, a, b;
};

struct call_answer {
	uint64_t id, product;
	uint64_t sum; /* id + product, so that every byte is checked */
};

_Static_assert(sizeof(struct call_request) == CALL_BYTES, "request");
_Static_assert(sizeof(struct call_answer) == CALL_BYTES, "answer");

static inline void call_serve(const struct call_request *request,
			      struct call_answer *answer)
{
	answer->id = request->id;
	answer->product = request->a * request->b;
	answer->sum = answer->id + answer->product;
}

static inline bool call_is_intact(const struct call_answer *answer)
{
	return answer->sum == answer->id + answer->product;
}

/* What request @seq asks: the operands are made from its number. */
static inline uint64_t call_a(uint64_t seq)
{
	return seq + 3;
}

static inline uint64_t call_b(uint64_t seq)
{
	return seq ^ 0x9e3779b97f4a7c15u; /* so that products fill 64 bits */
}

static inline uint64_t call_product(uint64_t seq)
{
	return call_a(seq) * call_b(seq);
}

#endif
