/*
 * tick.c - whether the TSC can be used, how fast it is, and what a look costs
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench/tick.h"

/* Long enough that the error of its two ends, about 50 ns, is nothing. */
#define CALIBRATION_NS (5 * NS_PER_MS)
#define COST_ROUNDS    20000

struct tick_clock tick_clock = { false, 1.0, 0 };

void sleep_ns(uint64_t ns)
{
	struct timespec t = { (time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S) };

	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &t) == EINTR)
		;
}

#if defined(__x86_64__)
static bool kernel_keeps_time_by_tsc(void)
{
	char name[32] = "";
	FILE *f = fopen("/sys/devices/system/clocksource/clocksource0/"
			"current_clocksource",
			"re");

	if (!f)
		return false;
	if (!fgets(name, sizeof(name), f))
		name[0] = '\0';
	fclose(f);
	/* Of KVM's and Hyper-V's clocks the first is the TSC, scaled. */
	return !strncmp(name, "tsc", 3) || !strncmp(name, "kvm-clock", 9);
}

static double calibrate(void)
{
	uint64_t ns = now_ns(), tick = tick_now();

	sleep_ns(CALIBRATION_NS);
	tick = tick_now() - tick;
	ns = now_ns() - ns;
	return tick ? (double)ns / (double)tick : 0.0;
}
#endif

static uint64_t cost_of_a_look(void)
{
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < COST_ROUNDS; i++) {
		uint64_t from = tick_now(), span = tick_now() - from;

		if (span < least)
			least = span;
	}
	return least;
}

void tick_init(void)
{
#if defined(__x86_64__)
	if (kernel_keeps_time_by_tsc()) {
		tick_clock.tsc = true;
		tick_clock.ns_per_tick = calibrate();
		if (tick_clock.ns_per_tick <= 0.0)
			tick_clock = (struct tick_clock){ false, 1.0, 0 };
	}
#endif
	tick_clock.cost = cost_of_a_look();
}
