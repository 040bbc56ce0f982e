/* SPDX-License-Identifier: MIT */
/* Files that are sent as they are: read while the configuration is loaded. */
#include "type.h"
#include "weir/base/file.h"
#include "weir/base/parse.h"

static void page_file_decode(struct decoder *d, const struct row *row, struct node *node,
			     void *base)
{
	struct str text = STR_INIT, reason = STR_INIT;
	struct conf_page *page = member_of(row, base);
	if (!want_scalar(d, row, node))
		return;
	struct view path = decode_path(d, node->text);
	warn_of_shell(d, node, node->text);
	if (file_read(path.ptr, row->max, 0, &text, &reason))
		decode_error(d, node, "cannot read '" VIEW_FMT "': " VIEW_FMT, VIEW_ARG(path),
			     VIEW_ARG(str_as_view(&reason)));
	else
		*page = (struct conf_page){path, arena_view(d->arena, str_as_view(&text))};
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
};
