/* SPDX-License-Identifier: MIT */
/*
 * weirctl top: pools and backends, live, and what an operator does to them.
 * One thread: it waits for a key until the next second begins, then asks weir.
 * Every change is confirmed, and --read-only has none.
 */
#include "top.h"

#include <langinfo.h>
#include <locale.h>
#include <ncurses.h>
#include <string.h>
#include <unistd.h>

#include "api.h"
#include "backend.h"
#include "commands.h"

#include "weir/base/clock.h"
#include "weir/base/parse.h"

#define REFRESH_US 1000000
#define KEY_ESCAPE 27
#define KEY_DELETE 127

static void say(struct top *top, bool is_bad, struct view text)
{
	str_reset(&top->message);
	str_view(&top->message, text);
	top->is_bad = is_bad;
	top->is_of_look = false;
}

/* Takes back only what it has said itself: the next key ends all other messages. */
static void look(struct top *top)
{
	bool failed_before = top->is_of_look;
	if (!top_refresh(top)) {
		say(top, true, str_as_view(&top->ctl->why));
		top->is_of_look = true;
	} else if (failed_before) {
		say(top, false, VIEW_NONE);
	}
	str_reset(&top->ctl->why);
}

/* ---- questions: false when the user thought better of it ---- */

static bool ask(struct top *top, const char *prompt)
{
	top->prompt = prompt;
	timeout(-1);
	for (;;) {
		top_draw(top);
		int key = getch();
		if (key == '\n' || key == '\r' || key == KEY_ENTER || key == KEY_ESCAPE) {
			top->prompt = NULL;
			return key != KEY_ESCAPE;
		}
		if ((key == KEY_BACKSPACE || key == KEY_DELETE || key == '\b') && top->typed.len)
			top->typed.ptr[--top->typed.len] = '\0';
		else if (key >= ' ' && key < KEY_DELETE)
			str_char(&top->typed, (char)key);
	}
}

static bool confirm(struct top *top, const char *prompt)
{
	top->prompt = prompt;
	str_reset(&top->typed);
	timeout(-1);
	int key;
	do {
		top_draw(top);
		key = getch();
	} while (key == KEY_RESIZE || key == ERR);
	top->prompt = NULL;
	return key == 'y' || key == 'Y';
}

static void ask_filter(struct top *top)
{
	str_reset(&top->typed);
	str_view(&top->typed, str_as_view(&top->filter));
	if (ask(top, "show only: ")) {
		str_reset(&top->filter);
		str_view(&top->filter, str_as_view(&top->typed));
	}
	top_arrange(top);
}

/* ---- changes ---- */

/* The chosen backend; false with a message when there is none, or none may be changed. */
static bool may_change(struct top *top, struct backend_ref *ref)
{
	if (top->read_only) {
		say(top, true,
		    top->ctl->fleet ? VIEW("--nodes looks: change with weirctl --all")
				    : VIEW("--read-only: nothing is changed from here"));
		return false;
	}
	if (top->n_rows == 0 || !top->rows[top->at].backend) {
		say(top, true, VIEW("choose a backend first"));
		return false;
	}
	return backend_ref_parse(top->ctl, top->chosen.ptr, true, ref) == CTL_OK;
}

static void send_change(struct top *top, const struct backend_ref *ref, json_t *body)
{
	struct str path = STR_INIT, done = STR_INIT;
	json_t *row;
	backend_ref_path(ref, &path);
	bool ok = api_send(top->ctl, "POST", path.ptr, body, &row) == CTL_OK;
	if (ok)
		str_printf(&done, "%s is %s, weight %u", top->chosen.ptr, get_text(row, "state"),
			   (unsigned)get_u64(row, "weight"));
	else
		str_view(&done, str_as_view(&top->ctl->why));
	look(top);
	say(top, !ok, str_as_view(&done));
	json_decref(row);
	str_fini(&path);
	str_fini(&done);
}

static void change_state(struct top *top, const char *state, const char *question)
{
	struct backend_ref ref;
	struct str prompt = STR_INIT;
	if (!may_change(top, &ref))
		return;
	str_printf(&prompt, "%s %s? y/n ", question, top->chosen.ptr);
	if (confirm(top, prompt.ptr))
		send_change(top, &ref, json_pack("{s:s}", "state", state));
	str_fini(&prompt);
}

