/* SPDX-License-Identifier: MIT */
/* The screen of weirctl top. */
#include "top.h"

#include <ncurses.h>
#include <string.h>

#include "api.h"
#include "backend.h"
#include "table.h"
#include "text.h"

#include "weir/base/defs.h"

#define TITLE_LINE 2
#define FIRST_LINE 3
#define BOTTOM_LINES 3   /* what the chosen row has to say, in two lines, and the keys */
#define LINES_FOR_TWO 12 /* lower terminals give it one */
#define SPARK_WIDTH 12
#define WHY_LEAST 16 /* what most verdicts need */

/* The last takes what is left; where there is little room, see fit_columns. */
static const struct {
	const char *title;
	int width; /* below 0: aligned left */
} columns[] = {
    {"NAME", -22}, {"STATE", -12},     {"RATE", 7},   {"", -SPARK_WIDTH},
    {"IN FL", 6},  {"QUEUED", 6},      {"ERRORS", 7}, {"P50", 7},
    {"P99", 7},    {"", -SPARK_WIDTH}, {"WEIGHT", 6}, {"VERDICT, REASON", -WHY_LEAST},
};
enum {
	C_NAME,
	C_STATE,
	C_RATE,
	C_RATES,
	C_FLIGHT,
	C_QUEUED,
	C_ERRORS,
	C_P50,
	C_P99,
	C_P99S,
	C_WEIGHT,
	C_WHY
};

#define N_COLUMNS ((int)ARRAY_LEN(columns))
/* A name that has to be short, and a state. */
#define NAME_LEAST 16
#define STATE_LEAST 8

static int width_of(const int widths[])
{
	int sum = WHY_LEAST;
	for (int c = 0; c < C_WHY; c++)
		if (widths[c])
			sum += (widths[c] < 0 ? -widths[c] : widths[c]) + 1;
	return sum;
}

/* Widths as in `columns`, 0: not shown.  What can be seen elsewhere goes first; latency and
 * the verdict stay. */
static void fit_columns(int widths[])
{
	static const int drops[] = {C_P99S,   C_RATES,  C_WEIGHT, C_QUEUED,
				    C_ERRORS, C_FLIGHT, C_RATE};
	for (int c = 0; c < N_COLUMNS; c++)
		widths[c] = columns[c].width;
	for (size_t i = 0; i < ARRAY_LEN(drops) && width_of(widths) > COLS; i++) {
		if (drops[i] == C_ERRORS)
			widths[C_NAME] = -NAME_LEAST;
		if (drops[i] == C_RATE)
			widths[C_STATE] = -STATE_LEAST;
		if (width_of(widths) > COLS)
			widths[drops[i]] = 0;
	}
	int left = COLS - width_of(widths);
	widths[C_WHY] = -WHY_LEAST - (left > 0 ? left : 0);
}

void top_draw_init(struct top *top)
{
	static const short shades[] = {
	    [RED] = COLOR_RED, [GREEN] = COLOR_GREEN, [YELLOW] = COLOR_YELLOW};
	if (!top->ctl->colour || !has_colors())
		return;
	start_color();
	use_default_colors();
	for (short i = RED; i <= YELLOW; i++)
		init_pair(i, shades[i], -1);
}

static attr_t shade(const struct top *top, enum colour colour)
{
	if (colour == BOLD)
		return A_BOLD;
	if (colour == PLAIN || !top->ctl->colour || !has_colors())
		return A_NORMAL;
	return (attr_t)COLOR_PAIR(colour);
}

static int bottom_lines(void)
{
	return LINES < LINES_FOR_TWO ? BOTTOM_LINES - 1 : BOTTOM_LINES;
}

size_t top_rows_fit(void)
{
	int rows = LINES - FIRST_LINE - bottom_lines();
	return rows > 0 ? (size_t)rows : 1;
}

/* Bytes of the first `columns` columns of UTF-8 text. */
static int cut(const struct str *text, int room)
{
	size_t i = 0;
	for (int n = 0; i < text->len; n++) {
		size_t next = i + 1;
		while (next < text->len && ((unsigned char)text->ptr[next] & 0xc0) == 0x80)
			next++;
		if (n == room)
			break;
		i = next;
	}
	return (int)i;
}

