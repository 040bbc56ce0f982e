/* SPDX-License-Identifier: MIT */
/*
 * A YAML document as a tree, each node with its place in the text.  Reading a
 * file makes one, so does dumping a configuration, and so does the command
 * line.  Nodes live in an arena and are shared where the text has aliases: the
 * tree is a graph without cycles.
 */
#ifndef WEIR_CONF_NODE_H
#define WEIR_CONF_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/arena.h"
#include "weir/base/str.h"
#include "weir/base/view.h"

/* A file that another one includes. */
struct source {
	const char *file;
	struct view text;
	unsigned index; /* from 1, in the order in which they are read */
};

/* Where something stands: a place in the file, or an option. */
struct spot {
	unsigned line, column, width; /* from 1, in characters; line 0: no place */
	const char *option;           /* "--listen", or NULL */
	const struct source *source;  /* NULL: the main file */
	bool secret;                  /* a secret is in what stands there */
};

enum node_kind { NODE_SCALAR, NODE_MAP, NODE_LIST };

/* How a scalar is written; what is read is always NODE_TEXT. */
enum node_style {
	NODE_TEXT,   /* a string: quoted where it could be taken for something else */
	NODE_WORD,   /* a keyword of ours, plain in YAML */
	NODE_NUMBER, /* plain in YAML and JSON */
	NODE_TRUTH,  /* true or false */
};

struct node_item {
	struct node *key; /* NULL in a list */
	struct node *value;
	struct node_item *next;
};

struct node {
	enum node_kind kind;
	enum node_style style;
	bool quoted;   /* a scalar that was not plain */
	bool is_open;  /* being read: its end has not come yet */
	bool expanded; /* ${NAME} in it has been replaced */
	bool unknown;  /* or could not be, which is reported: its text says nothing */
	struct spot spot;
	struct view text; /* of a scalar */
	struct node_item *items, *last;
	size_t n;
	uint64_t weight; /* nodes of the whole expansion, this one included */
};

struct node *node_map(struct arena *arena);
struct node *node_list(struct arena *arena);
/* The text is borrowed for the arena's life. */
struct node *node_scalar(struct arena *arena, enum node_style style, struct view text);
struct node *node_printf(struct arena *arena, enum node_style style, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void node_put(struct arena *arena, struct node *map, struct node *key, struct node *value);
void node_add(struct arena *arena, struct node *list, struct node *value);

/* Value of a key, or NULL. */
struct node *node_get(const struct node *map, struct view key);
/* `key: ` without anything behind it, or a YAML null. */
bool node_is_null(const struct node *node);
bool node_is_text(const struct node *node, const char *text);

/* One document in block style; JSON with two-space indentation. */
void node_write_yaml(const struct node *node, struct str *out);
void node_write_json(const struct node *node, struct str *out);

#endif
