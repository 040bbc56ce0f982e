/* SPDX-License-Identifier: MIT */
/*
 * A table with aligned columns.
 *
 *   static const struct column columns[] = {{"NAME", LEFT}, {"COUNT", RIGHT}};
 *   struct table t;
 *   table_init(&t, columns, ARRAY_LEN(columns));
 *   put_clean(table_cell(&t), name);        // cells row by row
 *   str_u64(table_cell(&t), count);
 *   table_print(&t, &ctl->out, ctl->colour);
 *   table_fini(&t);
 */
#ifndef WEIR_CTL_TABLE_H
#define WEIR_CTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "weir/base/str.h"

enum align { LEFT, RIGHT };
enum colour { PLAIN, RED, GREEN, YELLOW, BOLD };

struct column {
	const char *title;
	enum align align;
};

struct cell {
	size_t start; /* in text; ends where the next one starts */
	enum colour colour;
};

struct table {
	const struct column *columns; /* borrows */
	size_t n_columns;
	struct str text;    /* all cells, one behind the other */
	struct cell *cells; /* owns */
	size_t n_cells;
	size_t cap;
};

void table_init(struct table *table, const struct column *columns, size_t n_columns);
void table_fini(struct table *table);

/* Begins the next cell; append its text to what comes back, at once. */
struct str *table_cell(struct table *table);
/* The same, coloured when the output is. */
struct str *table_cell_in(struct table *table, enum colour colour);

/* Titles and rows; nothing but titles when there are no rows. */
void table_print(const struct table *table, struct str *out, bool colour);

/* Text in a colour, outside tables. */
void put_coloured(struct str *out, bool on, enum colour colour, const char *text, size_t len);

#endif
