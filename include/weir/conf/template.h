/* SPDX-License-Identifier: MIT */
/*
 * Values with variables: "https://{host}{uri}".  A template is read once, while the
 * configuration is loaded, into pieces; weir/route/expand.h puts them together.
 *
 *   {name}      a variable of tbl/variables.def
 *   {1} .. {9}  a group of the regexes of `match`
 *   {{          a brace; so is one that neither a letter nor a digit follows, as
 *               in JSON; '}' alone is itself
 *
 * A text without variables is no template: it costs what it always did.
 */
#ifndef WEIR_CONF_TEMPLATE_H
#define WEIR_CONF_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/base/arena.h"
#include "weir/base/view.h"

enum variable_id {
#define VARIABLE(symbol, name, when, sentence) VARIABLE_##symbol,
#include "weir/tbl/variables.def"
#undef VARIABLE
	VARIABLE_group,
	N_VARIABLES,
};

enum variable_when {
	VARIABLE_HEAD,
	VARIABLE_ROUTE,
	VARIABLE_POOL,
	VARIABLE_BACKEND,
	VARIABLE_ANSWER,
};

struct variable {
	enum variable_id id;
	unsigned group;   /* VARIABLE_group: from 1 */
	struct view name; /* of the header field or cookie */
	struct view text; /* as written, without braces */
};

enum variable_when variable_when(const struct variable *variable);

/* Each variable that a configuration names, once: equal ones are the same pointer. */
struct variables {
	const struct variable **rows;
	size_t n, cap;
};

/* Text, or a variable. */
struct template_piece {
	struct view text;
	const struct variable *variable; /* NULL: text */
};

struct template
{
	const struct template_piece *pieces;
	size_t n_pieces;
	unsigned max_group; /* the highest of {1} .. {9}, 0: none */
};

/* A value of the configuration that may have variables. */
struct conf_text {
	struct view text;                /* what it says; as written when there is a template */
	const struct template *template; /* NULL: no variables */
};

struct template_rules {
	struct arena *arena;
	struct variables *variables;
	enum variable_when until; /* what is known where it is used */
	bool dollars;             /* ${name} and $$ are somebody else's */
};

struct template_error {
	size_t offset, len; /* in the text */
	char message[200];
	char hint[160]; /* "did you mean ...?", or empty */
};

/* False when `error` says what is wrong, and where. */
bool template_parse(struct view text, const struct template_rules *rules, struct conf_text *out,
		    struct template_error *error);

/* A name as it stands in braces, such as "client" or "header:Referer"; NULL with `error`. */
const struct variable *variable_find(struct view name, const struct template_rules *rules,
				     struct template_error *error);

/* The text that is read as `text` again: what the dump writes. */
struct view conf_text_source(const struct conf_text *text, bool dollars, struct arena *arena);

/* Variables of a head that are needed when it is gone. */
struct variable_set {
	const struct variable **rows;
	size_t n;
};

/* Most of them that an exchange keeps: of its listener, its route and the log. */
#define VARIABLES_KEPT_MAX 64

void variable_set_add(struct variable_set *set, struct arena *arena,
		      const struct variable *variable);
void variable_set_add_template(struct variable_set *set, struct arena *arena,
			       const struct template *template);

#endif
