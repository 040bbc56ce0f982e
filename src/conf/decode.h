/* SPDX-License-Identifier: MIT */
/*
 * Tree of nodes -> typed structs, driven by the rows; and back.
 */
#ifndef WEIR_CONF_DECODE_H
#define WEIR_CONF_DECODE_H

#include "names.h"
#include "node.h"
#include "report.h"
#include "row.h"
#include "weir/base/arena.h"
#include "weir/conf/conf.h"

/* Where the decoder is, for messages: "pools.app.backends[1]". */
struct where {
	const struct where *up;
	struct view key;
	size_t index; /* in a list; key.ptr is NULL then */
};

struct decoder {
	struct report report;
	struct arena *arena;   /* of the configuration */
	struct arena *scratch; /* dies after loading */
	struct conf *conf;
	const char *dir; /* absolute; relative files start here */
	const struct where *where;
	struct node **defaults; /* by row, made when first needed */
	struct names pools;     /* indices are those of conf.pools */
	struct names listeners;
	struct names binds;
	struct names routes;
	struct names backends;        /* of the pool at hand */
	const struct node *catch_all; /* the first route that matches everything */
	size_t n_hidden;              /* routes behind it */
};

/* One element of a list or named map, complete. */
struct element {
	struct node *node;
	struct node *key; /* NULL in a list */
	size_t index;
	void *base;
};

/* Decodes what is below `parent` (NULL: everything) out of a map, or the
 * defaults when `map` is NULL. */
void decode_map(struct decoder *d, const struct row *parent, struct node *map, void *base);

void decode_error(struct decoder *d, const struct node *node, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void decode_error_hint(struct decoder *d, const struct node *node, const char *hint,
		       const char *fmt, ...) PRINTF_LIKE(4, 5);
void decode_warning(struct decoder *d, const struct node *node, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* What a name stands for that is said elsewhere; NULL: nothing, and that is an error, with the
 * nearest that there is.  `what`: "pool" */
const struct name *decode_reference(struct decoder *d, const struct names *names,
				    const struct node *node, const char *what);
/* An absolute path of a file named in the configuration. */
struct view decode_path(struct decoder *d, struct view path);

struct encoder {
	struct arena *arena;
	const struct conf *conf;
	bool masked; /* see mask.c */
};

/* All keys below `parent` that have something to show; NULL when none has. */
struct node *encode_map(struct encoder *e, const struct row *parent, const void *base);

#endif
