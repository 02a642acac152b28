/*
 * top_curses.c - the live screen on a terminal
 *
 * The terminal is as it was on every way out: the end of top_run(), a signal
 * that ends us, and exit() from anywhere.  Ctrl-Z is handled by ncurses, which
 * does the same until we are continued.
 */
#include "config.h"

#include <errno.h>
#include <ncurses.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"
#include "tools/adm/top.h"
#include "tools/colour.h"

#include <term.h> /* makes macros of words such as bell: last */

static volatile sig_atomic_t caught;

static void on_signal(int sig)
{
	caught = sig;
}

static void catch_signals(void)
{
	/* No SA_RESTART: they end the wait for a key. */
	struct sigaction act = { .sa_handler = on_signal };
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

	sigemptyset(&act.sa_mask);
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		sigaction(signals[i], &act, NULL);
}

/* ----------------------------------------------------------------- paint -- */

enum { GOOD = 1, NOTED, BAD };

static bool has_pairs;

static void init_colours(void)
{
	has_pairs = colour_wanted() && has_colors() && start_color() == OK &&
		    use_default_colors() == OK;
	if (!has_pairs)
		return;
	init_pair(GOOD, COLOR_GREEN, -1);
	init_pair(NOTED, COLOR_YELLOW, -1);
	init_pair(BAD, COLOR_RED, -1);
}

static attr_t pair(int n)
{
	return has_pairs ? (attr_t)COLOR_PAIR(n) : A_NORMAL;
}

static attr_t attributes(enum top_look look)
{
	switch (look) {
	case TOP_BOLD:
		return A_BOLD;
	case TOP_DIM:
		return A_DIM;
	case TOP_HEADS:
		return A_REVERSE;
	case TOP_HEADS_PASSIVE:
		return A_BOLD;
	case TOP_GOOD:
		return pair(GOOD);
	case TOP_NOTED:
		return pair(NOTED) | A_BOLD;
	case TOP_BAD:
		return pair(BAD) | A_BOLD;
	default:
		return A_NORMAL;
	}
}

static void paint_line(int y, const struct top_painted *p, int width)
{
	attr_t attr = attributes(p->look);

	attrset(attr);
	mvaddnstr(y, 0, p->text, width);
	/* The bar of heads goes to the end. */
	for (int x = (int)strlen(p->text); p->look == TOP_HEADS && x < width;
	     x++)
		mvaddch(y, x, ' ');
	if (p->mark_n && p->mark < width)
		mvchgat(y, p->mark,
			p->mark_n < width - p->mark ? p->mark_n
						    : width - p->mark,
			attr | A_UNDERLINE | A_BOLD, 0, NULL);
	attrset(A_NORMAL);
}

static void paint(struct top_screen *s, const struct watch *w,
		  struct top_want *want)
{
	time_t now = time(NULL);
	struct tm tm;
	char clock[16] = "";

	if (localtime_r(&now, &tm))
		strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	top_paint(s, COLS, LINES, w, want, clock);
	erase();
	for (int y = 0; y < s->n; y++)
		paint_line(y, &s->line[y], s->width);
	refresh();
}

/* ------------------------------------------------------------------ keys -- */

static enum top_key key_of(int c)
{
	switch (c) {
	case 'q':
	case 'Q':
	case 27: /* escape */
		return TOP_QUIT;
	case ' ':
		return TOP_PAUSE;
	case 'h':
	case '?':
		return TOP_HELP;
	case '\t':
	case KEY_BTAB:
		return TOP_OTHER_TABLE;
	case 'r':
		return TOP_REVERSE;
	case KEY_LEFT:
		return TOP_LEFT;
	case KEY_RIGHT:
		return TOP_RIGHT;
	case KEY_UP:
		return TOP_UP;
	case KEY_DOWN:
		return TOP_DOWN;
	case KEY_PPAGE:
		return TOP_PAGE_UP;
	case KEY_NPAGE:
		return TOP_PAGE_DOWN;
	case KEY_HOME:
		return TOP_HOME;
	default:
		return TOP_NO_KEY;
	}
}

/* Is the terminal still there?  Without one there is a key at once, for ever,
 * that is none. */
static bool hung_up(void)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };

	return poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLERR | POLLNVAL);
}

/* Wait for a key until @next_ns, and act on it.  Returns whether there was
 * something to see. */
static bool take_key(struct top_want *want, int page, uint64_t next_ns)
{
	uint64_t now = sb_now_ns();
	int c;

	timeout(now < next_ns ? (int)((next_ns - now) / SB_NS_PER_MS) + 1 : 0);
	c = getch();
	if (c == ERR) {
		if (hung_up())
			want->quit = true;
		return false;
	}
	top_press(want, key_of(c), page);
	return true;
}

/* ------------------------------------------------------------------ loop -- */

static void loop(struct top_screen *s, struct watch *w, struct top_want *want)
{
	uint64_t next = sb_now_ns();

	while (!want->quit && !caught) {
		uint64_t now = sb_now_ns();

		if (now >= next && !want->paused)
			watch_look(w);
		while (next <= now)
			next += want->every_ns;
		paint(s, w, want);
		while (!want->quit && !caught && sb_now_ns() < next &&
		       !take_key(want, s->page, next))
			;
	}
}

/* Is TERM known, and can it put text anywhere? */
static bool has_screen(void)
{
	char *cup;
	int err;

	if (setupterm(NULL, STDOUT_FILENO, &err) != OK)
		return false;
	cup = tigetstr("cup");
	return cup && cup != (char *)-1;
}

static void leave(void)
{
	if (stdscr && !isendwin())
		endwin();
}

/* As if we had not caught it; but ctrl-C is a way to quit. */
static void die_of_it(void)
{
	if (!caught || caught == SIGINT)
		return;
	signal((int)caught, SIG_DFL);
	raise((int)caught);
}

int top_run(struct watch *w, struct top_want *want)
{
	struct top_screen *s = malloc(sizeof(*s));
	SCREEN *screen;

	if (!s)
		return -ENOMEM;
	screen = has_screen() ? newterm(NULL, stdout, stdin) : NULL;
	if (!screen) {
		free(s);
		return -ENODEV;
	}
	atexit(leave);
	catch_signals();
	set_escdelay(50);
	cbreak();
	noecho();
	nonl();
	keypad(stdscr, TRUE);
	curs_set(0);
	init_colours();
	loop(s, w, want);
	leave();
	free(s);
	die_of_it();
	return 0;
}
