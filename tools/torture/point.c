/*
 * point.c - the point that this process is at, and what is bad about it; see
 * point.h
 */
#include "config.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "tools/torture/point.h"

#define WATCHDOG_S 120

struct point point;

static const char *doing;
static uint64_t watch_until_ns; /* 0: SIGALRM is a tick */

void point_bad(size_t what, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	torture_bad(point.row, what, point.name, point.k, "%s", text);
}

bool point_case(struct tally *row, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(point.name, sizeof(point.name), format, args);
	va_end(args);
	point.row = row;
	point.k = -1;
	return torture_wants(point.name);
}

static void on_alarm(int sig)
{
	(void)sig;
	/* By the clock: a last tick may come after the watchdog was set. */
	if (!watch_until_ns || sb_now_ns() < watch_until_ns)
		return;
	/* We ourselves hang in a call; there is no way on from here. */
	BAD(hung, "%s", doing);
	_exit(3);
}

static void set_alarm(const struct itimerval *it)
{
	static const struct sigaction sa = { .sa_handler = on_alarm };

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, it, NULL);
}

void point_watch(const char *what)
{
	const struct itimerval it = { .it_value = { WATCHDOG_S + 1, 0 } };

	doing = what;
	watch_until_ns = sb_deadline(WATCHDOG_S * SB_NS_PER_S);
	set_alarm(&it);
}

void point_tick(uint32_t usec)
{
	const struct itimerval it = { .it_value = { 0, (long)usec },
				      .it_interval = { 0, (long)usec } };

	watch_until_ns = 0;
	set_alarm(&it);
}

void point_cannot(const char *what)
{
	fprintf(stderr, "bustorture: %s %s%s%s, point %ld: %s: %m\n",
		torture->test, torture->part ? torture->part : "",
		torture->part ? "/" : "", point.name, point.k, what);
	_exit(4);
}

void point_nap(void)
{
	const struct timespec t = { .tv_nsec = 30000 };

	nanosleep(&t, NULL);
}

bool point_within(int64_t ns, bool (*done)(void))
{
	uint64_t end = sb_deadline(ns);

	while (!done()) {
		if (sb_now_ns() > end)
			return false;
		point_nap();
	}
	return true;
}

bool point_soon(bool (*done)(void))
{
	return point_within(POINT_HUNG_NS, done);
}

void point_until(bool (*done)(void), const char *what)
{
	if (!point_within(2 * POINT_HUNG_NS, done))
		point_cannot(what);
}
