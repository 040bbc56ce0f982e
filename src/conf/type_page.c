/* SPDX-License-Identifier: MIT */
/* Files that are sent as they are: read while the configuration is loaded. */
#include "type.h"
#include "weir/base/file.h"
#include "weir/base/parse.h"

/* A page with variables is put together in one piece. */
#define TEMPLATE_MAX (32 * 1024)

/*
 * Files have braces of their own (styles, scripts): only those around a name that we know
 * are variables, the others are doubled, which is how a template says a brace.
 */
static void mark_variables(const struct template_rules *rules, struct view text, struct str *out)
{
	while (text.len) {
		struct template_error error;
		ptrdiff_t open = view_chr(text, '{');
		size_t before = open < 0 ? text.len : (size_t)open;
		str_view(out, view_head(text, before));
		text = view_skip(text, before);
		if (!text.len)
			break;
		ptrdiff_t close = view_chr(view_head(text, 256), '}');
		struct view name = close < 2 ? VIEW_NONE : view_of(text.ptr + 1, (size_t)close - 1);
		bool letter =
		    name.len && char_lower(name.ptr[0]) >= 'a' && char_lower(name.ptr[0]) <= 'z';
		if (letter && variable_find(name, rules, &error)) {
			str_view(out, view_head(text, name.len + 2));
			text = view_skip(text, name.len + 2);
			continue;
		}
		str_text(out, "{{");
		text = view_skip(text, 1);
	}
}

static bool read_variables(struct decoder *d, const struct row *row, struct node *node,
			   struct conf_page *page)
{
	const struct template_rules rules = {
	    .arena = d->arena, .variables = &d->conf->variables, .until = row->type->until};
	struct template_error error = {0};
	struct conf_text text;
	struct str marked = STR_INIT;
	mark_variables(&rules, page->bytes, &marked);
	bool ok = !marked.overflow && template_parse(str_as_view(&marked), &rules, &text, &error);
	str_fini(&marked);
	if (!ok)
		decode_error(d, node, "'" VIEW_FMT "': %s", VIEW_ARG(page->file), error.message);
	else
		page->template = text.template;
	if (ok && text.template && page->bytes.len > TEMPLATE_MAX) {
		decode_error(d, node, "'" VIEW_FMT "' has variables; then it has at most 32 KiB",
			     VIEW_ARG(page->file));
		ok = false;
	}
	return ok;
}

static void page_file_decode(struct decoder *d, const struct row *row, struct node *node,
			     void *base)
{
	struct str text = STR_INIT, reason = STR_INIT;
	if (!want_scalar(d, row, node))
		return;
	struct conf_page page = {.file = decode_path(d, node->text)};
	warn_of_shell(d, node, node->text);
	bool ok = file_read(page.file.ptr, row->max, 0, &text, &reason) == ERR_OK;
	if (!ok)
		decode_error(d, node, "cannot read '" VIEW_FMT "': " VIEW_FMT, VIEW_ARG(page.file),
			     VIEW_ARG(str_as_view(&reason)));
	page.bytes = ok ? arena_view(d->arena, str_as_view(&text)) : VIEW_NONE;
	if (ok && read_variables(d, row, node, &page))
		*(struct conf_page *)member_of(row, base) = page;
	str_fini(&text);
	str_fini(&reason);
}

static struct node *page_file_encode(struct encoder *e, const struct row *row, const void *base)
{
	const struct conf_page *page = member_in(row, base);
	return page->file.ptr ? node_scalar(e->arena, NODE_TEXT, page->file) : NULL;
}

static void page_file_schema(struct json *j, const struct row *row)
{
	(void)row;
	schema_pattern(j, "^[^\\u0000-\\u001f\\u007f]+$");
}

const struct conf_type conf_type_page_file = {
    .syntax = "a file name",
    .decode = page_file_decode,
    .encode = page_file_encode,
    .schema = page_file_schema,
    .until = VARIABLE_ROUTE,
};

const struct conf_type conf_type_error_file = {
    .syntax = "a file name",
    .decode = page_file_decode,
    .encode = page_file_encode,
    .schema = page_file_schema,
    .until = VARIABLE_ANSWER,
};
