/*
 * sweep.h - busbench sweep WORKLOAD PARAMETER VALUES [OPTION...]
 */
#ifndef BENCH_SWEEP_H
#define BENCH_SWEEP_H

/* @argv[1] is "sweep".  Returns the exit status; a usage error ends the
 * program with 2. */
int sweep_run(int argc, char **argv);

#endif
