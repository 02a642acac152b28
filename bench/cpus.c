/*
 * cpus.c - the processors that this process may run on
 */
#include "config.h"

#include <sched.h>

#include "bench/cpus.h"

static cpu_set_t allowed;

void cpus_init(void)
{
	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) {
		CPU_ZERO(&allowed);
		CPU_SET(0, &allowed);
	}
}

int cpus_count(void)
{
	return CPU_COUNT(&allowed);
}

int cpus_nth(unsigned n)
{
	n %= (unsigned)cpus_count();
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &allowed) && n-- == 0)
			return cpu;
	return 0;
}

void cpus_pin(int cpu)
{
	cpu_set_t one;

	if (cpu < 0) {
		sched_setaffinity(0, sizeof(allowed), &allowed);
		return;
	}
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
}
