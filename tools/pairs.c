/*
 * pairs.c - pairs of integers, one after the other, from wherever
 *
 * Lines go through a state machine, one byte at a time, and are never kept:
 * this is what makes a line of a gigabyte an ordinary line.  Only its first
 * bytes are remembered, to be quoted if it is wrong.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/io.h"
#include "tools/pairs.h"

#define BUF_BYTES   65536
#define QUOTE_BYTES 60 /* of a bad line; the message still fits two lines */

/* Where in a line we are. */
enum state {
	EMPTY,  /* nothing but blanks */
	SIGN_A, /* needs a digit */
	DIGITS_A,
	AFTER_A, /* needs a comma */
	COMMA,
	SIGN_B,
	DIGITS_B,
	AFTER_B,
	NOTE,      /* a comment on a line of its own */
	PAIR_NOTE, /* a comment after a pair */
	CR,        /* a carriage return: only the end may follow */
	PAIR_CR,
	BAD,
	N_STATES
};

enum kind { BLANK, DIGIT, SIGN, COMMA_CH, HASH, RETURN, OTHER, N_KINDS };

/* clang-format off */
static const unsigned char next_state[N_STATES][N_KINDS] = {
	/*              BLANK      DIGIT      SIGN       COMMA_CH   HASH       RETURN     OTHER */
	[EMPTY]     = { EMPTY,     DIGITS_A,  SIGN_A,    BAD,       NOTE,      CR,        BAD },
	[SIGN_A]    = { BAD,       DIGITS_A,  BAD,       BAD,       BAD,       BAD,       BAD },
	[DIGITS_A]  = { AFTER_A,   DIGITS_A,  BAD,       COMMA,     BAD,       BAD,       BAD },
	[AFTER_A]   = { AFTER_A,   BAD,       BAD,       COMMA,     BAD,       BAD,       BAD },
	[COMMA]     = { COMMA,     DIGITS_B,  SIGN_B,    BAD,       BAD,       BAD,       BAD },
	[SIGN_B]    = { BAD,       DIGITS_B,  BAD,       BAD,       BAD,       BAD,       BAD },
	[DIGITS_B]  = { AFTER_B,   DIGITS_B,  BAD,       BAD,       PAIR_NOTE, PAIR_CR,   BAD },
	[AFTER_B]   = { AFTER_B,   BAD,       BAD,       BAD,       PAIR_NOTE, PAIR_CR,   BAD },
	[NOTE]      = { NOTE,      NOTE,      NOTE,      NOTE,      NOTE,      NOTE,      NOTE },
	[PAIR_NOTE] = { PAIR_NOTE, PAIR_NOTE, PAIR_NOTE, PAIR_NOTE, PAIR_NOTE, PAIR_NOTE, PAIR_NOTE },
	[CR]        = { BAD,       BAD,       BAD,       BAD,       BAD,       BAD,       BAD },
	[PAIR_CR]   = { BAD,       BAD,       BAD,       BAD,       BAD,       BAD,       BAD },
	[BAD]       = { BAD,       BAD,       BAD,       BAD,       BAD,       BAD,       BAD },
};

/* clang-format on */

struct number {
	int64_t value;
	bool negative;
	bool too_large;
};

struct line {
	enum state state;
	struct number a;
	struct number b;
	uint64_t n_bytes;
	char quote[QUOTE_BYTES];
};

struct pairs {
	enum { FROM_FD, FROM_SEED, FROM_LIST } from;

	const char *name;
	uint64_t n_lines; /* that were begun */

	/* FROM_SEED, FROM_LIST */
	uint64_t n_all;
	uint64_t random;
	const int64_t (*list)[2];

	/* FROM_FD */
	int fd;
	bool end;
	uint64_t n_read;
	uint64_t size_bytes; /* 0: not a file */
	size_t at;
	size_t len;
	struct line line;
	char error[64 + 4 * QUOTE_BYTES + 64]; /* 4: \xNN */
	char buf[BUF_BYTES];
};

static enum kind kind_of(char c)
{
	if (c >= '0' && c <= '9')
		return DIGIT;
	switch (c) {
	case ' ':
	case '\t':
		return BLANK;
	case '+':
	case '-':
		return SIGN;
	case ',':
		return COMMA_CH;
	case '#':
		return HASH;
	case '\r':
		return RETURN;
	default:
		return OTHER;
	}
}

static void add_digit(struct number *n, int digit)
{
	/* Down from zero if negative: INT64_MIN has no positive twin. */
	if (__builtin_mul_overflow(n->value, 10, &n->value) ||
	    __builtin_add_overflow(n->value, n->negative ? -digit : digit,
				   &n->value))
		n->too_large = true;
}

static void line_add(struct line *l, char c)
{
	struct number *n;

	if (l->n_bytes < sizeof(l->quote))
		l->quote[l->n_bytes] = c;
	l->n_bytes++;
	l->state = next_state[l->state][kind_of(c)];
	n = l->state <= DIGITS_A ? &l->a : &l->b;
	if (l->state == DIGITS_A || l->state == DIGITS_B)
		add_digit(n, c - '0');
	else if (l->state == SIGN_A || l->state == SIGN_B)
		n->negative = c == '-';
}

