/*
 * progress.h - one line on standard error that tells how far a run is
 *
 * Only where standard error is a terminal.  There is one such line, so the
 * module keeps it; whoever else writes to a terminal hides it first.
 */
#ifndef PROGRESS_H
#define PROGRESS_H

#include <stdint.h>

/* The time now, in ns of CLOCK_MONOTONIC. */
uint64_t progress_clock(void);

/* From now on ticks show; rates count from @now_ns. */
void progress_start(const char *what, uint64_t now_ns);

/*
 * progress_results, progress_bytes, progress_messages - show the state, at most
 * a few times a second
 *
 * @part: of the input that has been read, 0 .. 1; negative if unknown
 */
void progress_results(uint64_t now_ns, uint64_t n_results, double part,
		      uint64_t n_kills);
void progress_bytes(uint64_t now_ns, uint64_t n_bytes, double part);
void progress_messages(uint64_t now_ns, uint64_t n_messages, uint64_t n_bytes);

/* We were forked: the line may be shown, by the other process. */
void progress_forked(void);

/* Take the line away; the next tick may show it again. */
void progress_hide(void);

#endif
