/*
 * act.c - take part in a bus, and say in words why not
 *
 * bus_open() has one number for many a reason; here /dev/shm is looked at for
 * which it was.
 */
#include "config.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bus/bus.h"
#include "lib/fence.h"
#include "tools/adm/act.h"
#include "tools/adm/args.h"
#include "tools/adm/find.h"
#include "tools/adm/text.h"
#include "tools/progress.h"

int act_fail(const char *format, ...)
{
	char text[1600];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	progress_hide();
	return adm_error("%s", text);
}

int act_cannot(const struct act *act, const char *what, int error)
{
	return act_fail("cannot %s '%s' of bus '%s': %s", what, act->queue_name,
			act->bus_name, strerror(-error));
}

/* Names that are no named bus: 0, or it was said. */
static int check_name(struct act *act)
{
	const char *name = act->bus_name;

	if (strncmp(name, FIND_PREFIX, sizeof(FIND_PREFIX) - 1) == 0)
		act->bus_name = name += sizeof(FIND_PREFIX) - 1;
	if (strncmp(name, "pid:", 4) == 0)
		return act_fail("'%s' is a bus without a name, which nobody "
				"can join but children of its processes; "
				"busadm inspect shows what is in it",
				name);
	if (strchr(name, '/'))
		return act_fail("'%s' is a file: messages go through a bus "
				"that is in use, so give its name, as busadm "
				"list shows it",
				name);
	return ADM_OK;
}

static const char *user_of(uid_t uid, char *text, size_t cap)
{
	const struct passwd *pw = getpwuid(uid);

	if (pw)
		snprintf(text, cap, "%s", pw->pw_name);
	else
		snprintf(text, cap, "uid %u", (unsigned)uid);
	return text;
}

/* The one of several reasons for -EPERM that it is. */
static int say_not_permitted(const struct act *act)
{
	char path[sizeof(FIND_PREFIX) + 256], user[64];
	struct stat st;
	int ret = sb_fence_register();

	snprintf(path, sizeof(path), FIND_PREFIX "%.200s", act->bus_name);
	if (lstat(path, &st) == 0) {
		user_of(st.st_uid, user, sizeof(user));
		if (access(path, R_OK | W_OK))
			return act_fail("bus '%s' is %s's, with mode %04o: run "
					"busadm as that user, or as root",
					act->bus_name, user,
					(unsigned)st.st_mode & 07777);
		if (st.st_mode & S_IWOTH)
			return act_fail("anybody may write bus '%s' (mode "
					"%04o), so it is not to be trusted: "
					"chmod o-w %s",
					act->bus_name,
					(unsigned)st.st_mode & 07777, path);
		if (st.st_uid != geteuid() && !act->any_owner)
			return act_fail("bus '%s' is %s's, who could have put "
					"it in the place of yours: if it is "
					"the one that is meant, --any-owner "
					"opens it",
					act->bus_name, user);
	}
	if (ret)
		return act_fail("bus '%s' needs membarrier(2), and that is "
				"not allowed here (%s): busadm doctor",
				act->bus_name, strerror(-ret));
	return act_fail("cannot open bus '%s': %s; busadm doctor may "
			"know why",
			act->bus_name, strerror(EPERM));
}

static int say_not_open(const struct act *act, int error)
{
	const char *why = NULL;

	switch (error) {
	case -EPERM:
		return say_not_permitted(act);
	case -ENOENT:
		why = "there is none of that name; busadm list shows which "
		      "there are";
		break;
	case -EOWNERDEAD:
		why = "its creator is dead, so what is put there may never "
		      "be got; busadm get --drain takes what is left in it, "
		      "and busadm gc removes it";
		break;
	case -EPROTO:
		why = "it is no bus, is damaged, or is of another version of "
		      "shmbus than " BUS_VERSION "; busadm check tells which";
		break;
	case -EXDEV:
		why = "it was created in another pid or time namespace, a "
		      "container's perhaps: run busadm in there (nsenter(1))";
		break;
	case -EUSERS:
		why = "all its endpoints are taken, and nobody of them is "
		      "dead; busadm ps shows who has them";
		break;
	case -EINVAL:
		why = getenv("BUS_WAIT")
			      ? "this cannot be a name, or BUS_WAIT is none "
				"of auto, uring and futex"
			      : "this cannot be a name";
		break;
	case -ENAMETOOLONG:
		why = "names have 200 bytes at most";
		break;
	case -ENOSYS:
		why = "this kernel has no membarrier(2), or with "
		      "BUS_WAIT=uring no io_uring: busadm doctor";
		break;
	}
	return act_fail("cannot open bus '%s': %s", act->bus_name,
			why ? why : strerror(-error));
}

