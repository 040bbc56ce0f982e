/* SPDX-License-Identifier: MIT */
/*
 * Walks the rows beside the tree: keys that no row knows are reported, rows
 * that no key names get their default.  Nothing here knows any key.
 */
#include "decode.h"

#include <stdio.h>

#include "foreign.h"
#include "suggest.h"
#include "type.h"
#include "weir/base/check.h"

static void put_where(struct str *out, const struct where *w)
{
	if (!w)
		return;
	put_where(out, w->up);
	if (!w->key.ptr)
		str_printf(out, "[%zu]", w->index);
	else
		str_printf(out, "%s" VIEW_FMT, w->up ? "." : "", VIEW_ARG(w->key));
}

/* " in pools.app.backends[1]", or nothing at the top. */
static const char *in_where(struct decoder *d)
{
	if (!d->where || !report_has_room(&d->report))
		return "";
	struct str text = STR_INIT;
	put_where(&text, d->where);
	const char *s = arena_printf(d->scratch, " in %s", str_as_view(&text).ptr);
	str_fini(&text);
	return s;
}

PRINTF_LIKE(5, 0)
static void report_va(struct decoder *d, enum conf_severity severity, const struct node *node,
		      const char *hint, const char *fmt, va_list ap)
{
	struct str text = STR_INIT;
	if (node && node->unknown) /* the mistake is another one, and has been reported */
		return;
	str_vprintf(&text, fmt, ap);
	report_at(&d->report, severity, node ? &node->spot : NULL, hint, "%s",
		  str_as_view(&text).ptr);
	str_fini(&text);
}

void decode_error(struct decoder *d, const struct node *node, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	report_va(d, CONF_ERROR, node, NULL, fmt, ap);
	va_end(ap);
}

void decode_error_hint(struct decoder *d, const struct node *node, const char *hint,
		       const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	report_va(d, CONF_ERROR, node, hint, fmt, ap);
	va_end(ap);
}

void decode_warning(struct decoder *d, const struct node *node, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	report_va(d, CONF_WARNING, node, NULL, fmt, ap);
	va_end(ap);
}

struct view decode_path(struct decoder *d, struct view path)
{
	if (view_starts(path, VIEW("/")))
		return arena_view(d->arena, path);
	const char *slash = view_ends(view_str(d->dir), VIEW("/")) ? "" : "/";
	return view_str(arena_printf(d->arena, "%s%s" VIEW_FMT, d->dir, slash, VIEW_ARG(path)));
}

/* "a" or "[a, b]": all that defaults need of YAML. */
static struct node *default_node(struct decoder *d, const struct row *row)
{
	struct node **slot = &d->defaults[row_index(row)];
	if (*slot)
		return *slot;
	struct view text = view_str(row->def);
	if (!view_starts(text, VIEW("["))) {
		*slot = node_scalar(d->scratch, NODE_TEXT, text);
		(*slot)->quoted = true; /* an empty default is a text, not a null */
		return *slot;
	}
	*slot = node_list(d->scratch);
	struct view rest = view_of(text.ptr + 1, text.len - 2), word;
	while (view_next_token(&rest, &word))
		node_add(d->scratch, *slot, node_scalar(d->scratch, NODE_TEXT, word));
	return *slot;
}

/* A key that was not written. */
static void decode_absent(struct decoder *d, const struct row *row, void *base)
{
	if (row->type == &conf_type_section) {
		decode_map(d, row, NULL, base);
	} else if (row->type == &conf_type_switched) {
		*(bool *)member_of(row, base) = row->def == NULL;
		decode_map(d, row, NULL, base);
	} else if (row->def) {
		row->type->decode(d, row, default_node(d, row), base);
	}
}

static const struct row *find_row(const struct row *parent, struct view key)
{
	for (const struct row *r = row_first(parent); r; r = row_next(r))
		if (view_eq(row_key(r), key))
			return r;
	return NULL;
}

/* Places that know this key, when it stands at another: "it is written as 'pools.*.retry'". */
#define PLACES_SHOWN 3
static const char *elsewhere(struct decoder *d, struct view key)
{
	struct str text = STR_INIT;
	size_t n = 0;
	for (size_t i = 0; i < row_count(); i++) {
		if (!view_eq(row_key(row_at(i)), key))
			continue;
		if (n++ < PLACES_SHOWN)
			str_printf(&text, "%s'%s'", n > 1 ? ", " : "it is written as ",
				   row_at(i)->path);
	}
	const char *hint =
	    n ? arena_printf(d->scratch, "%s%s", text.ptr, n > PLACES_SHOWN ? ", ..." : "") : NULL;
	str_fini(&text);
	return hint;
}

/* A key of a map within this one: "it is written as 'routes[].match.path'". */
static const char *further_down(struct decoder *d, const struct row *parent, struct view key)
{
	for (const struct row *r = row_first(parent); r; r = row_next(r)) {
		const struct row *found = row_first(r) ? find_row(r, key) : NULL;
		if (found)
			return arena_printf(d->scratch, "it is written as '%s'", found->path);
	}
	return NULL;
}

