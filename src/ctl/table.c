/* SPDX-License-Identifier: MIT */
/* Tables that are as wide as what stands in them. */
#include "table.h"

#include <stdio.h>
#include <stdlib.h>

#include "text.h"

static const char *const escapes[] = {[PLAIN] = "",
				      [RED] = "\033[31m",
				      [GREEN] = "\033[32m",
				      [YELLOW] = "\033[33m",
				      [BOLD] = "\033[1m"};

void table_init(struct table *t, const struct column *columns, size_t n_columns)
{
	*t = (struct table){.columns = columns, .n_columns = n_columns, .text = STR_INIT};
}

void table_fini(struct table *t)
{
	str_fini(&t->text);
	free(t->cells);
	t->cells = NULL;
}

struct str *table_cell_in(struct table *t, enum colour colour)
{
	if (t->n_cells == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 64;
		t->cells = realloc(t->cells, t->cap * sizeof(*t->cells));
		if (!t->cells) {
			fputs("weirctl: out of memory\n", stderr);
			exit(1);
		}
	}
	t->cells[t->n_cells++] = (struct cell){.start = t->text.len, .colour = colour};
	return &t->text;
}

struct str *table_cell(struct table *t)
{
	return table_cell_in(t, PLAIN);
}

static struct view cell_text(const struct table *t, size_t i)
{
	size_t end = i + 1 < t->n_cells ? t->cells[i + 1].start : t->text.len;
	return view_skip(view_head(str_as_view(&t->text), end), t->cells[i].start);
}

static size_t column_width(const struct table *t, size_t column)
{
	const char *title = t->columns[column].title;
	size_t width = text_width(title, strlen(title));
	for (size_t i = column; i < t->n_cells; i += t->n_columns) {
		struct view v = cell_text(t, i);
		size_t w = text_width(v.ptr, v.len);
		width = w > width ? w : width;
	}
	return width;
}

void put_coloured(struct str *out, bool on, enum colour colour, const char *text, size_t len)
{
	bool paint = on && colour != PLAIN && len;
	str_text(out, paint ? escapes[colour] : "");
	str_put(out, text, len);
	str_text(out, paint ? "\033[0m" : "");
}

static void put_spaces(struct str *out, size_t n)
{
	while (n--)
		str_char(out, ' ');
}

/* Row 0 is the titles. */
static void put_row(const struct table *t, size_t row, const size_t *widths, struct str *out,
		    bool colour)
{
	for (size_t c = 0; c < t->n_columns; c++) {
		size_t i = (row - 1) * t->n_columns + c;
		struct view text = row ? cell_text(t, i) : view_str(t->columns[c].title);
		size_t pad = widths[c] - text_width(text.ptr, text.len);
		bool right = t->columns[c].align == RIGHT;
		put_spaces(out, right ? pad : 0);
		put_coloured(out, colour, row ? t->cells[i].colour : BOLD, text.ptr, text.len);
		put_spaces(out, right ? 2 : pad + 2);
	}
	while (out->len && out->ptr[out->len - 1] == ' ')
		out->len--;
	str_char(out, '\n');
}

void table_print(const struct table *t, struct str *out, bool colour)
{
	size_t *widths = calloc(t->n_columns, sizeof(*widths));
	if (!widths)
		return;
	for (size_t c = 0; c < t->n_columns; c++)
		widths[c] = column_width(t, c);
	for (size_t row = 0; row <= t->n_cells / t->n_columns; row++)
		put_row(t, row, widths, out, colour);
	free(widths);
}