/* Names that are alike differ at their end as often as in front: what is too long loses its middle.
 */
static void shorten(const struct top *top, struct str *text, int room)
{
	int width = (int)text_width(text->ptr ? text->ptr : "", text->len), front = room / 2;
	if (width <= room)
		return;
	struct str out = STR_INIT;
	size_t tail = (size_t)cut(text, width - (room - front - 1));
	str_view(&out, (struct view){text->ptr, (size_t)cut(text, front)});
	str_text(&out, top->utf8 ? "…" : "~");
	str_view(&out, (struct view){text->ptr + tail, text->len - tail});
	str_fini(text);
	*text = out;
}

/*
 * One cell in its colour; gives the text back for the next one.  What is aligned
 * right are numbers: one that does not fit is not shown at all, for its first
 * digits would be another number.
 */
static int put_cell(const struct top *top, int line, int x, int width, struct str *text,
		    enum colour colour)
{
	int room = width < 0 ? -width : width;
	if (x < COLS && room > COLS - x)
		room = COLS - x;
	if (!room) {
		str_reset(text);
		return x;
	}
	bool is_whole = text_width(text->ptr ? text->ptr : "", text->len) <= (size_t)room;
	if (x < COLS && text->len && (width < 0 || is_whole)) {
		int used = (int)text_width(text->ptr, (size_t)cut(text, room));
		attr_t attr = shade(top, colour);
		attron(attr);
		mvaddnstr(line, width < 0 ? x : x + room - used, text->ptr, cut(text, room));
		attroff(attr);
	}
	str_reset(text);
	return x + (width < 0 ? -width : width) + 1;
}

/* Eight heights, the highest value at the top; oldest on the left. */
static void put_spark(const struct top *top, struct str *out, const double *values, unsigned n)
{
	static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
	static const char plain[] = "_.-:=+*#";
	double most = 0;
	unsigned first = n > SPARK_WIDTH ? n - SPARK_WIDTH : 0;
	for (unsigned i = first; i < n; i++)
		if (values[i % TOP_PAST] > most)
			most = values[i % TOP_PAST];
	for (unsigned i = first; i < n; i++) {
		double share = most > 0 ? values[i % TOP_PAST] / most : 0;
		unsigned level = (unsigned)(share * 7 + 0.5);
		if (top->utf8)
			str_text(out, blocks[level]);
		else
			str_char(out, plain[level]);
	}
}

/* Counters of long ago have many digits. */
static void put_count(struct str *out, uint64_t n)
{
	if (n < 1000000)
		str_u64(out, n);
	else if (n < 1000000000)
		str_printf(out, "%.3gM", (double)n / 1e6);
	else
		str_printf(out, "%.3gG", (double)n / 1e9);
}

static void put_latency(struct str *out, uint64_t us)
{
	if (us)
		put_duration_us(out, us);
	else
		str_char(out, '-');
}

/* ---- one row ---- */

static enum colour row_state(const struct top_row *row, struct str *out)
{
	if (row->backend) {
		const char *state = get_text(row->backend, "state");
		put_clean(out, state);
		return state_colour(state);
	}
	str_printf(out, "%u/%u up", (unsigned)row->n_up, (unsigned)row->n);
	return row->n_up == row->n ? GREEN : row->n_up ? YELLOW : RED;
}

static enum colour row_why(const struct top_row *row, struct str *out)
{
	const char *verdict = get_text(row->backend ? row->backend : row->pool, "verdict");
	if (row->backend && !backend_is_usable(row->backend)) {
		put_why(out, row->backend);
		return state_colour(get_text(row->backend, "state"));
	}
	put_verdict(out, verdict);
	return verdict_colour(verdict);
}

