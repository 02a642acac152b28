/*
 * cpus.h - the processors that this process may run on
 */
#ifndef BENCH_CPUS_H
#define BENCH_CPUS_H

/* Look them up; once, before anything is pinned. */
void cpus_init(void);

int cpus_count(void);

/* The one with index @n, counted round and round. */
int cpus_nth(unsigned n);

/* Pin the calling process; -1 lets it run on all of them again. */
void cpus_pin(int cpu);

#endif
