/* SPDX-License-Identifier: MIT */
/*
 * Building the table: each route is entered once for each of its hosts, in file
 * order.  Look-ups during the build use the same edges as requests do.
 */
#include "table.h"

#include <stdio.h>
#include <stdlib.h>

#include "condition.h"
#include "normalise.h"
#include "weir/base/check.h"

/* Grows an array at reload time; no memory there ends the process, as arenas do. */
static void *grow(void *ptr, uint32_t *cap, size_t size)
{
	uint32_t n = *cap ? *cap * 2 : 64;
	check(n > *cap);
	ptr = realloc(ptr, n * size);
	check(ptr);
	*cap = n;
	return ptr;
}

static uint32_t node_add(struct route_table *table)
{
	if (table->n_nodes == table->nodes_cap)
		table->nodes = grow(table->nodes, &table->nodes_cap, sizeof(*table->nodes));
	table->nodes[table->n_nodes] = (struct node){.paths = NODE_NONE};
	return table->n_nodes++;
}

/* At most half full, so that runs stay short. */
static void edges_grow(struct route_table *table)
{
	struct edge *old = table->edges;
	uint32_t old_cap = table->edges_cap;
	table->edges_cap = old_cap ? old_cap * 2 : 64;
	table->edges = calloc(table->edges_cap, sizeof(*table->edges));
	check(table->edges);
	for (uint32_t i = 0; i < old_cap; i++)
		if (old[i].to != NODE_NONE)
			*edge_slot(table, old[i].hash, old[i].from, old[i].label) = old[i];
	free(old);
}

/* The node behind an edge, made when it is not there; `label` must outlive the table. */
static uint32_t edge_make(struct route_table *table, uint32_t from, struct view label)
{
	if (2 * (table->n_edges + 1) > table->edges_cap)
		edges_grow(table);
	uint64_t hash = edge_hash(table, from, label);
	struct edge *edge = edge_slot(table, hash, from, label);
	if (edge->to != NODE_NONE)
		return edge->to;
	*edge = (struct edge){.hash = hash, .label = label, .from = from, .to = node_add(table)};
	table->n_edges++;
	table->nodes[from].n_edges++;
	return edge->to;
}

static bool is_plain(const struct route_table *table, uint32_t index)
{
	const struct conf_route *route = table->routes[index].conf;
	for (enum match_key key = 0; key < N_MATCH_KEYS; key++)
		if (match_key_given(&route->match, key) && key != MATCH_HOST && key != MATCH_PATH &&
		    key != MATCH_PATH_EXACT)
			return false;
	return !route->has_not;
}

static void list_append(struct route_table *table, struct entry_list *list, uint32_t route)
{
	/* a route that names a host twice is entered once */
	if (list->tail && table->entries[list->tail].route == route)
		return;
	if (table->n_entries == table->entries_cap)
		table->entries = grow(table->entries, &table->entries_cap, sizeof(*table->entries));
	uint32_t e = table->n_entries++;
	table->entries[e] = (struct entry){.route = route, .plain = is_plain(table, route)};
	if (list->tail)
		table->entries[list->tail].next = e;
	else
		list->head = e;
	list->tail = e;
}

/* The path root of a host as written; NODE_NONE when no request can have it. */
static uint32_t host_root(struct route_table *table, struct view host)
{
	if (view_eq(host, VIEW("*")))
		return NODE_ANY;
	bool wild = view_starts(host, VIEW("*."));
	char room[HOST_MAX];
	host = host_normalise(wild ? view_skip(host, 2) : host, room);
	if (host.len == 0)
		return NODE_NONE;
	host = arena_view(table->arena, host);
	if (!wild)
		return edge_make(table, NODE_EXACT, host);
	uint32_t node = NODE_WILD;
	while (host.len)
		node = edge_make(table, node, host_last_label(&host));
	if (table->nodes[node].paths == NODE_NONE) {
		uint32_t root = node_add(table); /* may move the nodes */
		table->nodes[node].paths = root;
	}
	return table->nodes[node].paths;
}