static enum colour row_cell(const struct top *top, const struct top_row *row, int column,
			    struct str *out)
{
	switch (column) {
	case C_NAME:
		str_text(out, row->backend ? "  " : "");
		put_clean(out, get_text(row->backend ? row->backend : row->pool, "name"));
		return row->backend ? PLAIN : BOLD;
	case C_STATE:
		return row_state(row, out);
	case C_RATE:
		put_rate(out, row->rate);
		return PLAIN;
	case C_RATES:
		if (row->past)
			put_spark(top, out, row->past->rate, row->past->n);
		return PLAIN;
	case C_FLIGHT:
		str_u64(out, row->in_flight);
		return PLAIN;
	case C_QUEUED:
		if (!row->backend)
			str_u64(out, row->queued);
		return row->queued ? YELLOW : PLAIN;
	case C_ERRORS:
		put_count(out, row->errors);
		return row->errors ? YELLOW : PLAIN;
	case C_P50:
		put_latency(out, row->p50_us);
		return PLAIN;
	case C_P99:
		put_latency(out, row->p99_us);
		return PLAIN;
	case C_P99S:
		if (row->past)
			put_spark(top, out, row->past->p99_us, row->past->n);
		return PLAIN;
	case C_WEIGHT:
		if (row->backend)
			str_u64(out, get_u64(row->backend, "weight"));
		return PLAIN;
	default:
		return row_why(row, out);
	}
}

static void draw_row(const struct top *top, const int widths[], size_t i, int line)
{
	struct str text = STR_INIT;
	int x = 0;
	for (int c = 0; c < N_COLUMNS; c++) {
		enum colour colour = row_cell(top, &top->rows[i], c, &text);
		if (c == C_NAME)
			shorten(top, &text, -widths[c]);
		x = put_cell(top, line, x, widths[c], &text, colour);
	}
	str_fini(&text);
	if (i == top->at)
		mvchgat(line, 0, -1, A_REVERSE, 0, NULL);
}

/* ---- the lines around ---- */

static void draw_head(const struct top *top, struct str *text)
{
	const json_t *totals = json_object_get(top->status, "totals");
	const json_t *problems = json_object_get(top->status, "problems");
	struct str sorted = STR_INIT;
	str_text(text, "weir ");
	put_clean(text, get_text(top->status, "version"));
	str_text(text, "  up ");
	put_age_s(text, get_u64(top->status, "uptime_s"));
	str_text(text, "  ");
	put_rate(text, top->rate);
	str_printf(text, "  %u in flight  %u clients%s%s", (unsigned)get_u64(totals, "in_flight"),
		   (unsigned)get_u64(totals, "connections"), top->paused ? "  [paused]" : "",
		   top->read_only ? "  [read-only]" : "");
	str_printf(&sorted, "  sorted by %s%s", top_sort_names[top->sort],
		   top->down ? ", turned round" : "");
	if (text->len + sorted.len <= (size_t)COLS)
		str_view(text, str_as_view(&sorted));
	str_fini(&sorted);
	put_cell(top, 0, 0, -COLS, text, BOLD);
	size_t n = json_array_size(problems);
	if (n == 0) {
		str_text(text, "no problems");
	} else {
		str_printf(text, "%zu problem%s: ", n, n == 1 ? "" : "s");
		const char *first = json_string_value(json_array_get(problems, 0));
		put_clean(text, first ? first : "?");
	}
	put_cell(top, 1, 0, -COLS, text, n ? RED : GREEN);
}

static void draw_titles(const struct top *top, const int widths[], struct str *text)
{
	int x = 0;
	for (int c = 0; c < N_COLUMNS; c++) {
		str_text(text, columns[c].title);
		x = put_cell(top, TITLE_LINE, x, widths[c], text, PLAIN);
	}
	mvchgat(TITLE_LINE, 0, -1, A_UNDERLINE, 0, NULL);
}

/* What the chosen row has to say. */
static void put_sentence(const struct top *top, struct str *out)
{
	if (top->n_rows == 0) {
		str_text(out, "nothing matches the filter");
		return;
	}
	const struct top_row *row = &top->rows[top->at];
	if (row->backend) {
		put_clean(out, get_text(row->backend, "address"));
		str_text(out, "  ");
		put_state(out, row->backend);
		return;
	}
	put_clean(out, get_text(row->pool, "strategy"));
	str_text(out, "  ");
	put_clean(out, get_text(row->pool, "verdict_sentence"));
}

