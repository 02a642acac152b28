/*
 * env.c - the machine, as reports name it
 */
#include "config.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench/cpus.h"
#include "bench/env.h"
#include "bench/transport.h"

/* The rest of the first line that begins with @key, without ": ". */
static void read_line(const char *path, const char *key, char *buf, size_t size)
{
	FILE *f = fopen(path, "re");
	char line[256];

	buf[0] = '\0';
	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, key, strlen(key)) != 0)
			continue;
		const char *value = line + strlen(key);

		value += strspn(value, " \t:");
		snprintf(buf, size, "%.*s", (int)strcspn(value, "\n"), value);
		break;
	}
	if (f)
		fclose(f);
}

void env_read(struct env *env)
{
	struct utsname name;

	*env = (struct env){ .cpus = sysconf(_SC_NPROCESSORS_ONLN),
			     .allowed = cpus_count() };
	read_line("/proc/cpuinfo", "model name", env->cpu, sizeof(env->cpu));
	read_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "",
		  env->governor, sizeof(env->governor));
#ifdef _SC_LEVEL2_CACHE_SIZE
	env->l2_bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
	env->l3_bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
	if (uname(&name) == 0) {
		snprintf(env->kernel, sizeof(env->kernel), "%.40s %.60s %.20s",
			 name.sysname, name.release, name.machine);
		if (!env->cpu[0]) /* not everywhere in /proc/cpuinfo */
			snprintf(env->cpu, sizeof(env->cpu), "%.40s",
				 name.machine);
	}
	env->uring = shmbus_has_uring(&env->why_no_uring);
}
