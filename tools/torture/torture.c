/*
 * torture.c - verdicts; see torture.h
 */
#include "config.h"

#include <inttypes.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "tools/torture/torture.h"

#define TOLD_MAX 40 /* failures that are printed */

const struct torture *torture;

uint64_t tally_bad(const struct tally *t)
{
	return t->hung + t->lost + t->duplicated + t->leaked + t->crashed +
	       t->wrong;
}

static void note(struct cases *c, const char *name)
{
	uint32_t i = c->n++;

	if (i < CASES_MAX)
		snprintf(c->name[i], CASE_BYTES, "%s%s%s",
			 torture->part ? torture->part : "",
			 torture->part ? "/" : "", name);
}

bool torture_is_of(const char *name, const char *only)
{
	size_t n = strlen(only);

	return n && strncmp(name, only, n) == 0 &&
	       (name[n] == 0 || name[n] == '/');
}

bool torture_wants(const char *name)
{
	if (torture->cases) {
		note(torture->cases, name);
		return false;
	}
	return !torture->only || torture_is_of(name, torture->only);
}

bool torture_has(bool is)
{
	if (is)
		*torture->has_at = 1;
	return is;
}

void torture_gate(void)
{
	static const struct itimerval none;
	struct itimerval left;

	if (!*torture->paused)
		return;
	/* What a watchdog has left it has left afterwards. */
	setitimer(ITIMER_REAL, &none, &left);
	while (*torture->paused)
		syscall(SYS_futex, torture->paused, FUTEX_WAIT, 1, NULL);
	setitimer(ITIMER_REAL, &left, NULL);
}

static void count(struct tally *t, size_t what)
{
	if (t)
		*(_Atomic uint64_t *)((unsigned char *)t + what) += 1;
}

/* In one piece, so that it does not mix with another process's. */
static void __attribute__((format(printf, 1, 0)))
print(const char *format, va_list args)
{
	char line[1024];
	int n;

	n = vsnprintf(line, sizeof(line), format, args);
	if (n > (int)sizeof(line) - 1)
		n = sizeof(line) - 1;
	if (n > 0 && write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

static void __attribute__((format(printf, 1, 2))) say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	print(format, args);
	va_end(args);
}

void torture_bad(struct tally *row, size_t what, const char *name, long at,
		 const char *format, ...)
{
	static const char *const names[] = { "points",     "hung",    "lost",
					     "duplicated", "leaked",  "crashed",
					     "wrong",      "rejected" };
	char text[512], where[32] = "";
	va_list args;

	count(torture->tally, what);
	count(row, what);
	if ((*torture->n_told)++ >= TOLD_MAX)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (at >= 0)
		snprintf(where, sizeof(where), " --at %ld", at);
	say("%sFAILED (%s): %s: bustorture %s --only %s%s%s%s --seed %" PRIu64
	    "%s\n",
	    isatty(STDERR_FILENO) ? "\r\033[K" : "",
	    names[what / sizeof(uint64_t)], text, torture->test,
	    torture->part ? torture->part : "", torture->part ? "/" : "", name,
	    where, torture->seed, torture->full ? " --full" : "");
}

void torture_point(struct tally *row)
{
	count(torture->tally, offsetof(struct tally, points));
	count(row, offsetof(struct tally, points));
}

void torture_skip(const char *name, const char *why)
{
	torture->tally->skipped++;
	torture_say("%s: %s skipped, %s\n", torture->test, name, why);
}

void torture_say(const char *format, ...)
{
	va_list args;

	if (!torture->verbose)
		return;
	va_start(args, format);
	print(format, args);
	va_end(args);
}

size_t torture_verdict(int status)
{
	return status < 0 ? offsetof(struct tally, crashed)
			  : offsetof(struct tally, wrong);
}

uint64_t torture_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}
