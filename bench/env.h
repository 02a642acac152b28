/*
 * env.h - the machine, as reports name it
 */
#ifndef BENCH_ENV_H
#define BENCH_ENV_H

#include <jansson.h>
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
	const char *container; /* whose, as far as can be seen; or NULL */
	bool virtual_machine;
	char date[24]; /* UTC, 2026-11-22T08:30:00Z */
};

void env_read(struct env *env);

/* The git commit that this was built from, or the version. */
const char *env_commit(void);
const char *env_compiler(void);

/* The command as a shell would read it, with those variables of the
 * environment before it that change what is measured.  Malloced, or NULL. */
char *env_command(int argc, char **argv);

/* All of it, as the object "env" of a row. */
json_t *env_json(const struct env *env, int argc, char **argv);

#endif
