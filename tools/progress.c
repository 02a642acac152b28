/*
 * progress.c - one line on standard error that tells how far a run is
 */
#include "config.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "tools/progress.h"

#define PERIOD_NS 200000000u /* five times a second is enough for the eye */

static struct {
	const char *what; /* NULL: not started, or no terminal */
	bool shown;
	uint64_t start_ns;
	uint64_t next_ns;
} line;

uint64_t progress_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void progress_start(const char *what, uint64_t now_ns)
{
	if (!isatty(STDERR_FILENO))
		return;
	line.what = what;
	line.start_ns = now_ns;
	line.next_ns = now_ns + PERIOD_NS; /* short runs show nothing */
}

void progress_tick(uint64_t now_ns, uint64_t n_results, double part,
		   uint64_t n_kills)
{
	char text[128], percent[16] = "", kills[40] = "";
	double seconds;
	int n;

	if (!line.what || now_ns < line.next_ns)
		return;
	line.next_ns = now_ns + PERIOD_NS;
	seconds = (double)(now_ns - line.start_ns) / 1e9;
	if (part >= 0)
		snprintf(percent, sizeof(percent), " (%.0f %%)", part * 100);
	if (n_kills > 0)
		snprintf(kills, sizeof(kills), ", %" PRIu64 " kills", n_kills);
	/* \r to the start of the line, ESC [ K removes what is on it. */
	n = snprintf(text, sizeof(text),
		     "\r\033[K%s: %" PRIu64 " results%s, %.0f/s%s", line.what,
		     n_results, percent, (double)n_results / seconds, kills);
	if (n > 0 && write(STDERR_FILENO, text, (size_t)n) > 0)
		line.shown = true;
}

void progress_hide(void)
{
	if (!line.shown)
		return;
	line.shown = false;
	if (write(STDERR_FILENO, "\r\033[K", 4) < 0)
		line.what = NULL; /* the terminal is gone */
}