/* What is called otherwise here. */
static const char *by_another_name(struct decoder *d, const struct row *parent, struct view key)
{
	const char *here = parent ? foreign_name(parent->path, key) : NULL;
	return here ? arena_printf(d->scratch, "did you mean '%s'?", here) : NULL;
}

static void report_unknown(struct decoder *d, const struct row *parent, const struct node *key)
{
	struct suggest s;
	const char *hint = by_another_name(d, parent, key->text);
	const char *foreign = hint ? NULL : foreign_key(key->text);
	if (foreign) {
		decode_error(d, key, "unknown key '" VIEW_FMT "'%s: weir has no " VIEW_FMT ": %s",
			     VIEW_ARG(key->text), in_where(d), VIEW_ARG(key->text), foreign);
		return;
	}
	suggest_init(&s, key->text);
	if (report_has_room(&d->report))
		for (const struct row *r = row_first(parent); r; r = row_next(r))
			suggest_try(&s, row_key(r), 0);
	if (!hint)
		hint = further_down(d, parent, key->text);
	if (!hint)
		hint = suggest_hint(&s);
	if (!hint && report_has_room(&d->report))
		hint = elsewhere(d, key->text);
	decode_error_hint(d, key, hint, "unknown key '" VIEW_FMT "'%s", VIEW_ARG(key->text),
			  in_where(d));
}

const struct name *decode_reference(struct decoder *d, const struct names *names,
				    const struct node *node, const char *what)
{
	const struct name *found = names_find(names, node->text);
	if (found)
		return found;
	struct suggest s;
	suggest_init(&s, node->text);
	for (size_t i = 0; report_has_room(&d->report) && i < names->n; i++)
		suggest_try(&s, names->rows[i].text, names->rows[i].node->spot.line);
	decode_error_hint(d, node, suggest_hint(&s), "%s '" VIEW_FMT "' is not defined", what,
			  VIEW_ARG(node->text));
	return NULL;
}

/* Of the keys that exclude each other exactly one is there. */
static void check_actions(struct decoder *d, const struct row *parent, struct node *map,
			  struct node_item *const *items)
{
	const struct row *found = NULL;
	struct str all = STR_INIT;
	size_t i = 0, n = 0;
	for (const struct row *r = row_first(parent); r; r = row_next(r), i++) {
		if (!r->is_action)
			continue;
		str_printf(&all, "%s" VIEW_FMT, n++ ? ", " : "", VIEW_ARG(row_key(r)));
		if (!items[i])
			continue;
		if (found)
			decode_error(d, items[i]->key,
				     "'" VIEW_FMT "' beside '" VIEW_FMT "'%s: only one can decide",
				     VIEW_ARG(row_key(r)), VIEW_ARG(row_key(found)), in_where(d));
		else
			found = r;
	}
	if (n && !found)
		decode_error(d, map, "one of %s is missing%s", str_as_view(&all).ptr, in_where(d));
	str_fini(&all);
}

/* Only the value that means "without it" may be written. */
static void decode_later(struct decoder *d, const struct row *row, const struct node_item *item)
{
	struct view key = row_key(row);
	if (row->words && node_is_text(item->value, row->words))
		return;
	if (row->words && item->value->kind == NODE_SCALAR && !node_is_null(item->value))
		decode_error(d, item->value, "'" VIEW_FMT ": " VIEW_FMT "' is not supported yet",
			     VIEW_ARG(key), VIEW_ARG(item->value->text));
	else
		decode_error(d, item->key, "'" VIEW_FMT "' is not supported yet", VIEW_ARG(key));
}

static void decode_present(struct decoder *d, const struct row *row, struct node_item *item,
			   void *base)
{
	struct where where = {.up = d->where, .key = row_key(row)};
	if (row->is_action)
		((struct conf_route *)base)->action = (enum conf_action)row->action;
	d->where = &where;
	if (row_is_supported(row))
		row->type->decode(d, row, item->value, base);
	else
		decode_later(d, row, item);
	d->where = where.up;
}

void decode_map(struct decoder *d, const struct row *parent, struct node *map, void *base)
{
	struct node_item *items[ROW_CHILDREN_MAX] = {0};
	for (struct node_item *it = map ? map->items : NULL; it; it = it->next) {
		const struct row *row = find_row(parent, it->key->text);
		size_t i = 0;
		for (const struct row *r = row_first(parent); row && r != row; r = row_next(r))
			i++;
		check(i < ROW_CHILDREN_MAX);
		if (!row)
			report_unknown(d, parent, it->key);
		else
			items[i] = it;
	}
	size_t i = 0;
	for (const struct row *r = row_first(parent); r; r = row_next(r), i++) {
		if (items[i])
			decode_present(d, r, items[i], base);
		else if (map && r->flags & ROW_REQUIRED)
			decode_error(d, map, "'" VIEW_FMT "' is missing%s", VIEW_ARG(row_key(r)),
				     in_where(d));
		else
			decode_absent(d, r, base);
	}
	if (map)
		check_actions(d, parent, map, items);
}
