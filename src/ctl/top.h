/* SPDX-License-Identifier: MIT */
/*
 * weirctl top: what its three parts share.
 *
 *   top.c        the loop, keys, questions, changes
 *   top_rows.c   answers of the API -> rows, filtered and sorted, with their past
 *   top_draw.c   rows -> screen
 *   top_page.c   what stands in place of rows: help, or all about one row
 *
 * All of it lives as long as the command.
 */
#ifndef WEIR_CTL_TOP_H
#define WEIR_CTL_TOP_H

#include <jansson.h>

#include "ctl.h"

/* Seconds that sparklines show. */
#define TOP_PAST 24
/* Of as many, what was before is asked for at the start: one question each. */
#define TOP_RECALLED_MAX 64
/* Backends whose past is kept; those beyond have no sparklines. */
#define TOP_PASTS_MAX 4096

struct top_past {
	char *name; /* owns: "pool/backend" or "pool" */
	double rate[TOP_PAST], p99_us[TOP_PAST];
	unsigned n;    /* in use; the newest is at (n - 1) % TOP_PAST */
	unsigned seen; /* the refresh it was last part of */
};

struct top_row {
	const json_t *pool, *backend; /* borrow from top->pools; backend NULL: the pool's own row */
	const struct top_past *past;  /* or NULL */
	double rate;
	uint64_t in_flight, queued, errors, p50_us, p99_us, n_up, n;
};

enum top_sort { SORT_NAME, SORT_STATE, SORT_RATE, SORT_IN_FLIGHT, SORT_ERRORS, SORT_P99, N_SORTS };

/* In place of the rows, until a key is pressed. */
enum top_shown { SHOWN_ROWS, SHOWN_HELP, SHOWN_DETAIL };

struct top {
	struct ctl *ctl;
	enum top_shown shown;
	struct str page; /* owns; its lines */
	bool read_only, paused, utf8;
	json_t *status, *pools; /* own; the last answers */
	struct top_row *rows;   /* owns */
	size_t n_rows, cap_rows;
	struct top_past *pasts; /* owns */
	size_t n_pasts, cap_pasts;
	unsigned n_refreshes;
	double rate; /* of all pools, filter or not */
	enum top_sort sort;
	bool down; /* largest first */
	struct str filter;
	struct str chosen;  /* "pool" or "pool/backend": stays chosen wherever it moves */
	size_t at;          /* its index in rows */
	size_t first;       /* first row on the screen */
	struct str message; /* of the last change, or why weir cannot be asked */
	bool is_bad;        /* the message is a failure */
	bool is_of_look;    /* message: weir does not answer */
	const char *prompt; /* being asked, or NULL */
	struct str typed;
};

extern const char *const top_sort_names[];

/* Asks weir and remembers; false and top->message when it cannot be asked. */
bool top_refresh(struct top *top);
/* Makes the rows anew out of the last answers. */
void top_arrange(struct top *top);
/* Chooses the row with this index, or the nearest there is. */
void top_choose(struct top *top, size_t i);
void top_row_name(const struct top_row *row, struct str *out);
void top_rows_fini(struct top *top);

/* The lines of top->page, for what is shown; asks weir for those of a row. */
void top_page_make(struct top *top);

void top_draw_init(struct top *top);
void top_draw(struct top *top);
/* Rows that fit. */
size_t top_rows_fit(void);

#endif
