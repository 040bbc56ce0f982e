/* SPDX-License-Identifier: MIT */
/*
 * The JSON body of a request: only the members a handler knows, of the types it wants, within
 * bounds.
 */
#include "body.h"

#include <jansson.h>

static struct body *body_of(json_t *json)
{
	return (struct body *)(void *)json;
}

static json_t *json_of(const struct body *body)
{
	return (json_t *)(void *)body;
}

static bool is_among(const char *const *keys, const char *key)
{
	for (size_t i = 0; keys[i]; i++)
		if (strcmp(keys[i], key) == 0)
			return true;
	return false;
}

static bool has_only(json_t *json, const char *const *keys, struct str *why)
{
	for (void *it = json_object_iter(json); it; it = json_object_iter_next(json, it)) {
		if (is_among(keys, json_object_iter_key(it)))
			continue;
		str_printf(why, "unknown member '%s' in the body", json_object_iter_key(it));
		return false;
	}
	return true;
}

struct body *body_parse(struct view text, const char *const *keys, struct str *why)
{
	json_error_t error;
	json_t *json =
	    json_loadb(text.len ? text.ptr : "", text.len, JSON_REJECT_DUPLICATES, &error);
	if (!json)
		str_printf(why, "the body is not JSON: line %d: %s", error.line, error.text);
	else if (!json_is_object(json))
		str_text(why, "the body must be a JSON object");
	else if (has_only(json, keys, why))
		return body_of(json);
	json_decref(json);
	return NULL;
}

void body_free(struct body *body)
{
	json_decref(json_of(body));
}

bool body_has(const struct body *body, const char *key)
{
	return json_object_get(json_of(body), key) != NULL;
}

static bool text_of(const json_t *value, struct view *out)
{
	if (!json_is_string(value))
		return false;
	*out = view_of(json_string_value(value), json_string_length(value));
	return true;
}

bool body_text(const struct body *body, const char *key, struct view *out)
{
	return text_of(json_object_get(json_of(body), key), out);
}

bool body_integer(const struct body *body, const char *key, int64_t *out)
{
	const json_t *value = json_object_get(json_of(body), key);
	*out = json_integer_value(value);
	return json_is_integer(value);
}

bool body_pairs(const struct body *body, const char *key,
		bool (*fn)(void *arg, struct view name, struct view value), void *arg)
{
	json_t *pairs = json_object_get(json_of(body), key);
	struct view name, value;
	for (void *it = json_object_iter(pairs); it; it = json_object_iter_next(pairs, it)) {
		if (!text_of(json_object_iter_value(it), &value) ||
		    !fn(arg, view_str(json_object_iter_key(it)), value))
			return false;
	}
	for (size_t i = 0; i < json_array_size(pairs); i++) {
		const json_t *pair = json_array_get(pairs, i);
		if (json_array_size(pair) != 2 || !text_of(json_array_get(pair, 0), &name) ||
		    !text_of(json_array_get(pair, 1), &value) || !fn(arg, name, value))
			return false;
	}
	return !pairs || json_is_object(pairs) || json_is_array(pairs);
}