/* So much of it fits a line: up to a blank, where there is one. */
static size_t line_end(const struct str *text)
{
	size_t most = (size_t)cut(text, COLS), end = most;
	if (most == text->len)
		return most;
	while (end > 0 && text->ptr[end] != ' ')
		end--;
	return end ? end : most;
}

/* Over two lines, parted at a blank, if there is room for them and one is not enough. */
static void put_wrapped(const struct top *top, struct str *text, enum colour colour)
{
	int line = LINES - bottom_lines();
	size_t end = line_end(text);
	if (line < LINES - 2 && end < text->len) {
		struct str rest = STR_INIT;
		str_text(&rest, text->ptr + end + (text->ptr[end] == ' '));
		text->len = end;
		put_cell(top, line, 0, -COLS, text, colour);
		put_cell(top, line + 1, 0, -COLS, &rest, colour);
		str_fini(&rest);
		return;
	}
	put_cell(top, LINES - 2, 0, -COLS, text, colour);
}

/* What can be done, as far as there is room for whole words. */
static void put_keys(const struct top *top, struct str *text)
{
	static const char *const changes[] = {"d drain", "m maintenance", "e enable", "w weight"};
	str_text(text, "q quit  ? keys  Enter details  / filter  s sort");
	if (top->filter.len)
		str_printf(text, "  [filter: %s]", top->filter.ptr);
	for (size_t i = 0; !top->read_only && i < ARRAY_LEN(changes); i++)
		if (text->len + 2 + strlen(changes[i]) <= (size_t)COLS)
			str_printf(text, "  %s", changes[i]);
}

static void draw_bottom(const struct top *top, struct str *text)
{
	if (top->shown != SHOWN_ROWS) {
		str_reset(text);
	} else if (top->message.len) {
		put_clean(text, top->message.ptr);
		put_wrapped(top, text, top->is_bad ? RED : GREEN);
	} else {
		put_sentence(top, text);
		put_wrapped(top, text, PLAIN);
	}
	if (top->prompt) {
		str_printf(text, "%s%s", top->prompt, top->typed.ptr ? top->typed.ptr : "");
		put_cell(top, LINES - 1, 0, -COLS, text, BOLD);
		return;
	}
	if (top->shown != SHOWN_ROWS) {
		str_text(text, "any key goes back");
		put_cell(top, LINES - 1, 0, -COLS, text, PLAIN);
		return;
	}
	put_keys(top, text);
	put_cell(top, LINES - 1, 0, -COLS, text, PLAIN);
}

/* As many of the lines as there is room for; long ones go on in the next. */
static void draw_page(const struct top *top)
{
	struct view rest = str_as_view(&top->page);
	struct str text = STR_INIT;
	for (int line = TITLE_LINE; rest.len && line < LINES - 1; line++) {
		ptrdiff_t end = view_chr(rest, '\n');
		struct view whole = view_head(rest, end < 0 ? rest.len : (size_t)end);
		str_view(&text, whole);
		size_t part = line_end(&text);
		text.len = part;
		rest = view_skip(rest, part < whole.len ? part + (whole.ptr[part] == ' ')
							: whole.len + 1);
		put_cell(top, line, 0, -COLS, &text, PLAIN);
	}
	str_fini(&text);
}

static void draw_rows(const struct top *top, size_t page)
{
	struct str text = STR_INIT;
	int widths[N_COLUMNS];
	fit_columns(widths);
	draw_titles(top, widths, &text);
	for (size_t i = 0; i < page && top->first + i < top->n_rows; i++)
		draw_row(top, widths, top->first + i, FIRST_LINE + (int)i);
	str_fini(&text);
}

void top_draw(struct top *top)
{
	struct str text = STR_INIT;
	size_t page = top_rows_fit();
	if (top->at < top->first)
		top->first = top->at;
	if (top->at >= top->first + page)
		top->first = top->at - page + 1;
	erase();
	draw_head(top, &text);
	if (top->shown == SHOWN_ROWS)
		draw_rows(top, page);
	else
		draw_page(top);
	draw_bottom(top, &text);
	curs_set(top->prompt != NULL);
	refresh();
	str_fini(&text);
}
