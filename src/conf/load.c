/* SPDX-License-Identifier: MIT */
/*
 * From a file, a text or the command line to a configuration.  All three give
 * a tree of nodes, and everything after that is the same.
 */
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "decode.h"
#include "env.h"
#include "finish.h"
#include "include.h"
#include "row.h"
#include "text.h"
#include "type.h"
#include "weir/base/check.h"
#include "weir/base/file.h"
#include "weir/conf/conf.h"
#include "yaml.h"

#define FILE_MAX (8u << 20)
/* Who writes the first configuration into a pipe, as a shell does, has so long. */
#define PIPE_WAIT_MS 10000

/* Absolute: relative files keep their meaning wherever the process goes. */
static const char *dir_of(struct arena *arena, const char *path)
{
	const char *slash = strrchr(path, '/');
	struct view dir = slash ? view_of(path, (size_t)(slash - path)) : VIEW("");
	char cwd[PATH_MAX];
	if (path[0] == '/')
		return dir.len ? arena_view(arena, dir).ptr : "/";
	if (!getcwd(cwd, sizeof(cwd)))
		return dir.len ? arena_view(arena, dir).ptr : ".";
	const char *between = cwd[1] && dir.len ? "/" : "";
	return arena_printf(arena, "%s%s" VIEW_FMT, cwd, between, VIEW_ARG(dir));
}

static void index_pools(struct decoder *d, const struct node *root)
{
	const struct node *pools = node_get(root, VIEW("pools"));
	if (!pools || pools->kind != NODE_MAP)
		return;
	for (const struct node_item *it = pools->items; it; it = it->next)
		names_put(&d->pools, it->key->text, it->key);
}

static void decoder_init(struct decoder *d, const struct report *report, struct arena *scratch)
{
	*d = (struct decoder){.report = *report, .arena = arena_new(), .scratch = scratch};
	d->conf = arena_zalloc(d->arena, sizeof(*d->conf));
	d->conf->arena = d->arena;
	d->conf->path = arena_view(d->arena, view_str(report->diags->file));
	d->dir = dir_of(scratch, report->diags->file);
	d->defaults = arena_array(scratch, row_count(), sizeof(*d->defaults));
	names_init(&d->pools, scratch);
	names_init(&d->listeners, scratch);
	names_init(&d->binds, scratch);
	names_init(&d->routes, scratch);
	names_init(&d->backends, scratch);
}

static void take_secrets(struct decoder *d, const struct conf_views *secrets)
{
	struct conf_views *out = &d->conf->secrets;
	out->rows = arena_array(d->arena, secrets->n, sizeof(*out->rows));
	for (size_t i = 0; i < secrets->n; i++)
		out->rows[out->n++] = arena_view(d->arena, secrets->rows[i]);
}

/* `env` may be NULL.  Takes over nothing; `scratch` holds the tree and dies with the caller. */
static struct conf *conf_decode(struct report *report, struct arena *scratch, struct node *root,
				struct env *env)
{
	struct decoder d;
	if (root->kind != NODE_MAP) {
		report_at(report, CONF_ERROR, &root->spot, NULL,
			  "a configuration is a map; 'listeners' and 'pools' are required");
		return NULL;
	}
	if (env)
		env_expand(env, root);
	decoder_init(&d, report, scratch);
	if (env)
		take_secrets(&d, &env->secrets);
	index_pools(&d, root);
	decode_map(&d, NULL, root, d.conf);
	finish_conf(&d, root);
	*report = d.report;
	if (!report->diags->n_errors)
		return d.conf;
	arena_free(d.arena);
	return NULL;
}

struct conf *conf_load_text(struct view text, const char *name, struct conf_diags *diags)
{
	struct arena *scratch = arena_new();
	struct report report;
	struct conf *conf = NULL;
	report_init(&report, diags, text, name);
	if (text.len > FILE_MAX) {
		report_at(&report, CONF_ERROR, NULL, NULL, "larger than 8 MiB");
	} else {
		struct node *root = yaml_read(&report, scratch, text);
		struct env env = {.report = &report, .arena = scratch};
		report.secrets = &env.secrets;
		if (!root && !diags->n_errors)
			report_at(&report, CONF_ERROR, NULL, NULL,
				  "the file is empty; 'listeners' and 'pools' are required");
		if (root && include_all(&env, root, dir_of(scratch, name)))
			conf = conf_decode(&report, scratch, root, &env);
	}
	report_sort(&report);
	if (diags->n_errors && conf) { /* of the tree: duplicate keys */
		conf_free(conf);
		conf = NULL;
	}
	arena_free(scratch);
	return conf;
}

/* ---- members ---- */

static void decode_members(struct report *report, struct arena *scratch, struct node *root,
			   struct conf_members *out)
{
	struct decoder d;
	struct conf_pool pool = {.name = VIEW_NONE};
	const struct row *row = row_find("pools.*.backends");
	if (root->kind == NODE_MAP) { /* one alone */
		struct node *list = node_list(scratch);
		list->spot = root->spot;
		node_add(scratch, list, root);
		root = list;
	}
	decoder_init(&d, report, scratch);
	if (root->kind == NODE_LIST)
		row->type->decode(&d, row, root, &pool);
	else
		decode_error(&d, root,
			     "is no list of members, and none such as "
			     "{\"address\": \"10.0.0.1:8000\"}");
	struct node_item *it = root->kind == NODE_LIST ? root->items : NULL;
	for (size_t i = 0; i < pool.n_listed; i++, it = it->next)
		if (!pool.listed[i].address.len && !d.report.diags->n_errors)
			decode_error(&d, it->value,
				     "a member has an address; '" VIEW_FMT "' is a name",
				     VIEW_ARG(pool.listed[i].name));
	*report = d.report;
	*out = (struct conf_members){d.arena, pool.listed, pool.n_listed};
}

