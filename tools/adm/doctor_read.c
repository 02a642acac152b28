/*
 * doctor_read.c - small files of the system, for the checks
 */
#include "config.h"

#include <dirent.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bus/bus.h"
#include "bus/layout.h"
#include "bus/settings.h"
#include "tools/adm/doctor.h"

/* Up to @size - 1 bytes and a NUL; "" if it cannot be read. */
static void slurp(char *text, size_t size, const char *path)
{
	FILE *f = fopen(path, "re");
	size_t n = f ? fread(text, 1, size - 1, f) : 0;

	text[n] = '\0';
	if (f)
		fclose(f);
}

void doctor_read(char *line, size_t size, const char *path)
{
	slurp(line, size, path);
	line[strcspn(line, "\n")] = '\0';
}

long doctor_number(const char *path)
{
	char text[64], *end;
	long n;

	doctor_read(text, sizeof(text), path);
	n = strtol(text, &end, 10);
	return end == text ? -1 : n;
}

bool doctor_may(unsigned capability)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3
	};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	return syscall(SYS_capget, &head, data) == 0 &&
	       data[capability / 32].effective & UINT32_C(1) << capability % 32;
}

bool doctor_has_filter(void)
{
	char text[8192];
	const char *at;

	slurp(text, sizeof(text), "/proc/self/status");
	at = strstr(text, "\nSeccomp:\t");
	return at && at[10] == '2';
}

/* "6.18.44-generic" */
bool doctor_release_is(const char *release, unsigned major, unsigned minor)
{
	unsigned is[2] = { 0 };

	sscanf(release, "%u.%u", &is[0], &is[1]);
	return is[0] > major || (is[0] == major && is[1] >= minor);
}

bool doctor_linux_is(unsigned major, unsigned minor)
{
	struct utsname u;

	return uname(&u) == 0 && doctor_release_is(u.release, major, minor);
}

void doctor_default_bus(uint64_t *memory_bytes, uint64_t *file_bytes)
{
	struct bus_config c = BUS_CONFIG_INIT;
	struct bus_sizes sizes;
	struct bus_offsets off = { 0 };

	c.wait = BUS_WAIT_FUTEX; /* whatever BUS_WAIT is */
	bus_config_fill(&c);
	sizes = (struct bus_sizes){
		.max_message_bytes = c.max_message_bytes,
		.chan_bytes = c.channel_bytes,
		.blob_bytes = c.blob_bytes,
		.max_ep = c.max_endpoints + 2,
	};
	bus_layout(&sizes, &off);
	*file_bytes = off.bytes;
	*memory_bytes = off.bytes - (off.blob - off.chan);
}

/* Control groups ----------------------------------------------------------- */

/* Lines "N:controller,controller:/path"; v2 is "0::/path". */
bool doctor_group_path(const char *text, const char *name, char *path,
		       size_t size)
{
	size_t len = strlen(name);

	for (; *text; text += strcspn(text, "\n"), text += *text == '\n') {
		const char *list = strchr(text, ':');
		const char *end = list ? strchr(list + 1, ':') : NULL;
		size_t line = strcspn(text, "\n");

		if (!end || end > text + line)
			continue;
		for (list++; list <= end; list += strcspn(list, ",:") + 1) {
			size_t n = strcspn(list, ",:");

			if (n != len || strncmp(list, name, n))
				continue;
			n = (size_t)(text + line - (end + 1));
			if (n >= size)
				return false;
			memcpy(path, end + 1, n);
			path[n] = '\0';
			return true;
		}
	}
	return false;
}

/* Of the group @path below @mount and of all above it. */
static uint64_t least_limit(const char *mount, char *path, const char *file)
{
	uint64_t least = UINT64_MAX;

	for (;;) {
		char name[4096], text[64], *end;
		unsigned long long n;

		snprintf(name, sizeof(name), "%s%s/%s", mount, path, file);
		doctor_read(text, sizeof(text), name);
		n = strtoull(text, &end, 10); /* "max" is none */
		if (end != text && n < least)
			least = n;
		end = strrchr(path, '/');
		if (!end)
			return least;
		*end = '\0';
	}
}

