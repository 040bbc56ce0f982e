/* SPDX-License-Identifier: MIT */
/* Reading values with variables. */
#include "weir/conf/template.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "http.h"
#include "suggest.h"

/* Longest name that is looked at. */
#define NAME_MAX_LEN 256

static const struct {
	struct view name;
	enum variable_when when;
} table[] = {
#define VARIABLE(symbol, name, when, sentence) {VIEW(name), VARIABLE_##when},
#include "weir/tbl/variables.def"
#undef VARIABLE
};

enum variable_when variable_when(const struct variable *variable)
{
	return variable->id == VARIABLE_group ? VARIABLE_HEAD : table[variable->id].when;
}

/* ---- names ---- */

static bool takes_name(enum variable_id id)
{
	return view_ends(table[id].name, VIEW(":"));
}

static bool same(const struct variable *a, const struct variable *b)
{
	if (a->id != b->id || a->group != b->group)
		return false;
	/* names of fields have no case, those of cookies do */
	return a->id == VARIABLE_header ? view_ieq(a->name, b->name) : view_eq(a->name, b->name);
}

static const struct variable *intern(const struct variable *v, const struct template_rules *rules)
{
	struct variables *known = rules->variables;
	for (size_t i = 0; i < known->n; i++)
		if (same(known->rows[i], v))
			return known->rows[i];
	if (known->n == known->cap) {
		const struct variable **old = known->rows;
		known->cap = known->cap ? known->cap * 2 : 16;
		known->rows = arena_array(rules->arena, known->cap, sizeof(struct variable *));
		if (known->n)
			memcpy(known->rows, old, known->n * sizeof(struct variable *));
	}
	struct variable *copy = arena_alloc(rules->arena, sizeof(*copy));
	*copy = *v;
	copy->text = arena_view(rules->arena, v->text);
	copy->name = view_skip(copy->text, copy->text.len - v->name.len);
	known->rows[known->n++] = copy;
	return copy;
}

PRINTF_LIKE(4, 5)
static bool say(struct template_error *error, struct view name, const char *hint, const char *fmt,
		...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(error->message, sizeof(error->message), fmt, ap);
	va_end(ap);
	snprintf(error->hint, sizeof(error->hint), "%s", hint ? hint : "");
	error->len = name.len + 2;
	return false;
}

/* As much of a name as a message shows. */
#define SHOWN(name) VIEW_ARG(view_head(name, 60))

static bool unknown(struct view name, struct template_error *error)
{
	struct suggest s;
	ptrdiff_t colon = view_chr(name, ':');
	suggest_init(&s, colon < 0 ? name : view_head(name, (size_t)colon + 1));
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		suggest_try(&s, table[i].name, 0);
	const char *hint = suggest_hint(&s);
	return say(error, name, hint ? hint : "'{{' is a brace", "'{" VIEW_FMT "}' is no variable",
		   SHOWN(name));
}

/* Which one it is; false with `error`. */
static bool find(struct view name, struct variable *v, struct template_error *error)
{
	*v = (struct variable){.text = name, .name = VIEW_NONE};
	if (name.len == 1 && name.ptr[0] >= '1' && name.ptr[0] <= '9') {
		v->id = VARIABLE_group;
		v->group = (unsigned)(name.ptr[0] - '0');
		return true;
	}
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		v->id = (enum variable_id)i;
		if (!takes_name(v->id) && view_eq(name, table[i].name))
			return true;
		if (!takes_name(v->id) || !view_starts(name, table[i].name))
			continue;
		v->name = view_skip(name, table[i].name.len);
		if (v->name.len <= NAME_MAX_LEN && http_is_token(v->name))
			return true;
		return say(error, name, NULL, "'{" VIEW_FMT "}' needs a name behind the colon",
			   SHOWN(name));
	}
	return unknown(name, error);
}

const struct variable *variable_find(struct view name, const struct template_rules *rules,
				     struct template_error *error)
{
	static const char *const too_early[] = {
	    [VARIABLE_HEAD] = "known",
	    [VARIABLE_ROUTE] = "known",
	    [VARIABLE_POOL] = "no pool is asked",
	    [VARIABLE_BACKEND] = "which backend it will be is not known yet",
	    [VARIABLE_ANSWER] = "there is no answer yet",
	};
	struct variable v;
	if (!find(name, &v, error))
		return NULL;
	if (variable_when(&v) > rules->until) {
		say(error, name, NULL, "'{" VIEW_FMT "}' says nothing here: %s", SHOWN(name),
		    too_early[variable_when(&v)]);
		return NULL;
	}
	return intern(&v, rules);
}

/* ---- templates ---- */

struct reader {
	struct view text;
	size_t at, text_from;
	const struct template_rules *rules;
	struct template_error *error;
	struct template_piece *pieces;
	size_t n;
	char *plain; /* texts, with braces that were doubled */
	size_t plain_len, plain_from;
	unsigned max_group;
	bool has_variables;
};

