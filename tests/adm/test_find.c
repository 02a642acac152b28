/*
 * test_find.c - tools/adm/find.c and process.c: which buses there are, and what
 * /proc says of those who have them
 */
#include "config.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/adm/t_adm.h"
#include "tools/adm/find.h"

TestSuite(find, .init = adm_setup, .fini = adm_teardown, .timeout = 60.0);

Test(find, pid_and_number_are_parsed)
{
	static const struct {
		const char *arg;
		int ret, pid, nth;
	} cases[] = {
		{ "jobs", 0, 0, 0 },
		{ "pid", 0, 0, 0 },
		{ "pid:17", 1, 17, 1 },
		{ "pid:17:3", 1, 17, 3 },
		{ "pid:", -EINVAL, 0, 0 },
		{ "pid:-1", -EINVAL, 0, 0 },
		{ "pid:17:", -EINVAL, 0, 0 },
		{ "pid:17:0", -EINVAL, 0, 0 },
		{ "pid:1x", -EINVAL, 0, 0 },
		{ "pid:1:2:3", -EINVAL, 0, 0 },
		{ "pid:99999999999999999999", -EINVAL, 0, 0 },
	};

	for (size_t i = 0; i < lengthof(cases); i++) {
		int pid = 0, nth = 0;

		cr_assert_eq(find_parse_pid(cases[i].arg, &pid, &nth),
			     cases[i].ret, "%s", cases[i].arg);
		cr_assert_eq(pid, cases[i].pid);
		cr_assert_eq(nth, cases[i].nth);
	}
}

static const struct find_bus *in(const struct find_list *list, const char *arg)
{
	for (size_t i = 0; i < list->n; i++)
		if (!strcmp(list->bus[i].arg, arg))
			return &list->bus[i];
	return NULL;
}

static int have_it(void *arg)
{
	t_gate_open(arg);
	while (pause())
		;
	return 0;
}

Test(find, lists_named_and_unnamed_ones)
{
	struct bus_config c = t_config();
	struct bus *unnamed = t_bus_with(NULL, &c);
	struct find_list list;
	struct t_gate gate;
	char arg[64];
	pid_t child;

	t_gate_init(&gate);
	child = t_fork(have_it, &gate);
	t_gate_wait(&gate);
	cr_assert_eq(find_all(&list), 0);
	cr_assert_not_null(in(&list, adm_name()));
	cr_assert_eq(in(&list, adm_name())->n_processes, 2);
	/* We are older than the child, and have a named one besides. */
	snprintf(arg, sizeof(arg), "pid:%d", (int)getpid());
	cr_assert_not_null(in(&list, arg));
	cr_assert_eq(in(&list, arg)->n_processes, 2);
	snprintf(arg, sizeof(arg), "pid:%d", (int)child);
	cr_assert_null(in(&list, arg));
	find_free(&list);
	t_kill(child);
	t_gate_close(&gate);
	bus_close(unnamed);
}

Test(find, a_bus_whose_name_is_gone_is_still_found)
{
	struct find_list list;
	char arg[64];

	cr_assert_eq(unlink(t_shm_path(adm_name())), 0);
	cr_assert_eq(find_all(&list), 0);
	cr_assert_null(in(&list, adm_name()));
	snprintf(arg, sizeof(arg), "pid:%d", (int)getpid());
	cr_assert_not_null(in(&list, arg));
	find_free(&list);
}

/* ------------------------------------------------------------- processes -- */

static bool has_state(void *arg)
{
	struct process *p = arg, now;

	process_read(&now, p->pid, 0);
	return now.state == p->state;
}

static bool becomes(pid_t pid, enum process_state state)
{
	struct process p = { .pid = pid, .state = state };

	return t_eventually(has_state, &p, 30000);
}

static int sleep_on(void *arg)
{
	(void)arg;
	while (pause())
		;
	return 0;
}

Test(find, states_of_a_process)
{
	struct process p;
	pid_t child = t_fork(sleep_on, NULL);
	uint64_t start;

	process_read(&p, getpid(), 0);
	cr_assert_eq(p.state, PROCESS_RUNNING);
	cr_assert_eq(p.parent, getppid());
	cr_assert_eq(p.uid, getuid());
	cr_assert_eq(p.start_time, sb_proc_self().start_time);
	cr_assert_geq(p.n_threads, 1);
	cr_assert_gt(p.rss_bytes, 0);
	cr_assert_neq(p.command[0], '\0');
	cr_assert(becomes(child, PROCESS_ASLEEP));
	process_read(&p, child, 0);
	start = p.start_time;
	kill(child, SIGSTOP);
	cr_assert(becomes(child, PROCESS_STOPPED));
	kill(child, SIGKILL);
	cr_assert(becomes(child, PROCESS_ZOMBIE));
	process_read(&p, child, start);
	cr_assert_eq(p.state, PROCESS_ZOMBIE);
	cr_assert(process_is_dead(&p));
	cr_assert_eq(t_wait(child), -SIGKILL);
	process_read(&p, child, start);
	cr_assert_eq(p.state, PROCESS_DEAD);
}

Test(find, a_pid_that_is_anothers_now_is_dead)
{
	struct process p;

	process_read(&p, getpid(), sb_proc_self().start_time + 1);
	cr_assert_eq(p.state, PROCESS_DEAD);
	cr_assert_eq(p.command[0], '\0');
	process_read(&p, 0, 0);
	cr_assert_eq(p.state, PROCESS_DEAD);
	process_read(&p, -5, 0);
	cr_assert_eq(p.state, PROCESS_DEAD);
}
