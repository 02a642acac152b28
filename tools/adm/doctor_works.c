/*
 * doctor_works.c - and does it work?  A small bus is made, used and removed
 *
 * Whatever the checks before it have not thought of shows here.
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bus/shmbus.h"
#include "tools/adm/doctor.h"

#define TEXT "how do you do"

/* What was done when it failed, in words that end "... failed". */
static int send_and_receive(struct bus *bus, struct bus *other,
			    const char **step)
{
	struct bus_queue_config config = BUS_QUEUE_CONFIG_INIT;
	struct bus_queue *to, *from;
	char text[sizeof(TEXT)] = "";
	size_t n;
	int ret;

	*step = "to make a queue";
	ret = bus_queue_open(bus, "q", &config, &to);
	if (ret)
		return ret;
	*step = "to open the queue";
	ret = bus_queue_open(other, "q", NULL, &from);
	if (ret)
		return ret;
	*step = "to put a message";
	ret = bus_queue_put(to, TEXT, sizeof(TEXT), 0);
	if (ret)
		return ret;
	*step = "to get the message";
	ret = bus_queue_get(from, text, sizeof(text), &n, 0);
	if (!ret && (n != sizeof(TEXT) || strcmp(text, TEXT)))
		ret = -EIO;
	return ret;
}

static int try_bus(const char *name, const char **step)
{
	struct bus_config config = BUS_CONFIG_INIT;
	struct bus *bus, *other = NULL;
	int ret;

	config.wait = BUS_WAIT_FUTEX;
	config.max_endpoints = 4;
	config.channel_bytes = 1 << 20;
	config.max_message_bytes = 256;
	config.blob_bytes = 1 << 16;
	*step = "to create it";
	ret = bus_create(name, &config, &bus);
	if (ret)
		return ret;
	*step = "to open it";
	ret = name ? bus_open(name, &config, &other) : bus_attach(bus, &other);
	if (!ret)
		ret = send_and_receive(bus, other, step);
	bus_close(other);
	bus_close(bus);
	return ret;
}

static void say(struct doctor *d, const char *what, int ret, const char *step,
		const char *remedy)
{
	if (!ret) {
		doctor_say(d, DOCTOR_OK, what, "was made, used and removed");
		return;
	}
	doctor_say(d, DOCTOR_WARNING, what, "%s failed: %s", step,
		   strerror(-ret));
	doctor_remedy(d, "%s", remedy);
}

void doctor_works(struct doctor *d)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN }, was;
	char name[32];
	const char *step;
	int ret;

	/* What RLIMIT_FSIZE sends. */
	sigaction(SIGXFSZ, &ignore, &was);
	snprintf(name, sizeof(name), "doctor-%d", (int)getpid());
	ret = try_bus(name, &step);
	say(d, "a named bus", ret, step,
	    "The warnings above say why, if there are any; if not, something "
	    "that this program does not know of forbids files in /dev/shm, "
	    "links to them, or locks on them (fcntl(2), F_OFD_SETLK).");
	ret = try_bus(NULL, &step);
	say(d, "an unnamed bus", ret, step,
	    "The warnings above say why, if there are any; if not, something "
	    "that this program does not know of forbids memfd_create(2).");
	sigaction(SIGXFSZ, &was, NULL);
}