bool conf_members_parse(struct view text, const char *name, struct conf_members *out,
			struct conf_diags *diags)
{
	struct arena *scratch = arena_new();
	struct report report;
	*out = (struct conf_members){.arena = NULL};
	report_init(&report, diags, text, name);
	struct node *root = text.len <= FILE_MAX ? yaml_read(&report, scratch, text) : NULL;
	if (text.len > FILE_MAX)
		report_at(&report, CONF_ERROR, NULL, NULL, "larger than 8 MiB");
	else if (root)
		decode_members(&report, scratch, root, out);
	else if (!diags->n_errors)
		report_at(&report, CONF_ERROR, NULL, NULL,
			  "it is empty; [] is a list without members");
	report_sort(&report);
	if (diags->n_errors)
		conf_members_free(out);
	arena_free(scratch);
	return !diags->n_errors;
}

void conf_members_free(struct conf_members *members)
{
	if (members->arena)
		arena_free(members->arena);
	*members = (struct conf_members){.arena = NULL};
}

static struct conf *load(const char *path, int wait_ms, struct conf_diags *diags)
{
	struct str text = STR_INIT, reason = STR_INIT;
	struct conf *conf = NULL;
	if (file_read(path, FILE_MAX, wait_ms, &text, &reason) == ERR_OK) {
		conf = conf_load_text(str_as_view(&text), path, diags);
	} else {
		struct report report;
		report_init(&report, diags, VIEW(""), path);
		report_at(&report, CONF_ERROR, NULL, NULL, "cannot be read: " VIEW_FMT,
			  VIEW_ARG(str_as_view(&reason)));
	}
	str_fini(&text);
	str_fini(&reason);
	return conf;
}

struct conf *conf_load(const char *path, struct conf_diags *diags)
{
	return load(path, 0, diags);
}

struct conf *conf_load_first(const char *path, struct conf_diags *diags)
{
	return load(path, PIPE_WAIT_MS, diags);
}

/* ---- command line ---- */

static struct node *option_node(struct arena *arena, const char *option, struct view text)
{
	struct node *node = node_scalar(arena, NODE_TEXT, text);
	node->quoted = true;
	node->spot.option = option;
	return node;
}

static void put(struct arena *arena, struct node *map, const char *key, struct node *value)
{
	node_put(arena, map, option_node(arena, value->spot.option, view_str(key)), value);
}

static struct node *container(struct node *node, const char *option)
{
	node->spot.option = option;
	return node;
}

static struct node *listeners_node(struct arena *arena, const struct conf_args *args)
{
	struct node *list = container(node_list(arena), "--listen");
	for (size_t i = 0; i < args->listen.n; i++) {
		struct node *listener = container(node_map(arena), "--listen");
		put(arena, listener, "bind", option_node(arena, "--listen", args->listen.rows[i]));
		node_add(arena, list, listener);
	}
	return list;
}

static struct node *pools_node(struct arena *arena, const struct conf_args *args)
{
	struct node *pools = container(node_map(arena), "--backend");
	struct node *pool = container(node_map(arena), "--backend");
	struct node *list = container(node_list(arena), "--backend");
	for (size_t i = 0; i < args->backend.n; i++)
		node_add(arena, list, option_node(arena, "--backend", args->backend.rows[i]));
	put(arena, pool, "backends", list);
	if (args->balance.len)
		put(arena, pool, "balance", option_node(arena, "--balance", args->balance));
	put(arena, pools, "app", pool);
	return pools;
}

static struct node *args_node(struct arena *arena, const struct conf_args *args)
{
	struct node *root = node_map(arena), *status = node_map(arena);
	if (args->status_bind.len)
		put(arena, status, "bind", option_node(arena, "--status-bind", args->status_bind));
	if (args->status_socket.len)
		put(arena, status, "socket",
		    option_node(arena, "--status-socket", args->status_socket));
	if (status->n)
		put(arena, root, "status", status);
	put(arena, root, "listeners", listeners_node(arena, args));
	put(arena, root, "pools", pools_node(arena, args));
	return root;
}

static bool check_list(struct report *report, const struct conf_views *views, const char *option)
{
	bool ok = views->n > 0;
	if (!ok)
		report_at(report, CONF_ERROR, NULL, NULL, "%s is missing", option);
	for (size_t i = 0; i < views->n; i++)
		ok = text_check(report, views->rows[i], option) && ok;
	return ok;
}

/* Bytes that no file could hold are refused: what is dumped has to load again. */
static bool check_args(struct report *report, const struct conf_args *args)
{
	bool ok = check_list(report, &args->listen, "--listen");
	ok = check_list(report, &args->backend, "--backend") && ok;
	ok = text_check(report, args->balance, "--balance") && ok;
	ok = text_check(report, args->status_bind, "--status-bind") && ok;
	return text_check(report, args->status_socket, "--status-socket") && ok;
}

struct conf *conf_from_args(const struct conf_args *args, struct conf_diags *diags)
{
	struct arena *scratch = arena_new();
	struct report report;
	struct conf *conf = NULL;
	report_init(&report, diags, VIEW(""), "command line");
	if (check_args(&report, args))
		conf = conf_decode(&report, scratch, args_node(scratch, args), NULL);
	arena_free(scratch);
	return conf;
}

void conf_free(struct conf *conf)
{
	if (conf)
		arena_free(conf->arena);
}
