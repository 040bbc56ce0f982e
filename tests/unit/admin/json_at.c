/* SPDX-License-Identifier: MIT */
/* Apart from the rest: jansson and our writer share names. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/parse.h"
#include "weir/base/str.h"

const char *json_at(const struct str *text, const char *path);
long json_size(const struct str *text, const char *path);

static json_t *find(json_t *at, const char *path)
{
	while (at && *path) {
		char key[256];
		size_t len = strcspn(path, ".");
		memcpy(key, path, len);
		key[len] = '\0';
		path += len + (path[len] == '.');
		at = json_is_array(at) ? json_array_get(at, strtoul(key, NULL, 10))
				       : json_object_get(at, key);
	}
	return at;
}

const char *json_at(const struct str *text, const char *path)
{
	static char rooms[8][4096];
	static unsigned next;
	char *room = rooms[next++ % 8];
	json_t *root = json_loadb(text->ptr ? text->ptr : "", text->len,
				  JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
	if (!root)
		return "<bad>";
	json_t *value = find(root, path);
	char *dump = NULL;
	if (json_is_string(value))
		dump = strdup(json_string_value(value));
	else if (value)
		dump = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	strncpy(room, dump ? dump : "<none>", sizeof(rooms[0]) - 1);
	free(dump);
	json_decref(root);
	return room;
}

long json_size(const struct str *text, const char *path)
{
	json_t *root = json_loadb(text->ptr ? text->ptr : "", text->len, 0, NULL);
	json_t *value = find(root, path);
	long n = json_is_array(value) ? (long)json_array_size(value) : -1;
	json_decref(root);
	return n;
}