static void end_text(struct reader *r)
{
	if (r->plain_len > r->plain_from)
		r->pieces[r->n++] = (struct template_piece){
		    .text = view_of(r->plain + r->plain_from, r->plain_len - r->plain_from)};
	r->plain_from = r->plain_len;
}

static void put_text(struct reader *r, size_t len)
{
	memcpy(r->plain + r->plain_len, r->text.ptr + r->at, len);
	r->plain_len += len;
	r->at += len;
}

static bool begins_name(char c)
{
	c = char_lower(c);
	return (c >= 'a' && c <= 'z') || char_is_digit(c);
}

static bool read_variable(struct reader *r)
{
	struct view rest = view_skip(r->text, r->at + 1);
	ptrdiff_t close = view_chr(rest, '}');
	struct view name = view_head(rest, close < 0 ? rest.len : (size_t)close);
	r->error->offset = r->at;
	if (close < 0)
		return say(r->error, name, "'{{' is a brace", "'{" VIEW_FMT "' is not closed",
			   SHOWN(name));
	const struct variable *v = variable_find(name, r->rules, r->error);
	if (!v)
		return false;
	end_text(r);
	r->pieces[r->n++] = (struct template_piece){.variable = v};
	r->has_variables = true;
	if (v->group > r->max_group)
		r->max_group = v->group;
	r->at += name.len + 2;
	return true;
}

/* "$$" and "${name}" pass as they are. */
static size_t dollar_len(struct view rest)
{
	ptrdiff_t close = rest.len > 1 && rest.ptr[1] == '{' ? view_chr(rest, '}') : -1;
	bool two = rest.len > 1 && (rest.ptr[1] == '$' || rest.ptr[1] == '{');
	return close > 0 ? (size_t)close + 1 : two ? 2 : 1;
}

static bool read_one(struct reader *r)
{
	char c = r->text.ptr[r->at], next = r->at + 1 < r->text.len ? r->text.ptr[r->at + 1] : 0;
	if (c == '$' && r->rules->dollars) {
		put_text(r, dollar_len(view_skip(r->text, r->at)));
	} else if (c == '{' && next == '{') {
		r->at++;
		put_text(r, 1);
	} else if (c == '{' && begins_name(next)) {
		return read_variable(r);
	} else {
		put_text(r, 1);
	}
	return true;
}

bool template_parse(struct view text, const struct template_rules *rules, struct conf_text *out,
		    struct template_error *error)
{
	*out = (struct conf_text){.text = arena_view(rules->arena, text)};
	if (view_chr(text, '{') < 0)
		return true;
	struct reader r = {.text = out->text, .rules = rules, .error = error};
	size_t n_max = 1;
	for (size_t i = 0; i < text.len; i++)
		n_max += text.ptr[i] == '{' ? 2 : 0;
	r.pieces = arena_array(rules->arena, n_max, sizeof(*r.pieces));
	r.plain = arena_alloc(rules->arena, text.len);
	while (r.at < text.len)
		if (!read_one(&r))
			return false;
	if (!r.has_variables) {
		out->text = view_of(r.plain, r.plain_len);
		return true;
	}
	end_text(&r);
	struct template *template = arena_alloc(rules->arena, sizeof(*template));
	*template = (struct template){r.pieces, r.n, r.max_group};
	out->template = template;
	return true;
}

struct view conf_text_source(const struct conf_text *text, bool dollars, struct arena *arena)
{
	struct view v = text->text;
	if (text->template || view_chr(v, '{') < 0)
		return v;
	char *room = arena_alloc(arena, v.len * 2);
	size_t n = 0;
	for (size_t i = 0; i < v.len; i++) {
		char next = i + 1 < v.len ? v.ptr[i + 1] : 0;
		if (v.ptr[i] == '$' && dollars) {
			size_t len = dollar_len(view_skip(v, i));
			memcpy(room + n, v.ptr + i, len);
			n += len;
			i += len - 1;
			continue;
		}
		if (v.ptr[i] == '{' && (next == '{' || begins_name(next)))
			room[n++] = '{';
		room[n++] = v.ptr[i];
	}
	return view_of(room, n);
}

/* ---- sets ---- */

void variable_set_add(struct variable_set *set, struct arena *arena,
		      const struct variable *variable)
{
	if (variable_when(variable) != VARIABLE_HEAD)
		return;
	for (size_t i = 0; i < set->n; i++)
		if (set->rows[i] == variable)
			return;
	const struct variable **rows = arena_array(arena, set->n + 1, sizeof(*rows));
	if (set->n)
		memcpy(rows, set->rows, set->n * sizeof(*rows));
	rows[set->n++] = variable;
	set->rows = rows;
}

void variable_set_add_template(struct variable_set *set, struct arena *arena,
			       const struct template *template)
{
	for (size_t i = 0; template && i < template->n_pieces; i++)
		if (template->pieces[i].variable)
			variable_set_add(set, arena, template->pieces[i].variable);
}
