/* SPDX-License-Identifier: MIT */
/*
 * Included files.  Lists of the main sections (listeners, routes) are joined in the order
 * of the names, maps key by key; what stands in two places is an error that names both.
 */
#include "include.h"

#include <errno.h>
#include <glob.h>
#include <string.h>

#include "env.h"
#include "weir/base/file.h"
#include "yaml.h"

#define FILE_MAX (8u << 20)
#define FILES_MAX 256

struct including {
	struct report *report;
	struct arena *arena;
	struct node *root;
	const char *dir;
	unsigned n_files;
};

static bool complain(struct including *in, const struct node *at, const char *what,
		     const char *file)
{
	report_at(in->report, CONF_ERROR, &at->spot, NULL, "%s: %s", file, what);
	return false;
}

/* ---- merging ---- */

static void conflict(struct including *in, const struct node *key, const struct node *first)
{
	report_at(in->report, CONF_ERROR, &key->spot, NULL, "'" VIEW_FMT "' is also at %s",
		  VIEW_ARG(key->text),
		  report_place(in->report, &key->spot, &first->spot, in->arena));
}

static struct node_item *find_item(struct node *map, struct view key)
{
	for (struct node_item *it = map->items; it; it = it->next)
		if (view_eq(it->key->text, key))
			return it;
	return NULL;
}

/* Pools are whole: half of one here and half there would be hard to find. */
static void merge_map(struct including *in, struct node *into, struct node *from, bool whole)
{
	for (struct node_item *it = from->items; it; it = it->next) {
		struct node_item *there = find_item(into, it->key->text);
		if (!there)
			node_put(in->arena, into, it->key, it->value);
		else if (!whole && there->value->kind == NODE_MAP && it->value->kind == NODE_MAP)
			merge_map(in, there->value, it->value,
				  view_eq(it->key->text, VIEW("pools")));
		else if (into == in->root && there->value->kind == NODE_LIST &&
			 it->value->kind == NODE_LIST)
			for (struct node_item *row = it->value->items; row; row = row->next)
				node_add(in->arena, there->value, row->value);
		else
			conflict(in, it->key, there->key);
	}
}

/* ---- files ---- */

static bool merge_text(struct including *in, struct view text)
{
	struct node *tree = yaml_read(in->report, in->arena, text);
	if (!tree)
		return in->report->diags->n_errors == 0; /* an empty file adds nothing */
	const struct node_item *more =
	    tree->kind == NODE_MAP ? find_item(tree, VIEW("include")) : NULL;
	if (tree->kind != NODE_MAP)
		report_at(in->report, CONF_ERROR, &tree->spot, NULL,
			  "an included file is a map of sections");
	else if (more)
		report_at(in->report, CONF_ERROR, &more->key->spot, NULL,
			  "an included file includes no others");
	else
		merge_map(in, in->root, tree, false);
	return true;
}

static bool include_file(struct including *in, const struct node *at, const char *path)
{
	struct str text = STR_INIT, reason = STR_INIT;
	struct source *source = arena_zalloc(in->arena, sizeof(*source));
	bool ok = false;
	*source = (struct source){.file = arena_strdup(in->arena, path), .index = ++in->n_files};
	if (in->n_files > FILES_MAX) {
		complain(in, at, "too many files are included", path);
	} else if (file_read(path, FILE_MAX, 0, &text, &reason) != ERR_OK) {
		complain(in, at, str_as_view(&reason).ptr, path);
	} else {
		/* its lines are shown as long as the tree is there */
		struct view copy = arena_view(in->arena, str_as_view(&text));
		in->report->source = source;
		ok = merge_text(in, copy);
		in->report->source = NULL;
	}
	str_fini(&text);
	str_fini(&reason);
	return ok;
}

static bool include_pattern(struct including *in, const struct node *at)
{
	const char *pattern = arena_view(in->arena, at->text).ptr;
	if (pattern[0] != '/')
		pattern = arena_printf(in->arena, "%s/%s", in->dir, pattern);
	glob_t found;
	int failed = glob(pattern, 0, NULL, &found);
	bool ok = true;
	if (failed == GLOB_NOMATCH)
		return strpbrk(pattern, "*?[") || complain(in, at, strerror(ENOENT), pattern);
	if (failed)
		return complain(in, at, "the directory cannot be read", pattern);
	for (size_t i = 0; i < found.gl_pathc; i++)
		ok = include_file(in, at, found.gl_pathv[i]) && ok;
	globfree(&found);
	return ok;
}

bool include_all(struct env *env, struct node *root, const char *dir)
{
	struct node *list = root->kind == NODE_MAP ? node_get(root, VIEW("include")) : NULL;
	struct including in = {
	    .report = env->report, .arena = env->arena, .root = root, .dir = dir};
	bool ok = true;
	if (!list)
		return true;
	env_expand(env, list);
	if (list->kind == NODE_SCALAR)
		return include_pattern(&in, list);
	for (struct node_item *it = list->kind == NODE_LIST ? list->items : NULL; it; it = it->next)
		if (it->value->kind == NODE_SCALAR)
			ok = include_pattern(&in, it->value) && ok;
	return ok;
}
