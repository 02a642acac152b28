/*
 * sim_ring.h - other names for the functions of the ring, for a second copy of
 * them in a program that also links the first
 *
 * All that ring.c, ring_recover.c and fence.c define; of one that is missing
 * here the linker says that it has multiple definitions.
 */
#ifndef SIM_RING_H
#define SIM_RING_H

#define sb_fence_heavy sim_fence_heavy
#define sb_fence_register sim_fence_register
#define sb_ring_abort sim_ring_abort
#define sb_ring_answer_orphan sim_ring_answer_orphan
#define sb_ring_attach sim_ring_attach
#define sb_ring_back_off sim_ring_back_off
#define sb_ring_bytes sim_ring_bytes
#define sb_ring_claim_slow sim_ring_claim_slow
#define sb_ring_close sim_ring_close
#define sb_ring_closed sim_ring_closed
#define sb_ring_count sim_ring_count
#define sb_ring_give_back sim_ring_give_back
#define sb_ring_help_head sim_ring_help_head
#define sb_ring_help_tail sim_ring_help_tail
#define sb_ring_holds sim_ring_holds
#define sb_ring_init sim_ring_init
#define sb_ring_pos_alive sim_ring_pos_alive
#define sb_ring_reattach sim_ring_reattach
#define sb_ring_recover sim_ring_recover
#define sb_ring_reopen sim_ring_reopen
#define sb_ring_scan sim_ring_scan
#define sb_ring_stride sim_ring_stride
#define sb_ring_take_slow sim_ring_take_slow
#define sb_ring_unfinished sim_ring_unfinished

#endif
