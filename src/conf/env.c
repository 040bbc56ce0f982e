/* SPDX-License-Identifier: MIT */
/* Values out of the environment. */
#include "env.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"
#include "weir/base/file.h"
#include "weir/base/yaml.h"

#define VALUE_MAX (64u << 10)

#define SECRET_MARK VIEW("secret:")

struct expanding {
	struct env *env;
	struct node *node;
	struct str out;
};

/* ---- one name ---- */

/* The longest first: a part of one may be another. */
static void add_secret(struct env *env, struct view value)
{
	struct conf_views *secrets = &env->secrets;
	struct view *rows = arena_array(env->arena, secrets->n + 1, sizeof(*rows));
	size_t at = 0;
	if (!value.len)
		return;
	for (size_t i = 0; i < secrets->n; i++) {
		at += secrets->rows[i].len >= value.len;
		rows[i + (i >= at)] = secrets->rows[i];
	}
	rows[at] = arena_view(env->arena, value);
	secrets->rows = rows;
	secrets->n++;
}

static bool complain(struct expanding *e, size_t offset, size_t len, const char *name,
		     const char *what)
{
	struct spot spot = report_inside(e->env->report, e->node, offset, len);
	report_at(e->env->report, CONF_ERROR, &spot, NULL, "${%s}: %s", name, what);
	return false;
}

/* NAME, or else the file that NAME_FILE names.  NULL: neither is there. */
static const char *look_up(struct expanding *e, const char *name, bool *secret, struct str *reason)
{
	const char *value = getenv(name);
	const char *file = value ? NULL : getenv(arena_printf(e->env->arena, "%s_FILE", name));
	struct str text = STR_INIT;
	if (!file)
		return value;
	*secret = true;
	if (file_read(file, VALUE_MAX, 0, &text, reason) == ERR_OK) {
		struct view v = str_as_view(&text);
		while (v.len && (v.ptr[v.len - 1] == '\n' || v.ptr[v.len - 1] == '\r'))
			v.len--;
		value = arena_view(e->env->arena, v).ptr;
	}
	str_fini(&text);
	return value;
}

/* What a file of YAML could hold: a dump has to load again. */
static bool is_text(struct view v)
{
	while (v.len) {
		uint32_t code;
		unsigned len = text_char(v, &code);
		if (!len || (!yaml_is_printable(code) && code != '\n' && code != '\r'))
			return false;
		v = view_skip(v, len);
	}
	return true;
}

/* `inside` is what stands between the braces. */
static bool put_value(struct expanding *e, struct view inside, size_t offset)
{
	bool secret = view_starts(inside, SECRET_MARK);
	struct view name = secret ? view_skip(inside, SECRET_MARK.len) : inside;
	const char *dash = memmem(name.ptr, name.len, ":-", 2);
	struct view fallback = dash ? view_skip(name, (size_t)(dash - name.ptr) + 2) : VIEW_NONE;
	struct str reason = STR_INIT;
	name = dash ? view_head(name, (size_t)(dash - name.ptr)) : name;
	const char *text = arena_view(e->env->arena, name).ptr;
	const char *value = look_up(e, text, &secret, &reason);
	struct view v = value && *value ? view_str(value) : dash ? fallback : view_str(value);
	bool ok = true;
	if (reason.len)
		ok = complain(e, offset, inside.len + 3, text, str_as_view(&reason).ptr);
	else if (!value && !dash)
		ok = complain(e, offset, inside.len + 3, text,
			      "the environment has neither it nor a file of that name with _FILE; "
			      "${NAME:-default} has a default, and $${ is no variable");
	else if (!is_text(v))
		ok = complain(e, offset, inside.len + 3, text,
			      "its value is no UTF-8, or has control characters");
	if (ok && secret) {
		add_secret(e->env, v);
		e->node->spot.secret = true;
	}
	str_view(&e->out, ok ? v : VIEW_NONE);
	str_fini(&reason);
	return ok;
}

/* ---- one text ---- */

