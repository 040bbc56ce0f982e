/* SPDX-License-Identifier: MIT */
/*
 * The look-up of a request.  All lists it meets are in file order, so each is
 * left at its first match or at an index that cannot win any more.
 */
#include "condition.h"
#include "normalise.h"
#include "table.h"

struct find {
	const struct route_table *table;
	struct route_scratch *scratch;
	const struct route_request *req;
	struct view path; /* normalised, without the query */
	struct view query;
	uint32_t best; /* n_routes: none yet */
};

static bool route_holds(const struct find *f, uint32_t index)
{
	const struct compiled *route = &f->table->routes[index];
	return conditions_hold(route->conf, f->req, f->query) &&
	       (!route->path_regex ||
		regex_matches(route->path_regex, &f->scratch->regex, f->path));
}

static inline void try_list(struct find *f, const struct entry_list *list)
{
	for (uint32_t e = list->head; e;) {
		const struct entry *entry = &f->table->entries[e];
		ROUTE_PROBE();
		if (entry->route >= f->best)
			return;
		if (entry->plain || route_holds(f, entry->route)) {
			f->best = entry->route;
			return;
		}
		e = entry->next;
	}
}

static void walk_path(struct find *f, uint32_t root)
{
	const struct node *node = &f->table->nodes[root];
	struct view rest = f->path;
	try_list(f, &node->here);
	if (rest.len == 0 || rest.ptr[0] != '/')
		return;
	while (rest.len) {
		try_list(f, &node->below);
		uint32_t from = (uint32_t)(node - f->table->nodes);
		uint32_t to = node_follow(f->table, from, path_next_segment(&rest));
		if (to == NODE_NONE)
			return;
		node = &f->table->nodes[to];
		try_list(f, &node->here);
	}
	try_list(f, &node->exact);
}

/* Every wildcard above this host; the host itself is not below itself. */
static void walk_wildcards(struct find *f, struct view host)
{
	uint32_t at = NODE_WILD;
	while (host.len) {
		struct view label = host_last_label(&host);
		at = node_follow(f->table, at, label);
		if (at == NODE_NONE)
			return;
		uint32_t paths = f->table->nodes[at].paths;
		if (paths != NODE_NONE && host.len)
			walk_path(f, paths);
	}
}

const struct conf_route *route_find(const struct route_table *table, struct route_scratch *scratch,
				    const struct route_request *req)
{
	struct find f = {.table = table, .scratch = scratch, .req = req};
	f.best = (uint32_t)table->conf->n_routes;
	target_split(req->path, &f.path, &f.query);
	if (!path_is_normal(f.path, SLASHES_MERGE)) {
		char *room = scratch_room(scratch, f.path.len);
		if (!room)
			return NULL;
		f.path = path_normalise(f.path, room, SLASHES_MERGE);
	}
	char lower[HOST_MAX];
	struct view host = host_normalise(req->host, lower);
	uint32_t exact = host.len ? node_follow(table, NODE_EXACT, host) : NODE_NONE;
	if (exact != NODE_NONE)
		walk_path(&f, exact);
	walk_wildcards(&f, host);
	walk_path(&f, NODE_ANY);
	return f.best < table->conf->n_routes ? table->routes[f.best].conf : NULL;
}
