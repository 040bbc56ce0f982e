/* SPDX-License-Identifier: MIT */
/*
 * The rows of tbl/directives.def in memory, and the tree that their paths
 * form.  Everything that knows about keys walks this tree.
 *
 *   for (const struct row *r = row_first(NULL); r; r = row_next(r))
 *           printf(VIEW_FMT "\n", VIEW_ARG(row_key(r)));
 *
 * Thread: any; the tables are const.
 */
#ifndef WEIR_CONF_ROW_H
#define WEIR_CONF_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/base/view.h"

struct conf_type;
struct decoder;
struct element;

enum row_flags {
	ROW_RESTART = 1 << 0,  /* a change needs a restart, not only a reload */
	ROW_REQUIRED = 1 << 1, /* must be written; a list must not be empty */
};

/* Most keys that one map has; the decoder keeps a slot for each. */
#define ROW_CHILDREN_MAX 32

struct row {
	const char *path;
	const struct conf_type *type;
	size_t offset, size; /* of the member in the struct of its element */
	size_t element_size; /* of that struct */
	size_t aux;          /* offset of the second member, 0: none */
	const char *def;     /* default as YAML text, or NULL */
	const char *shown;   /* what the documentation says in place of `def` */
	const char *words;   /* "a|b", meaning by type */
	uint64_t min, max;
	unsigned flags;
	bool is_action;  /* exactly one of the siblings with this mark is written */
	unsigned action; /* enum conf_action, with is_action */
	void (*finish)(struct decoder *d, const struct element *element);
	const char *help;
};

/* First key of a section, list or named map; of the whole file with NULL. */
const struct row *row_first(const struct row *parent);
const struct row *row_next(const struct row *row);
const struct row *row_parent(const struct row *row);
/* "queue" of "pools.*.queue" */
struct view row_key(const struct row *row);
/* Size of the struct that one element of this list or named map fills. */
size_t row_element_size(const struct row *row);
size_t row_index(const struct row *row);
/* By its whole path; NULL: there is none. */
const struct row *row_find(const char *path);
size_t row_count(void);
const struct row *row_at(size_t index);
/* False for keys of a later version. */
bool row_is_supported(const struct row *row);

/* Iterates "a|b|c"; false at the end. */
bool row_next_word(const char **rest, struct view *word);
/* Index of the word, or -1. */
int row_word_index(const char *words, struct view word);

#endif