static void change_weight(struct top *top)
{
	struct backend_ref ref;
	struct str prompt = STR_INIT;
	uint64_t weight;
	if (!may_change(top, &ref))
		return;
	str_printf(&prompt, "new weight of %s (Escape: leave it): ", top->chosen.ptr);
	str_reset(&top->typed);
	if (ask(top, prompt.ptr)) {
		if (parse_u64(str_as_view(&top->typed), &weight) && weight <= UINT16_MAX)
			send_change(top, &ref, json_pack("{s:I}", "weight", (json_int_t)weight));
		else
			say(top, true, VIEW("a weight is a number from 0 to 65535"));
	}
	str_fini(&prompt);
}

/* ---- keys ---- */

static void move_by(struct top *top, long by)
{
	long at = (long)top->at + by;
	top_choose(top, at < 0 ? 0 : (size_t)at);
}

static void sort_next(struct top *top)
{
	top->sort = (top->sort + 1) % N_SORTS;
	top_arrange(top);
}

static bool take_move(struct top *top, int key)
{
	long page = (long)top_rows_fit();
	switch (key) {
	case KEY_UP:
	case 'k':
		move_by(top, -1);
		return true;
	case KEY_DOWN:
	case 'j':
		move_by(top, 1);
		return true;
	case KEY_PPAGE:
		move_by(top, -page);
		return true;
	case KEY_NPAGE:
	case ' ':
		move_by(top, page);
		return true;
	case KEY_HOME:
	case 'g':
		top_choose(top, 0);
		return true;
	case KEY_END:
	case 'G':
		top_choose(top, SIZE_MAX);
		return true;
	default:
		return false;
	}
}

static void show(struct top *top, enum top_shown shown)
{
	top->shown = shown;
	if (shown != SHOWN_ROWS)
		top_page_make(top);
}

static void take_key(struct top *top, int key)
{
	if (key == KEY_RESIZE)
		return;
	if (top->shown != SHOWN_ROWS) {
		show(top, SHOWN_ROWS);
		return;
	}
	if (top->message.len)
		say(top, false, VIEW_NONE);
	if (take_move(top, key))
		return;
	switch (key) {
	case '?':
	case 'h':
		show(top, SHOWN_HELP);
		break;
	case '\n':
	case '\r':
	case KEY_ENTER:
		if (top->n_rows)
			show(top, SHOWN_DETAIL);
		break;
	case 's':
		sort_next(top);
		break;
	case 'r':
		top->down = !top->down;
		top_arrange(top);
		break;
	case 'p':
		top->paused = !top->paused;
		break;
	case '/':
		ask_filter(top);
		break;
	case 'd':
		change_state(top, "drain", "send no new requests to");
		break;
	case 'm':
		change_state(top, "maintenance", "take out of service:");
		break;
	case 'e':
		change_state(top, "up", "let take requests:");
		break;
	case 'w':
		change_weight(top);
		break;
	default:
		break;
	}
}

/* Until q.  A weir that goes away is waited for. */
static void run(struct top *top)
{
	uint64_t next = clock_us() + REFRESH_US;
	for (;;) {
		top_draw(top);
		uint64_t now = clock_us();
		timeout(next > now ? (int)((next - now + 999) / 1000) : 0);
		int key = getch();
		if (key == 'q' && top->shown == SHOWN_ROWS)
			return;
		if (key != ERR)
			take_key(top, key);
		if (clock_us() < next)
			continue;
		if (!top->paused)
			look(top);
		if (!top->paused && top->shown == SHOWN_DETAIL)
			top_page_make(top);
		next = clock_us() + REFRESH_US;
	}
}

static void on_screen(struct top *top)
{
	initscr();
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	set_escdelay(25);
	top_draw_init(top);
	run(top);
	endwin();
}

enum ctl_exit cmd_top(struct ctl *ctl)
{
	struct top top = {.ctl = ctl, .read_only = ctl->read_only || ctl->fleet, .sort = SORT_NAME};
	if (ctl->json)
		return ctl_fail(ctl, CTL_USAGE, "top takes no --json: see pools --json -w");
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return ctl_fail(ctl, CTL_FAILED,
				"top needs a terminal; \"weirctl -w pools\" works without");
	setlocale(LC_CTYPE, "");
	top.utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
	top.filter = top.chosen = top.message = top.typed = top.page = STR_INIT;
	bool found = top_refresh(&top);
	if (found)
		on_screen(&top);
	top_rows_fini(&top);
	str_fini(&top.filter);
	str_fini(&top.chosen);
	str_fini(&top.message);
	str_fini(&top.typed);
	str_fini(&top.page);
	return found ? CTL_OK : CTL_UNREACHABLE;
}
