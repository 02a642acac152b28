/*
 * shm.c - shared memory and descriptors in tests; see shm.h
 */
#include "config.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/shm.h"

#define N_BUFS 4

static const char *prefix = "";

void t_name_prefix(const char *with)
{
	prefix = with;
}

static int owner(void)
{
	static int pid;

	if (!pid)
		pid = (int)getpid();
	return pid;
}

const char *t_name(const char *what)
{
	static char buf[N_BUFS][256];
	static unsigned int i;
	char *s = buf[i++ % N_BUFS];

	snprintf(s, sizeof(buf[0]), "%st%d-%s", prefix, owner(), what);
	return s;
}

const char *t_shm_path(const char *name)
{
	static char buf[N_BUFS][512];
	static unsigned int i;
	char *s = buf[i++ % N_BUFS];

	snprintf(s, sizeof(buf[0]), "/dev/shm/shmbus.%s", name);
	return s;
}

static int leftovers(int remove)
{
	DIR *dir = opendir("/dev/shm");
	struct dirent *e;
	char ours[256];
	int n = 0;

	if (!dir)
		return 0;
	snprintf(ours, sizeof(ours), "shmbus.%st%d-", prefix, owner());
	while ((e = readdir(dir))) {
		if (strncmp(e->d_name, ours, strlen(ours)) != 0)
			continue;
		if (remove)
			unlinkat(dirfd(dir), e->d_name, 0);
		else
			fprintf(stderr, "left in /dev/shm: %s\n", e->d_name);
		n++;
	}
	closedir(dir);
	return n;
}

int t_shm_leftovers(void)
{
	return leftovers(0);
}

void t_shm_clean(void)
{
	leftovers(1);
}

int t_count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	if (!dir)
		return -1;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 3; /* ".", ".." and that of the directory itself */
}

int t_count_maps(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	int c, n = 0;

	if (!f)
		return -1;
	while ((c = getc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}
