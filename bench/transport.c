/*
 * transport.c - who there is
 */
#include "config.h"

#include <string.h>

#include "bench/transport.h"

const struct transport *const transports[] = {
	&transport_pipe,
	&transport_pipe_latency,
	&transport_pipe_stream,
	&transport_shmbus,
	&transport_farm,
	&rival_vyukov,
	&rival_spsc,
	&rival_spsc_mem,
	&rival_spsc_call,
	&rival_spsc_mem_call,
	&rival_line,
	&rival_futex,
	&rival_eventfd,
	&rival_eventfd_mpmc,
	&rival_pipe,
	&rival_pipe_batch,
	&rival_seqpacket,
	&rival_mq,
	&rival_ck_spsc,
	&rival_ck_spsc_mem,
	&rival_ck_mpmc,
	&rival_ck_mpmc_mem,
	&rival_rte_spsc,
	&rival_rte_spsc_mem,
	&rival_rte_spsc_b32,
	&rival_rte_spsc_b32_mem,
	&rival_rte_mpmc,
	&rival_rte_mpmc_mem,
	&rival_rte_mpmc_b32,
	&rival_rte_hts,
	&rival_rte_hts_b32,
	&rival_rte_rts,
	&rival_rte_rts_b32,
	&rival_qb,
	&rival_qb_mem,
	&rival_boost,
	&rival_boost_mem,
	&rival_zmq,
	&rival_nng,
	&rival_iceoryx,
	&rival_iceoryx_poll,
	&rival_iceoryx_mem,
	&rival_python_queue,
	&rival_python_pipe,
	&rival_python_pool_map,
	&rival_python_pool_imap,
	&rival_python_pool_apply,
	&rival_python_executor,
	NULL,
};

const char *const load_names[LOAD_N] = {
	[LOAD_RTT] = "rtt",       [LOAD_STREAM] = "stream",
	[LOAD_DUPLEX] = "duplex", [LOAD_MPMC] = "mpmc",
	[LOAD_FARM] = "farm",     [LOAD_POOL] = "pool",
	[LOAD_WAKE] = "wake",     [LOAD_RECOVER] = "recover",
	[LOAD_IDLE] = "idle",
};

const char *const method_names[METHOD_N] = {
	[METHOD_APPLY] = "apply",
	[METHOD_SUBMIT] = "submit",
	[METHOD_MAP] = "map",
	[METHOD_IMAP] = "imap",
	[METHOD_IMAP_UNORDERED] = "imap_unordered",
	[METHOD_FARM] = "farm",
};

const char *const wait_names[WAIT_N] = {
	[WAIT_SPIN] = "spin",
	[WAIT_ADAPTIVE] = "adaptive",
	[WAIT_URING] = "uring",
	[WAIT_FUTEX] = "futex",
};

const struct transport *rival_find(const char *name)
{
	for (size_t i = 0; transports[i]; i++)
		if (!transports[i]->ours && !strcmp(transports[i]->name, name))
			return transports[i];
	return NULL;
}
