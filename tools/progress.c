/*
 * progress.c - one line on standard error that tells how far a run is
 */
#include "config.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/progress.h"

#define PERIOD_NS 200000000u /* five times a second is enough for the eye */

/* \r to the start of the line, ESC [ K removes what is on it. */
#define CLEAR "\r\033[K"

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

/* Is it time to show the line again?  Then *seconds is since the start. */
static bool is_due(uint64_t now_ns, double *seconds)
{
	if (!line.what || now_ns < line.next_ns)
		return false;
	line.next_ns = now_ns + PERIOD_NS;
	*seconds = (double)(now_ns - line.start_ns) / 1e9;
	return true;
}

static void __attribute__((format(printf, 1, 2))) show(const char *format, ...)
{
	char text[160] = CLEAR;
	size_t at = sizeof(CLEAR) - 1;
	va_list args;

	va_start(args, format);
	vsnprintf(text + at, sizeof(text) - at, format, args);
	va_end(args);
	if (write(STDERR_FILENO, text, strlen(text)) > 0)
		line.shown = true;
}

/* " (34 %)", or nothing. */
static const char *percent(double part, char *text, size_t cap)
{
	text[0] = '\0';
	if (part >= 0)
		snprintf(text, cap, " (%.0f %%)", part * 100);
	return text;
}

void progress_results(uint64_t now_ns, uint64_t n_results, double part,
		      uint64_t n_kills)
{
	char of[16], kills[40] = "";
	double seconds;

	if (!is_due(now_ns, &seconds))
		return;
	if (n_kills > 0)
		snprintf(kills, sizeof(kills), ", %" PRIu64 " kills", n_kills);
	show("%s: %" PRIu64 " results%s, %.0f/s%s", line.what, n_results,
	     percent(part, of, sizeof(of)), (double)n_results / seconds, kills);
}

void progress_bytes(uint64_t now_ns, uint64_t n_bytes, double part)
{
	char of[16];
	double seconds, mb = (double)n_bytes / 1e6;

	if (is_due(now_ns, &seconds))
		show("%s: %.1f MB%s, %.0f MB/s", line.what, mb,
		     percent(part, of, sizeof(of)), mb / seconds);
}

void progress_messages(uint64_t now_ns, uint64_t n_messages, uint64_t n_bytes)
{
	double seconds;

	if (is_due(now_ns, &seconds))
		show("%s: %" PRIu64 " messages, %.1f MB, %.0f/s", line.what,
		     n_messages, (double)n_bytes / 1e6,
		     (double)n_messages / seconds);
}

void progress_forked(void)
{
	line.shown = line.what != NULL;
}

void progress_hide(void)
{
	if (!line.shown)
		return;
	line.shown = false;
	if (write(STDERR_FILENO, CLEAR, sizeof(CLEAR) - 1) < 0)
		line.what = NULL; /* the terminal is gone */
}