static int open_bus(struct act *act, bool orphans)
{
	struct bus_config config = BUS_CONFIG_INIT;
	int ret = 0;

	/* A creator may die, or a new one come, between the two. */
	for (int i = 0; i < 10; i++) {
		config.flags = act->any_owner ? BUS_F_ANY_OWNER : 0;
		act->is_orphan = false;
		ret = bus_open(act->bus_name, &config, &act->bus);
		if (ret != -EOWNERDEAD || !orphans)
			return ret;
		config.flags |= BUS_F_ORPHAN;
		act->is_orphan = true;
		ret = bus_open(act->bus_name, &config, &act->bus);
		if (ret != -EBUSY && ret != -ENOENT)
			return ret;
	}
	return ret;
}

static int say_no_queue(const struct act *act, int error)
{
	const char *why = strerror(-error);

	if (error == -ENOENT)
		why = "there is none of that name; busadm info shows which "
		      "channels there are";
	else if (error == -EEXIST)
		why = "it is another kind of channel; busadm inspect shows "
		      "what is in it";
	else if (error == -ENAMETOOLONG)
		why = "names of channels have 47 bytes at most";
	else if (error == -EPROTO)
		why = "what is in memory makes no sense; busadm check says "
		      "more";
	return act_fail("cannot open queue '%s' of bus '%s': %s",
			act->queue_name, act->bus_name, why);
}

int act_open(struct act *act, bool orphans)
{
	int ret = check_name(act);

	if (ret)
		return ret;
	ret = open_bus(act, orphans);
	if (ret)
		return say_not_open(act, ret);
	/* What the dead held is to be had, too. */
	bus_reap(act->bus);
	ret = bus_queue_open(act->bus, act->queue_name, NULL, &act->queue);
	if (ret) {
		act_close(act);
		return say_no_queue(act, ret);
	}
	return ADM_OK;
}

void act_close(struct act *act)
{
	bus_queue_free(act->queue);
	bus_close(act->bus);
	act->queue = NULL;
	act->bus = NULL;
}

#define SECONDS_MAX 1e9 /* thirty years, and no overflow */

bool act_seconds(const char *command, const char *option, const char *text,
		 int64_t *ns)
{
	char *end;
	double seconds = strtod(text, &end);

	*ns = 0;
	if (end == text || *end || !(seconds >= 0 && seconds <= SECONDS_MAX)) {
		adm_misuse(command, "%s '%s' is not a number of seconds",
			   option, text);
		return false;
	}
	*ns = (int64_t)(seconds * 1e9);
	return true;
}

bool act_count(const char *command, const char *option, const char *text,
	       uint64_t *n)
{
	char *end;

	errno = 0;
	*n = strtoull(text, &end, 10);
	/* strtoull() itself takes blanks and a sign. */
	if (*text < '0' || *text > '9' || *end || errno) {
		adm_misuse(command, "%s '%s' is not a number from 0 on", option,
			   text);
		return false;
	}
	return true;
}

uint64_t act_message_max(const struct act *act)
{
	return act->bus->map->sizes.max_message_bytes;
}

struct bus_queue_stats act_stats(const struct act *act)
{
	struct bus_queue_stats stats = BUS_QUEUE_STATS_INIT;

	bus_queue_stats(act->queue, &stats);
	return stats;
}
