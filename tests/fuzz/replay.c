/*
 * replay.c - run a fuzz target on given inputs, without a fuzzer
 *
 *	fuzz_x FILE...           each of these inputs
 *	fuzz_x --corpus FILE N   each in that corpus, and N made of them
 *	fuzz_x                   --corpus $FUZZ_CORPUS/x 0, as make check does
 *	fuzz_x --pack FILE...    a corpus of these inputs, to stdout
 *
 * A corpus is inputs of 1 to 255 bytes, each after a byte that says how many.
 * A failure says on which input; one that has no file is written to fuzz.crash.
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

#define INPUT_MAX  4096u
#define CORPUS_MAX 512u
#define SECONDS    240u

static const char *current; /* file of the input; NULL: none */
static uint8_t input[INPUT_MAX];
static size_t input_bytes;

static struct {
	uint8_t bytes[255];
	size_t n;
} corpus[CORPUS_MAX];

static uint32_t n_corpus;

static void on_failure(int sig)
{
	FILE *f;

	if (!current && (f = fopen("fuzz.crash", "wb"))) {
		fwrite(input, 1, input_bytes, f);
		fclose(f);
	}
	fprintf(stderr, "fuzz: signal %d; the input is %s\n", sig,
		current ? current : "fuzz.crash");
	_exit(1);
}

/* The same numbers on each machine. */
static uint32_t rnd(uint32_t n)
{
	static uint64_t x = 88172645463325252;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (uint32_t)(x >> 32) % n;
}

static void run(void)
{
	/* Its own block, so that a read behind its end is found. */
	uint8_t *copy = malloc(input_bytes + !input_bytes);

	if (!copy)
		abort();
	memcpy(copy, input, input_bytes);
	LLVMFuzzerTestOneInput(copy, input_bytes);
	free(copy);
}

static FILE *open_file(const char *path)
{
	FILE *f = fopen(path, "rb");

	if (!f) {
		fprintf(stderr, "fuzz: cannot open '%s': %s\n", path,
			strerror(errno));
		exit(1);
	}
	return f;
}

static void load(const char *path)
{
	FILE *f = open_file(path);

	input_bytes = fread(input, 1, sizeof(input), f);
	current = path;
	fclose(f);
}

static void load_corpus(const char *path)
{
	FILE *f = open_file(path);
	int n;

	while (n_corpus < CORPUS_MAX && (n = getc(f)) > 0) {
		corpus[n_corpus].n =
			fread(corpus[n_corpus].bytes, 1, (size_t)n, f);
		n_corpus++;
	}
	fclose(f);
}

static void take(uint32_t k)
{
	input_bytes = corpus[k].n;
	memcpy(input, corpus[k].bytes, input_bytes);
}

/* The end of one behind the begin of another. */
static void cross_over(uint32_t k)
{
	size_t at = rnd((uint32_t)input_bytes + 1), from;

	from = rnd((uint32_t)corpus[k].n + 1);
	memcpy(input + at, corpus[k].bytes + from, corpus[k].n - from);
	input_bytes = at + corpus[k].n - from;
}

static void mutate(void)
{
	for (uint32_t n = 1 + rnd(4); n && input_bytes; n--) {
		size_t at = rnd((uint32_t)input_bytes);

		switch (rnd(4)) {
		case 0:
			input[at] = (uint8_t)rnd(256);
			break;
		case 1:
			input[at] ^= (uint8_t)(1u << rnd(8));
			break;
		case 2: /* one more of what is there */
			memmove(input + at + 1, input + at, input_bytes - at);
			input_bytes++;
			break;
		default:
			cross_over(rnd(n_corpus));
		}
	}
}

static unsigned long run_corpus(const char *path, unsigned long n_more)
{
	load_corpus(path);
	for (uint32_t k = 0; k < n_corpus; k++) {
		take(k);
		run();
	}
	for (unsigned long i = 0; n_corpus && i < n_more; i++) {
		take(rnd(n_corpus));
		mutate();
		run();
	}
	return n_corpus ? n_corpus + n_more : 0;
}

/* That of a program called fuzz_x is $FUZZ_CORPUS/x. */
static unsigned long run_default(const char *name)
{
	const char *dir = getenv("FUZZ_CORPUS"), *x = NULL;
	char path[4096];

	for (const char *s = strstr(name, "fuzz_"); s; s = strstr(x, "fuzz_"))
		x = s + 5;
	if (!dir || !x) {
		fprintf(stderr, "fuzz: no files, and FUZZ_CORPUS is not set\n");
		exit(2);
	}
	snprintf(path, sizeof(path), "%s/%s", dir, x);
	return run_corpus(path, 0);
}

static int pack(char **path)
{
	for (; *path; path++) {
		load(*path);
		if (!input_bytes || input_bytes > 255)
			continue;
		putchar((int)input_bytes);
		fwrite(input, 1, input_bytes, stdout);
	}
	return fflush(stdout) ? 1 : 0;
}

int main(int argc, char **argv)
{
	unsigned long n = 0;

	if (argc > 1 && !strcmp(argv[1], "--pack"))
		return pack(argv + 2);
	signal(SIGABRT, on_failure);
	signal(SIGSEGV, on_failure);
	signal(SIGBUS, on_failure);
	signal(SIGALRM, on_failure);
	alarm(SECONDS);
	if (argc == 1) {
		n = run_default(argv[0]);
	} else if (argc > 3 && !strcmp(argv[1], "--corpus")) {
		n = run_corpus(argv[2], strtoul(argv[3], NULL, 10));
	} else {
		for (int i = 1; i < argc; i++, n++) {
			load(argv[i]);
			run();
		}
	}
	printf("%s: %lu inputs\n", argv[0], n);
	return n ? 0 : 1;
}