static bool is_name(struct view inside)
{
	struct view name =
	    view_starts(inside, SECRET_MARK) ? view_skip(inside, SECRET_MARK.len) : inside;
	size_t n = 0;
	while (n < name.len && (char_is_digit(name.ptr[n]) || name.ptr[n] == '_' ||
				(char_lower(name.ptr[n]) >= 'a' && char_lower(name.ptr[n]) <= 'z')))
		n++;
	struct view rest = view_skip(name, n);
	return n && !char_is_digit(name.ptr[0]) && (!rest.len || view_starts(rest, VIEW(":-")));
}

static void expand_text(struct expanding *e)
{
	struct view text = e->node->text;
	size_t i = 0;
	while (i < text.len) {
		struct view rest = view_skip(text, i);
		ptrdiff_t close = view_starts(rest, VIEW("${")) ? view_chr(rest, '}') : -1;
		struct view inside =
		    close < 0 ? VIEW_NONE : view_of(rest.ptr + 2, (size_t)close - 2);
		if (view_starts(rest, VIEW("$${"))) {
			str_text(&e->out, "${");
			i += 3;
		} else if (close >= 0 && is_name(inside)) {
			e->node->unknown |= !put_value(e, inside, i);
			i += (size_t)close + 1;
		} else {
			str_char(&e->out, text.ptr[i++]);
		}
	}
}

static void expand_scalar(struct env *env, struct node *node)
{
	struct expanding e = {.env = env, .node = node, .out = STR_INIT};
	if (node->expanded || !node->text.len || !memmem(node->text.ptr, node->text.len, "${", 2))
		return;
	expand_text(&e);
	node->expanded = true;
	node->text = arena_view(env->arena, str_as_view(&e.out));
	node->quoted = true;  /* an empty value is a text, not a null */
	node->spot.width = 1; /* what is inside of it stands nowhere */
	str_fini(&e.out);
}

static void expand_node(struct env *env, struct node *node, const struct node *keep)
{
	if (node->kind == NODE_SCALAR && node != keep)
		expand_scalar(env, node);
	if (node->kind != NODE_SCALAR && node->expanded)
		return;
	node->expanded = true;
	for (struct node_item *it = node->items; it; it = it->next)
		expand_node(env, it->value, keep);
}

void env_expand(struct env *env, struct node *root)
{
	struct node *routes = node_get(root, VIEW("routes"));
	for (struct node_item *it = routes ? routes->items : NULL; it; it = it->next) {
		struct node *rewrite = node_get(it->value, VIEW("rewrite"));
		expand_node(env, it->value, node_get(rewrite, VIEW("path")));
	}
	expand_node(env, root, NULL);
}

/* ---- what is written ---- */

static struct view escape_text(struct view text, struct arena *arena)
{
	struct str out = STR_INIT;
	for (size_t i = 0; i < text.len; i++) {
		if (view_starts(view_skip(text, i), VIEW("${")))
			str_char(&out, '$');
		str_char(&out, text.ptr[i]);
	}
	struct view v = arena_view(arena, str_as_view(&out));
	str_fini(&out);
	return v;
}

static void escape_node(struct node *node, struct arena *arena)
{
	if (node->kind == NODE_SCALAR && node->text.len &&
	    memmem(node->text.ptr, node->text.len, "${", 2))
		node->text = escape_text(node->text, arena);
	for (struct node_item *it = node->kind == NODE_SCALAR ? NULL : node->items; it;
	     it = it->next)
		escape_node(it->value, arena);
}

void env_escape(struct arena *arena, struct node *root)
{
	struct node *routes = node_get(root, VIEW("routes"));
	struct view *paths = arena_array(arena, routes ? routes->n : 0, sizeof(*paths));
	size_t n = 0;
	for (struct node_item *it = routes ? routes->items : NULL; it; it = it->next) {
		struct node *path = node_get(node_get(it->value, VIEW("rewrite")), VIEW("path"));
		paths[n++] = path ? path->text : VIEW_NONE;
	}
	escape_node(root, arena);
	n = 0;
	for (struct node_item *it = routes ? routes->items : NULL; it; it = it->next, n++) {
		struct node *path = node_get(node_get(it->value, VIEW("rewrite")), VIEW("path"));
		if (path)
			path->text = paths[n];
	}
}
