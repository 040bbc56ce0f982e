/* SPDX-License-Identifier: MIT */
/*
 * What only pins need: the name of a cookie, and a file of secrets.  The file is
 * read while the configuration is loaded, so that what is wrong with it is
 * reported like any other mistake, and a reload brings new keys.
 */
#include <string.h>

#include "http.h"
#include "type.h"

#include "weir/base/file.h"

#define KEYS_MAX 2
#define KEY_MIN_LEN 16
#define KEY_FILE_MAX 4096

/* ---- names of cookies ---- */

static void cookie_name_decode(struct decoder *d, const struct row *row, struct node *node,
			       void *base)
{
	if (!want_scalar(d, row, node))
		return;
	if (node->text.len > 64 || !http_is_token(node->text))
		decode_error(
		    d, node,
		    "the name of a cookie has 1 to 64 letters, digits or !#$%%&'*+-.^_`|~");
	else
		*(struct view *)member_of(row, base) = arena_view(d->arena, node->text);
}

static struct node *view_encode(struct encoder *e, const struct row *row, const void *base)
{
	struct view v = *(const struct view *)member_in(row, base);
	return v.ptr ? node_scalar(e->arena, NODE_TEXT, v) : NULL;
}

static void cookie_name_schema(struct json *j, const struct row *row)
{
	(void)row;
	schema_pattern(j, "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$");
}

const struct conf_type conf_type_cookie_name = {
    .syntax = "the name of a cookie",
    .decode = cookie_name_decode,
    .encode = view_encode,
    .schema = cookie_name_schema,
};

/* ---- files of secrets ---- */

static void take_secrets(struct decoder *d, const struct node *node, struct view text,
			 struct conf_views *keys)
{
	keys->rows = arena_array(d->arena, KEYS_MAX, sizeof(*keys->rows));
	keys->n = 0;
	while (text.len) {
		ptrdiff_t end = view_chr(text, '\n');
		size_t n = end < 0 ? text.len : (size_t)end;
		struct view line = view_head(text, n);
		text = view_skip(text, n + 1);
		if (line.len && line.ptr[line.len - 1] == '\r')
			line.len--;
		line = view_trim(line);
		if (!line.len || line.ptr[0] == '#')
			continue;
		if (line.len < KEY_MIN_LEN) {
			decode_error(d, node, "a secret in it has %zu bytes; it needs %d or more",
				     line.len, KEY_MIN_LEN);
			return;
		}
		if (keys->n == KEYS_MAX) {
			decode_error(d, node, "more than %d secrets are in it", KEYS_MAX);
			return;
		}
		keys->rows[keys->n++] = arena_view(d->arena, line);
	}
	if (!keys->n)
		decode_error(d, node, "no secret is in it; 'openssl rand -hex 32' makes one");
}

static void key_file_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	struct str text = STR_INIT, reason = STR_INIT;
	if (!want_scalar(d, row, node))
		return;
	struct view path = decode_path(d, node->text);
	*(struct view *)member_of(row, base) = path;
	if (file_read(path.ptr, KEY_FILE_MAX, 0, &text, &reason))
		decode_error(d, node, "cannot read '" VIEW_FMT "': " VIEW_FMT, VIEW_ARG(path),
			     VIEW_ARG(str_as_view(&reason)));
	else
		take_secrets(d, node, str_as_view(&text),
			     (struct conf_views *)(void *)((char *)base + row->aux));
	if (text.ptr)
		explicit_bzero(text.ptr, text.cap);
	str_fini(&text);
	str_fini(&reason);
}

static void key_file_schema(struct json *j, const struct row *row)
{
	(void)row;
	schema_pattern(j, "^[^\\u0000-\\u001f\\u007f]+$");
}

const struct conf_type conf_type_key_file = {
    .syntax = "a file name",
    .decode = key_file_decode,
    .encode = view_encode,
    .schema = key_file_schema,
};