/* Quote the line so that a terminal can print it, whatever it contains. */
static const char *explain(struct pairs *p, const char *why)
{
	const struct line *l = &p->line;
	size_t n = l->n_bytes, at = 0;
	bool cut = n > sizeof(l->quote);

	if (cut)
		n = sizeof(l->quote);
	else if (n > 0 && l->quote[n - 1] == '\r')
		n--; /* of CR LF */
	at = (size_t)sprintf(p->error, "not a pair of integers: '");
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)l->quote[i];

		if (c == '\\' || c == '\'')
			at += (size_t)sprintf(p->error + at, "\\%c", c);
		else if (c == '\t')
			at += (size_t)sprintf(p->error + at, "\\t");
		else if (c >= ' ' && c < 0x7f)
			p->error[at++] = (char)c;
		else
			at += (size_t)sprintf(p->error + at, "\\x%02x", c);
	}
	sprintf(p->error + at, "%s'%s", cut ? "..." : "", why);
	return p->error;
}

/* The line is complete.  Returns false if there is nothing on it. */
static bool line_end(struct pairs *p, struct pair *pair)
{
	struct line *l = &p->line;
	enum state state = l->state;

	pair->line = ++p->n_lines;
	pair->a = l->a.value;
	pair->b = l->b.value;
	pair->error = NULL;
	if (state == EMPTY || state == NOTE || state == CR) {
		memset(l, 0, sizeof(*l));
		return false;
	}
	if (state != DIGITS_B && state != AFTER_B && state != PAIR_NOTE &&
	    state != PAIR_CR)
		pair->error = explain(p, "");
	else if (l->a.too_large || l->b.too_large)
		pair->error = explain(p, " (too large for 64 bits)");
	memset(l, 0, sizeof(*l));
	return true;
}

/* Get more bytes.  Returns 1, 0 at the end, -EAGAIN or -errno. */
static int fill(struct pairs *p, bool wait)
{
	ssize_t n = io_read(p->fd, p->buf, sizeof(p->buf), wait);

	if (n < 0)
		return (int)n;
	p->at = 0;
	p->len = (size_t)n;
	p->n_read += (uint64_t)n;
	return n > 0;
}

static int next_of_fd(struct pairs *p, struct pair *pair, bool wait)
{
	while (!p->end) {
		int ret;

		while (p->at < p->len) {
			char c = p->buf[p->at++];

			if (c != '\n')
				line_add(&p->line, c);
			else if (line_end(p, pair))
				return 1;
		}
		ret = fill(p, wait);
		if (ret < 0)
			return ret;
		p->end = ret == 0;
	}
	/* A last line without an end; the second time there is none. */
	return p->line.n_bytes > 0 && line_end(p, pair);
}

uint64_t pairs_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

int pairs_next(struct pairs *p, struct pair *pair, bool wait)
{
	if (p->from == FROM_FD)
		return next_of_fd(p, pair, wait);
	if (p->n_lines == p->n_all)
		return 0;
	if (p->from == FROM_SEED) {
		uint64_t r = pairs_random(&p->random);

		pair->a = (int32_t)(r >> 32);
		pair->b = (int32_t)r;
	} else {
		pair->a = p->list[p->n_lines][0];
		pair->b = p->list[p->n_lines][1];
	}
	pair->line = ++p->n_lines;
	pair->error = NULL;
	return 1;
}

int pairs_open(const char *path, struct pairs **pairs)
{
	bool is_stdin = strcmp(path, "-") == 0;
	struct pairs *p = calloc(1, sizeof(*p));
	struct stat st;

	if (!p)
		return -ENOMEM;
	p->from = FROM_FD;
	p->name = is_stdin ? "<stdin>" : path;
	p->fd = is_stdin ? STDIN_FILENO
			 : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (p->fd < 0 || fstat(p->fd, &st) < 0) {
		int err = -errno;

		pairs_close(p);
		return err;
	}
	if (S_ISREG(st.st_mode) && st.st_size > 0)
		p->size_bytes = (uint64_t)st.st_size;
	*pairs = p;
	return 0;
}

int pairs_generate(uint64_t n, uint64_t seed, struct pairs **pairs)
{
	struct pairs *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->from = FROM_SEED;
	p->name = "<generated>";
	p->fd = -1;
	p->n_all = n;
	p->random = seed;
	*pairs = p;
	return 0;
}

int pairs_list(const int64_t (*list)[2], size_t n, struct pairs **pairs)
{
	int ret = pairs_generate(n, 0, pairs);

	if (ret < 0)
		return ret;
	(*pairs)->from = FROM_LIST;
	(*pairs)->name = "<demo>";
	(*pairs)->list = list;
	return 0;
}

void pairs_close(struct pairs *p)
{
	if (p && p->fd > STDERR_FILENO)
		close(p->fd);
	free(p);
}

const char *pairs_name(const struct pairs *p)
{
	return p->name;
}

double pairs_part(const struct pairs *p)
{
	if (p->from != FROM_FD)
		return (double)p->n_lines / (double)p->n_all;
	if (p->size_bytes == 0)
		return -1;
	if (p->n_read > p->size_bytes)
		return 1; /* it grew */
	return (double)p->n_read / (double)p->size_bytes;
}
