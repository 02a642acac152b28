/*
 * commands.h - the commands of busadm
 *
 * Each is called with its own name in argv[0], reads its options, prints a
 * usage error itself, and returns an exit status.
 */
#ifndef ADM_COMMANDS_H
#define ADM_COMMANDS_H

enum {
	ADM_OK,
	ADM_FAILED, /* or it found something that is wrong */
	ADM_USAGE
};

struct adm_command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *what; /* a line of --help */
};

int cmd_abort(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_close(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_dump(int argc, char **argv);
int cmd_gc(int argc, char **argv);
int cmd_get(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_list(int argc, char **argv);
int cmd_ps(int argc, char **argv);
int cmd_put(int argc, char **argv);
int cmd_stats(int argc, char **argv);
int cmd_top(int argc, char **argv);

#endif
