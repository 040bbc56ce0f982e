/* SPDX-License-Identifier: MIT */
/* Shared by etcd, Consul and Kubernetes. */
#include "ask.h"

#include "weir/base/file.h"
#include "weir/base/parse.h"

#define SECRET_MAX (64 * 1024)

const char *json_text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? text : "";
}

uint64_t json_u64_of(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	uint64_t n = 0;
	if (json_is_integer(value) && json_integer_value(value) > 0)
		return (uint64_t)json_integer_value(value);
	if (json_is_string(value) && !parse_u64(view_str(json_string_value(value)), &n))
		return 0;
	return n;
}

bool ask_secret(struct view path, struct str *out, struct str *why)
{
	struct str reason = STR_INIT;
	bool ok = file_read(path.ptr, SECRET_MAX, 0, out, &reason) == ERR_OK;
	if (!ok)
		str_printf(why, VIEW_FMT ": cannot be read: " VIEW_FMT, VIEW_ARG(path),
			   VIEW_ARG(str_as_view(&reason)));
	while (out->len && (unsigned char)out->ptr[out->len - 1] <= ' ')
		out->ptr[--out->len] = '\0';
	for (size_t i = 0; ok && i < out->len; i++)
		if ((unsigned char)out->ptr[i] < ' ' || out->ptr[i] == 0x7f) {
			str_printf(why, VIEW_FMT ": is no single line", VIEW_ARG(path));
			ok = false;
		}
	str_fini(&reason);
	return ok;
}

void ask_fail(struct source *s, const char *what, const struct fetch_answer *a)
{
	if (a->end != FETCH_OK)
		source_fail(s, "%s: %s", what, a->why);
	else
		source_fail(s, "%s: status %u: %.100s", what, a->status,
			    a->body.len ? a->body.ptr : "");
}

bool lines_feed(struct lines *l, struct view bytes, bool (*line)(void *arg, struct view line),
		void *arg)
{
	while (bytes.len) {
		ptrdiff_t end = view_chr(bytes, '\n');
		size_t n = end < 0 ? bytes.len : (size_t)end;
		str_put(&l->text, bytes.ptr, n);
		bytes = view_skip(bytes, end < 0 ? n : n + 1);
		if (l->text.overflow || l->text.len > ASK_LINE_MAX)
			return false;
		if (end < 0)
			break;
		struct view whole = str_as_view(&l->text);
		if (whole.len && !line(arg, whole))
			return true;
		str_reset(&l->text);
	}
	return true;
}
