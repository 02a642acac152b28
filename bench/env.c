/*
 * env.c - the machine, as reports name it
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "bench/commit.h" /* made by make: COMMIT */
#include "bench/cpus.h"
#include "bench/env.h"
#include "bench/transport.h"

/* The pid namespace of the machine itself: PROC_PID_INIT_INO. */
#define FIRST_PID_NS 0xeffffffcu

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

/* Whether a line that begins with @key has @word in it. */
static bool line_has(const char *path, const char *key, const char *word)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t size = 0;
	bool found = false;

	while (f && !found && getline(&line, &size, f) > 0)
		found = !strncmp(line, key, strlen(key)) && strstr(line, word);
	free(line);
	if (f)
		fclose(f);
	return found;
}

/* There is no sure sign; these are what the common ones leave. */
static const char *container(void)
{
	static const char *const words[] = { "kubepods", "docker", "libpod",
					     "lxc", "containerd" };
	struct stat st;

	if (getenv("KUBERNETES_SERVICE_HOST"))
		return "kubernetes";
	if (access("/.dockerenv", F_OK) == 0)
		return "docker";
	if (access("/run/.containerenv", F_OK) == 0)
		return "podman";
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (line_has("/proc/1/cgroup", "", words[i]))
			return words[i];
	if (access("/run/systemd/container", F_OK) == 0)
		return "systemd-nspawn or alike";
	if (stat("/proc/self/ns/pid", &st) == 0 && st.st_ino != FIRST_PID_NS)
		return "a pid namespace";
	return NULL;
}

void env_read(struct env *env)
{
	time_t now = time(NULL);
	struct utsname name;
	struct tm utc;

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
	env->container = container();
	env->virtual_machine = line_has("/proc/cpuinfo", "flags", "hypervisor");
	if (gmtime_r(&now, &utc))
		strftime(env->date, sizeof(env->date), "%FT%TZ", &utc);
}

const char *env_commit(void)
{
	return COMMIT;
}

const char *env_compiler(void)
{
#if defined(__clang__)
	return __VERSION__; /* begins with its name */
#else
	return "gcc " __VERSION__;
#endif
}

/* As it is if a shell would leave it so, otherwise in single quotes. */
static void quote(FILE *f, const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789%+,-./:=@_";

	if (*word && !word[strspn(word, plain)]) {
		fputs(word, f);
		return;
	}
	putc('\'', f);
	for (; *word; word++) {
		if (*word == '\'')
			fputs("'\\'", f);
		putc(*word, f);
	}
	putc('\'', f);
}

/* In the tree where it was built libtool's wrapper has run the one in .libs/,
 * which is not to be called by hand. */
static void program(FILE *f, const char *path)
{
	const char *libs = strstr(path, "/.libs/");
	char *wrapper = NULL;

	if (libs && asprintf(&wrapper, "%.*s%s", (int)(libs - path), path,
			     libs + strlen("/.libs")) > 0)
		path = wrapper;
	quote(f, path);
	free(wrapper);
}

char *env_command(int argc, char **argv)
{
	static const char *const names[] = { "BUS_WAIT", "BUSBENCH_PYTHON",
					     "BUSBENCH_RIVALS" };
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = getenv(names[i]);

		if (!value)
			continue;
		fprintf(f, "%s=", names[i]);
		quote(f, value);
		putc(' ', f);
	}
	program(f, argv[0]);
	for (int i = 1; i < argc; i++) {
		putc(' ', f);
		quote(f, argv[i]);
	}
	fclose(f);
	return text;
}

static json_t *text_or_null(const char *text)
{
	return text && *text ? json_string(text) : json_null();
}

static json_t *size_or_null(long bytes)
{
	return bytes > 0 ? json_integer(bytes) : json_null();
}

json_t *env_json(const struct env *env, int argc, char **argv)
{
	json_t *object = json_object();
	char *command = env_command(argc, argv);

#define SET(key, value) json_object_set_new(object, key, value)
	SET("cpu", text_or_null(env->cpu));
	SET("cpus", json_integer(env->cpus));
	SET("cpus_allowed", json_integer(env->allowed));
	SET("l2_bytes", size_or_null(env->l2_bytes));
	SET("l3_bytes", size_or_null(env->l3_bytes));
	SET("governor", text_or_null(env->governor));
	SET("kernel", text_or_null(env->kernel));
	SET("virtual_machine", json_boolean(env->virtual_machine));
	SET("container", text_or_null(env->container));
	SET("io_uring", json_boolean(env->uring));
	SET("why_no_io_uring",
	    env->uring ? json_null() : text_or_null(env->why_no_uring));
	SET("version", json_string(PACKAGE_VERSION));
	SET("commit", json_string(env_commit()));
	SET("compiler", json_string(env_compiler()));
	SET("command", text_or_null(command));
	SET("date", text_or_null(env->date));
#undef SET
	free(command);
	return object;
}
