/*
 * chaos.c - somebody who kills workers, one after the other, at random
 *
 * The spans between two kills are exponential, so that they hit every moment
 * of a worker's life alike.  The sequence is the same in each round.
 *
 * A pid may have been given to another process since it was written down.  So
 * it is held by a descriptor first, then it is looked whose child it is, and
 * the signal goes to the descriptor: if the child is the owner's it cannot
 * have become another in between.
 */
#include "config.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench/chaos.h"
#include "bench/tick.h"

#define SLICE_NS (2 * NS_PER_MS) /* between two looks at stop */
#define LOOK_NS  100000ull

/* xorshift64 */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static double next_unit(uint64_t *state) /* 0 < x <= 1 */
{
	return (double)((next_random(state) >> 11) + 1) / 9007199254740992.0;
}

static pid_t parent_of(pid_t pid)
{
	char path[40], line[200] = "";
	int parent = -1;
	const char *rest;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return -1;
	if (!fgets(line, sizeof(line), f))
		line[0] = '\0';
	fclose(f);
	rest = strrchr(line, ')'); /* behind the name, which may have any */
	if (!rest || sscanf(rest, ") %*c %d", &parent) != 1)
		return -1;
	return parent;
}

/* True when it was a child of @owner and got the signal. */
static bool kill_child(pid_t pid, pid_t owner)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	bool killed;

	if (fd < 0)
		return false;
	killed = parent_of(pid) == owner &&
		 syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) == 0;
	close(fd);
	return killed;
}

/* One of those who live; a place whose worker has not been replaced yet gives
 * way to the next. */
static void kill_one(struct floor *floor, uint64_t *random)
{
	struct shares *shares = &floor->shares;
	unsigned n = atomic_load(&shares->n_places);
	uint64_t first = next_random(random);

	for (unsigned i = 0; i < n; i++) {
		struct share *share = &shares->place[(first + i) % n];
		int32_t pid = atomic_load(&share->pid);

		if (pid <= 0 || !kill_child(pid, atomic_load(&floor->owner)))
			continue;
		atomic_fetch_add(&floor->n_killed, 1);
		shares_leave(share, pid);
		return;
	}
}

int chaos_kill(struct seat *seat)
{
	const struct spec *spec = seat->job;
	double mean_ns = 1e9 / spec->kills_per_s;
	uint64_t random = 0x9e3779b97f4a7c15u, at;

	seat_ready(seat);
	at = now_ns();
	while (!seat_stopped(seat)) {
		uint64_t now;

		at += (uint64_t)(-log(next_unit(&random)) * mean_ns);
		while ((now = now_ns()) < at && !seat_stopped(seat))
			sleep_ns(at - now < SLICE_NS ? at - now : SLICE_NS);
		if (!seat_stopped(seat))
			kill_one(seat->floor, &random);
	}
	atomic_store(&seat->floor->killer_left, 1);
	return 0;
}

void chaos_wait_over(struct seat *seat, const struct spec *spec)
{
	while (spec->kills_per_s > 0 && !atomic_load(&seat->floor->killer_left))
		sleep_ns(LOOK_NS);
}