static struct view normal_path(struct route_table *table, struct view path)
{
	return path_normalise(path, arena_alloc(table->arena, path.len));
}

/* Does the prefix `path` hold for `exact`, both normalised? */
static bool prefix_holds(struct view path, struct view exact)
{
	if (path.len == 0 || !view_starts(exact, path))
		return false;
	return path.len == exact.len || path.ptr[path.len - 1] == '/' || exact.ptr[path.len] == '/';
}

static uint32_t make_walk(struct route_table *table, uint32_t node, struct view path)
{
	while (path.len)
		node = edge_make(table, node, path_next_segment(&path));
	return node;
}

/* Enters a route below one path root. */
static void enter_path(struct route_table *table, uint32_t root, uint32_t index)
{
	const struct conf_route *route = table->routes[index].conf;
	struct view path = route->match.path, exact = route->match.path_exact;
	uint32_t node = root;
	if (exact.ptr) {
		exact = normal_path(table, exact);
		if (exact.len == 0 || exact.ptr[0] != '/' ||
		    (path.ptr && !prefix_holds(normal_path(table, path), exact)))
			return; /* contradicts itself: nothing can match */
		node = make_walk(table, root, exact);
		list_append(table, &table->nodes[node].exact, index);
		return;
	}
	if (!path.ptr) {
		list_append(table, &table->nodes[root].here, index);
		return;
	}
	path = normal_path(table, path);
	if (path.len == 0 || path.ptr[0] != '/')
		return;
	bool only_below = path.ptr[path.len - 1] == '/';
	node = make_walk(table, root, view_head(path, path.len - only_below));
	list_append(table, only_below ? &table->nodes[node].below : &table->nodes[node].here,
		    index);
}

static void enter_route(struct route_table *table, uint32_t index)
{
	const struct conf_views *hosts = &table->routes[index].conf->match.host;
	if (hosts->n == 0)
		enter_path(table, NODE_ANY, index);
	for (size_t i = 0; i < hosts->n; i++) {
		uint32_t root = host_root(table, hosts->rows[i]);
		if (root != NODE_NONE)
			enter_path(table, root, index);
	}
}

static unsigned count_groups(const pcre2_code *regex)
{
	uint32_t n = 0;
	if (regex)
		pcre2_pattern_info(regex, PCRE2_INFO_CAPTURECOUNT, &n);
	return n;
}

/* Whether there is all that {1} .. {9} ask for. */
static bool groups_suffice(const struct compiled *route, struct str *error)
{
	unsigned n = route->n_host_groups + count_groups(route->match.path_regex);
	if (route->conf->max_group <= n)
		return true;
	str_printf(error, "has regular expressions with %u group%s, and {%u} is asked for", n,
		   n == 1 ? "" : "s", route->conf->max_group);
	return false;
}

struct compiling {
	struct route_table *table;
	struct str *why;
	char key[128]; /* what is at hand */
};

static bool compile_regex(struct compiling *c, struct view pattern, bool fold,
			  const pcre2_code **out)
{
	if (pattern.ptr)
		*out = regex_new(pattern, fold, c->table->arena, c->why);
	return !pattern.ptr || *out;
}

static bool compile_pairs(struct compiling *c, const char *key, const struct conf_pairs *pairs,
			  const pcre2_code ***out)
{
	for (size_t i = 0; i < pairs->n; i++) {
		if (!pairs->rows[i].is_regex)
			continue;
		snprintf(c->key, sizeof(c->key), "%s." VIEW_FMT, key,
			 VIEW_ARG(view_head(pairs->rows[i].name, 64)));
		if (!*out)
			*out = arena_array(c->table->arena, pairs->n, sizeof(**out));
		if (!compile_regex(c, pairs->rows[i].value, false, &(*out)[i]))
			return false;
	}
	return true;
}

