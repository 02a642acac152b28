/*
 * process.c - what /proc says about a process
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/adm/process.h"

/* Up to @cap - 1 bytes of /proc/@pid/@file, and a NUL.  How many, or -1; the
 * owner of the file to @uid, if that is not NULL. */
static ssize_t slurp(pid_t pid, const char *file, char *buf, size_t cap,
		     uid_t *uid)
{
	char path[64];
	struct stat st;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = read(fd, buf, cap - 1);
	if (uid)
		*uid = fstat(fd, &st) ? (uid_t)-1 : st.st_uid;
	close(fd);
	if (n >= 0)
		buf[n] = '\0';
	return n;
}

static enum process_state state_of(char c, uint32_t n_threads)
{
	switch (c) {
	case 'R':
		return PROCESS_RUNNING;
	case 'S':
	case 'I':
	case 'P':
		return PROCESS_ASLEEP;
	case 'D':
		return PROCESS_BLOCKED;
	case 'T':
		return PROCESS_STOPPED;
	case 't':
		return PROCESS_TRACED;
	case 'Z':
		/* Its first thread has ended, others run. */
		return n_threads > 1 ? PROCESS_ASLEEP : PROCESS_ZOMBIE;
	case 'X':
	case 'x':
		return PROCESS_DEAD;
	default:
		return PROCESS_UNKNOWN;
	}
}

/* @line from behind the name, which may have anything in it. */
static void take_fields(struct process *p, const char *line)
{
	unsigned long long ticks[2], start, rss;
	long hz = sysconf(_SC_CLK_TCK), page = sysconf(_SC_PAGESIZE);
	long n_threads;
	int parent;
	char c;

	if (sscanf(line,
		   " %c %d %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %llu %*s"
		   " %*s %*s %*s %ld %*s %llu %*s %llu",
		   &c, &parent, &ticks[0], &ticks[1], &n_threads, &start,
		   &rss) != 7)
		return;
	p->parent = parent;
	p->n_threads = n_threads > 0 ? (uint32_t)n_threads : 0;
	p->state = state_of(c, p->n_threads);
	p->start_time = start;
	p->cpu_ns = (ticks[0] + ticks[1]) *
		    (1000000000ull / (hz > 0 ? (unsigned)hz : 100u));
	p->rss_bytes = rss * (page > 0 ? (unsigned long long)page : 4096);
}

static void take_command(struct process *p, const char *name, size_t name_len)
{
	ssize_t n =
		slurp(p->pid, "cmdline", p->command, sizeof(p->command), NULL);

	/* Arguments end with a NUL each; some write blanks behind. */
	while (n > 0 && (!p->command[n - 1] || p->command[n - 1] == ' '))
		n--;
	for (ssize_t i = 0; i < n; i++)
		if (!p->command[i])
			p->command[i] = ' ';
	if (n <= 0) {
		n = (ssize_t)(name_len < sizeof(p->command) - 1
				      ? name_len
				      : sizeof(p->command) - 1);
		memcpy(p->command, name, (size_t)n);
	}
	p->command[n] = '\0';
}

void process_read(struct process *p, pid_t pid, uint64_t start_time)
{
	char buf[2048], *name, *end;
	ssize_t n;

	*p = (struct process){ .pid = pid };
	if (pid <= 0) {
		p->state = PROCESS_DEAD;
		return;
	}
	n = slurp(pid, "stat", buf, sizeof(buf), &p->uid);
	if (n < 0) {
		/* Somebody may be there whom /proc hides from us. */
		p->state = kill(pid, 0) && errno == ESRCH ? PROCESS_DEAD
							  : PROCESS_UNKNOWN;
		return;
	}
	name = strchr(buf, '(');
	end = strrchr(buf, ')');
	if (!name || !end || end <= name)
		return;
	take_fields(p, end + 1);
	if (start_time && p->start_time != start_time) {
		*p = (struct process){ .pid = pid, .state = PROCESS_DEAD };
		return;
	}
	take_command(p, name + 1, (size_t)(end - name - 1));
}

/* By its mapping: the descriptor may be closed. */
int process_has_ring(pid_t pid)
{
	char path[64], *line = NULL;
	size_t room = 0;
	bool found = false;
	int ret = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (!found && getline(&line, &room, f) > 0)
		found = strstr(line, " anon_inode:[io_uring]");
	if (!found && ferror(f))
		ret = -EIO;
	free(line);
	fclose(f);
	return ret ? ret : found;
}

/* ------------------------------------------------------ other namespaces -- */

/* The pid that a process has in its own namespace, which is the last one that
 * it has: 0 or less when that cannot be read. */
static long innermost_pid(pid_t pid)
{
	char buf[4096], *line, *end, *last;

	if (slurp(pid, "status", buf, sizeof(buf), NULL) < 0)
		return 0;
	line = strstr(buf, "\nNSpid:");
	end = line ? strchr(line + 1, '\n') : NULL;
	if (!end)
		return 0;
	*end = '\0';
	last = strrchr(line, '\t');
	return last ? strtol(last, NULL, 10) : 0;
}

/* One process; 0 or -ENOMEM. */
static int add_name(struct process_names *names, uint64_t pid_ns, pid_t pid)
{
	struct process_name *more;
	char path[64];
	struct stat st;
	long there;

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)pid);
	if (stat(path, &st)) {
		names->all &= errno == ENOENT || errno == ESRCH;
		return 0;
	}
	there = st.st_ino == pid_ns ? innermost_pid(pid) : 0;
	if (there <= 0)
		return 0;
	if (names->n == names->room) {
		names->room = names->room ? 2 * names->room : 64;
		more = reallocarray(names->at, names->room, sizeof(*more));
		if (!more)
			return -ENOMEM;
		names->at = more;
	}
	names->at[names->n++] = (struct process_name){ (uint32_t)there, pid };
	return 0;
}

int process_names(struct process_names *names, uint64_t pid_ns)
{
	struct dirent *d;
	int ret = 0;
	DIR *dp = opendir("/proc");

	*names = (struct process_names){ .all = dp != NULL };
	while (dp && !ret && (d = readdir(dp)) != NULL)
		if (d->d_name[0] >= '1' && d->d_name[0] <= '9')
			ret = add_name(names, pid_ns, atoi(d->d_name));
	if (dp)
		closedir(dp);
	if (ret)
		process_names_free(names);
	return ret;
}

void process_names_free(struct process_names *names)
{
	free(names->at);
	*names = (struct process_names){ 0 };
}

pid_t process_here(const struct process_names *names, uint32_t there)
{
	for (size_t i = 0; i < names->n; i++)
		if (names->at[i].there == there)
			return names->at[i].here;
	return 0;
}

const char *process_word(enum process_state state)
{
	static const char *const words[] = {
		[PROCESS_UNKNOWN] = "?",       [PROCESS_RUNNING] = "running",
		[PROCESS_ASLEEP] = "asleep",   [PROCESS_BLOCKED] = "blocked",
		[PROCESS_STOPPED] = "stopped", [PROCESS_TRACED] = "traced",
		[PROCESS_ZOMBIE] = "zombie",   [PROCESS_DEAD] = "dead",
	};

	return words[state];
}
