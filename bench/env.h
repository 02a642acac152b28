/*
 * env.h - the machine, as reports name it
 */
#ifndef BENCH_ENV_H
#define BENCH_ENV_H

#include <stdbool.h>

struct env {
	char cpu[80];
	long cpus; /* on line */
	int allowed;
	long l2_bytes, l3_bytes; /* 0 if not known */
	char kernel[160];
	char governor[24]; /* "" if there is none */
	bool uring;
	const char *why_no_uring;
};

void env_read(struct env *env);

#endif