static void normalise_match(struct route_table *table, struct compiled_match *m)
{
	const struct conf_match *conf = m->conf;
	char room[HOST_MAX];
	m->hosts = arena_array(table->arena, conf->host.n, sizeof(*m->hosts));
	for (size_t i = 0; i < conf->host.n; i++) {
		struct view host = conf->host.rows[i];
		bool wild = view_starts(host, VIEW("*."));
		host = host_normalise(view_skip(host, wild ? 2 : 0), room);
		m->hosts[i] = arena_view(table->arena, host);
	}
	if (conf->path.ptr)
		m->path = normal_path(table, conf->path);
	if (conf->path_exact.ptr)
		m->path_exact = normal_path(table, conf->path_exact);
}

static bool compile_match(struct compiling *c, bool negated, const struct conf_match *conf,
			  struct compiled_match *m)
{
	m->conf = conf;
	normalise_match(c->table, m);
	snprintf(c->key, sizeof(c->key), negated ? "match.not.host_regex" : "match.host_regex");
	if (!compile_regex(c, conf->host_regex, true, &m->host_regex))
		return false;
	snprintf(c->key, sizeof(c->key), negated ? "match.not.path_regex" : "match.path_regex");
	return compile_regex(c, conf->path_regex, false, &m->path_regex) &&
	       compile_pairs(c, negated ? "match.not.header" : "match.header", &conf->header,
			     &m->header) &&
	       compile_pairs(c, negated ? "match.not.cookie" : "match.cookie", &conf->cookie,
			     &m->cookie) &&
	       compile_pairs(c, negated ? "match.not.query" : "match.query", &conf->query,
			     &m->query);
}

/* The key that is wrong, or NULL. */
static const char *compile_parts(struct compiling *c, struct compiled *route)
{
	const struct conf_route *conf = route->conf;
	if (!compile_match(c, false, &conf->match, &route->match) ||
	    !compile_match(c, true, &conf->match_not, &route->match_not))
		return c->key;
	route->n_host_groups = count_groups(route->match.host_regex);
	if (!compile_regex(c, conf->rewrite.path_regex, false, &route->rewrite_regex))
		return "rewrite.path_regex";
	if (conf->rewrite.path.text.ptr && !rewrite_compile(route, c->table->arena, c->why))
		return "rewrite.path";
	return conf->max_group && !groups_suffice(route, c->why) ? "match" : NULL;
}

static bool compile_one(struct route_table *table, uint32_t index, struct str *error)
{
	struct compiled *route = &table->routes[index];
	struct str why = STR_INIT;
	struct compiling c = {.table = table, .why = &why};
	route->conf = &table->conf->routes[index];
	check(route->conf->index == index);
	const char *key = compile_parts(&c, route);
	if (key)
		str_printf(error, "route '" VIEW_FMT "': %s " VIEW_FMT, VIEW_ARG(route->conf->name),
			   key, VIEW_ARG(str_as_view(&why)));
	str_fini(&why);
	return !key;
}

struct route_table *route_table_new(const struct conf *conf, struct str *error)
{
	struct arena *arena = arena_new();
	struct route_table *table = arena_zalloc(arena, sizeof(*table));
	check(conf->n_routes < UINT32_MAX);
	table->arena = arena;
	table->conf = conf;
	table->seed = hash_seed();
	table->routes = arena_array(arena, conf->n_routes, sizeof(*table->routes));
	while (table->n_nodes < NODE_FIRST_FREE)
		node_add(table);
	edges_grow(table);
	table->entries = grow(NULL, &table->entries_cap, sizeof(*table->entries));
	table->n_entries = 1; /* 0 is none */
	for (uint32_t i = 0; i < conf->n_routes; i++) {
		if (!compile_one(table, i, error)) {
			route_table_free(table);
			return NULL;
		}
		enter_route(table, i);
		table->asks_hosts |= conf->routes[i].match.host.n > 0 || !is_plain(table, i);
	}
	return table;
}

void route_table_free(struct route_table *table)
{
	if (!table)
		return;
	free(table->nodes);
	free(table->entries);
	free(table->edges);
	arena_free(table->arena);
}
