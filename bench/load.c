/*
 * load.c - runs the round that a spec describes
 */
#include "config.h"

#include "bench/load.h"

void load_run(const struct transport *transport, const struct spec *spec,
	      struct outcome *out)
{
	static void (*const loads[LOAD_N])(const struct transport *transport,
					   const struct spec *spec,
					   struct outcome *out) = {
		[LOAD_RTT] = load_rtt,       [LOAD_STREAM] = load_stream,
		[LOAD_DUPLEX] = load_duplex, [LOAD_MPMC] = load_queue,
		[LOAD_FARM] = load_farm,     [LOAD_POOL] = load_pool,
		[LOAD_WAKE] = load_wake,     [LOAD_RECOVER] = load_recover,
		[LOAD_IDLE] = load_idle,
	};
	struct hist *all_ns = out->all_ns;

	*out = (struct outcome)OUTCOME_INIT;
	out->open_loop = spec->rate > 0;
	out->all_ns = all_ns;
	if (!(transport->loads & LOAD_BIT(spec->load)))
		outcome_set(out, OUTCOME_ABSENT, "%s cannot run %s",
			    transport->name, load_names[spec->load]);
	else if (!transport_is_built(transport))
		outcome_set(out, OUTCOME_ABSENT,
			    "install %s and build busbench again",
			    transport->package);
	else if (transport->run && spec->rate > 0)
		outcome_set(out, OUTCOME_ABSENT,
			    "%s has its own loop, which knows no rate",
			    transport->name);
	else if (spec->kills_per_s > 0 && !transport_is_ours(transport))
		outcome_set(out, OUTCOME_ABSENT,
			    "who is killed in %s takes its message along",
			    transport->name);
	else if (spec->kills_per_s > 0 && spec->load == LOAD_RTT &&
		 (!transport->calls || transport->calls->serve))
		outcome_set(out, OUTCOME_ABSENT,
			    "nobody takes the place of who is killed in %s",
			    transport->name);
	else if (spec->kills_per_s > 0 && spec->load == LOAD_MPMC)
		load_mortal(transport, spec, out);
	else if (transport->run)
		transport->run(transport, spec, out);
	else
		loads[spec->load](transport, spec, out);
}