uint64_t doctor_group_limit(const char *v2, const char *name, const char *v1)
{
	char text[8192], path[2048], mount[64];
	uint64_t least = UINT64_MAX, n;

	slurp(text, sizeof(text), "/proc/self/cgroup");
	if (doctor_group_path(text, "", path, sizeof(path)))
		least = least_limit("/sys/fs/cgroup", path, v2);
	if (doctor_group_path(text, name, path, sizeof(path))) {
		snprintf(mount, sizeof(mount), "/sys/fs/cgroup/%s", name);
		n = least_limit(mount, path, v1);
		if (n < least)
			least = n;
	}
	return least;
}

/* systemd-logind ----------------------------------------------------------- */

/* What the last RemoveIPC= of a file says; *removes stays if there is none. */
static void read_logind(const char *path, bool *removes)
{
	FILE *f = fopen(path, "re");
	char line[1024];

	while (f && fgets(line, sizeof(line), f)) {
		const char *at = line + strspn(line, " \t");
		size_t n;

		if (strncmp(at, "RemoveIPC", 9))
			continue;
		at += 9;
		at += strspn(at, " \t");
		if (*at++ != '=')
			continue;
		at += strspn(at, " \t");
		n = strcspn(at, " \t\r\n");
		*removes = !n || (n == 3 && !strncmp(at, "yes", n)) ||
			   (n == 4 && !strncmp(at, "true", n)) ||
			   (n == 2 && !strncmp(at, "on", n)) ||
			   (n == 1 && (*at == '1' || *at == 'y' || *at == 't'));
	}
	if (f)
		fclose(f);
}

/* Where files of systemd lie; one that comes first hides those of its name
 * in the others. */
static const char *const logind_dirs[] = { "/etc/systemd", "/run/systemd",
					   "/usr/local/lib/systemd",
					   "/usr/lib/systemd" };
#define N_LOGIND_DIRS (sizeof(logind_dirs) / sizeof(*logind_dirs))

#define DROP_INS_MAX 64

struct drop_in {
	char name[256];
	unsigned dir;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct drop_in *)a)->name,
		      ((const struct drop_in *)b)->name);
}

static bool is_hidden(const struct drop_in *all, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(all[i].name, name))
			return true;
	return false;
}

static size_t find_drop_ins(struct drop_in *all, const char *root)
{
	size_t n = 0;

	for (unsigned i = 0; i < N_LOGIND_DIRS; i++) {
		char path[512];
		struct dirent *d;
		DIR *dp;

		snprintf(path, sizeof(path), "%s%s/logind.conf.d", root,
			 logind_dirs[i]);
		dp = opendir(path);
		while (dp && n < DROP_INS_MAX && (d = readdir(dp)) != NULL) {
			size_t len = strlen(d->d_name);

			if (len < 5 || strcmp(d->d_name + len - 5, ".conf") ||
			    is_hidden(all, n, d->d_name))
				continue;
			strcpy(all[n].name, d->d_name);
			all[n++].dir = i;
		}
		if (dp)
			closedir(dp);
	}
	qsort(all, n, sizeof(*all), by_name);
	return n;
}

bool doctor_removes_ipc(const char *root)
{
	struct drop_in all[DROP_INS_MAX];
	size_t n = find_drop_ins(all, root);
	char path[1024];
	bool removes = true;

	for (unsigned i = 0; i < N_LOGIND_DIRS; i++) {
		snprintf(path, sizeof(path), "%s%s/logind.conf", root,
			 logind_dirs[i]);
		if (access(path, F_OK))
			continue;
		read_logind(path, &removes);
		break;
	}
	for (size_t i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s%s/logind.conf.d/%.255s", root,
			 logind_dirs[all[i].dir], all[i].name);
		read_logind(path, &removes);
	}
	return removes;
}
