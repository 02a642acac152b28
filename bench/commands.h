/*
 * commands.h - the subcommands of busbench, as main() finds them
 *
 * Each parses its own options; argv[0] is "busbench NAME".  Returns the exit
 * status.
 */
#ifndef BENCH_COMMANDS_H
#define BENCH_COMMANDS_H

/* compare.c: is NEW faster than OLD? */
int compare_main(int argc, char **argv);

/* page.c: a page made of result files. */
int page_main(int argc, char **argv);

/* rivals.c: whom there is to compare with. */
int rivals_main(int argc, char **argv);

/* sweep.c: one parameter of a workload over a range. */
int sweep_main(int argc, char **argv);

#endif
