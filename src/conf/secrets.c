/* SPDX-License-Identifier: MIT */
/* Secrets out of what is shown: each value that holds one becomes ***. */
#include "secrets.h"

#include "weir/base/str.h"

/* A shorter secret is hidden where it is a whole value: it would be found in other words. */
#define PART_MIN 4

static struct view replace(struct view text, struct view what, const char *by, struct arena *arena)
{
	struct str out = STR_INIT;
	const char *at = memmem(text.ptr, text.len, what.ptr, what.len);
	if (!at)
		return text;
	for (; at; at = memmem(text.ptr, text.len, what.ptr, what.len)) {
		size_t before = (size_t)(at - text.ptr);
		str_view(&out, view_head(text, before));
		str_text(&out, by);
		text = view_skip(text, before + what.len);
	}
	str_view(&out, text);
	struct view v = arena_view(arena, str_as_view(&out));
	str_fini(&out);
	return v;
}

static struct view hide_in(struct view text, struct view secret, struct arena *arena)
{
	if (view_eq(text, secret))
		return VIEW("***");
	return secret.len < PART_MIN ? text : replace(text, secret, "***", arena);
}

struct view secrets_hide_said(const struct conf_views *secrets, struct arena *arena,
			      struct view text)
{
	for (size_t i = 0; i < secrets->n; i++) {
		struct view secret = secrets->rows[i];
		if (secret.len >= PART_MIN)
			text = replace(text, secret, "***", arena);
		else
			text = replace(
			    text, view_str(arena_printf(arena, "'" VIEW_FMT "'", VIEW_ARG(secret))),
			    "'***'", arena);
	}
	return text;
}

struct view secrets_hide_quoted(const struct conf_views *secrets, struct arena *arena,
				struct view text)
{
	text = secrets_hide_said(secrets, arena, text);
	ptrdiff_t first = view_chr(text, '\'');
	const char *last = text.len ? memrchr(text.ptr, '\'', text.len) : NULL;
	if (first < 0 || last == text.ptr + first)
		return text;
	return view_str(arena_printf(arena, VIEW_FMT "'***" VIEW_FMT,
				     VIEW_ARG(view_head(text, (size_t)first)),
				     VIEW_ARG(view_skip(text, (size_t)(last - text.ptr)))));
}

void secrets_hide(const struct conf_views *secrets, struct arena *arena, struct node *node)
{
	for (size_t i = 0; node->kind == NODE_SCALAR && node->text.len && i < secrets->n; i++)
		node->text = hide_in(node->text, secrets->rows[i], arena);
	for (struct node_item *it = node->kind == NODE_SCALAR ? NULL : node->items; it;
	     it = it->next)
		secrets_hide(secrets, arena, it->value);
}
