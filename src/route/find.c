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
	uint32_t best;    /* n_routes: none yet */
	uint32_t gave_up; /* the first route whose regex reached its limit; n_routes: none */
};

/*
 * A regex that reached its limit decides nothing, so the route stands in for all that
 * come behind it: only one before it may still win.
 */
static bool route_holds(struct find *f, uint32_t index)
{
	const struct compiled *route = &f->table->routes[index];
	if (!conditions_hold(route->conf, f->req, f->query))
		return false;
	if (!route->path_regex)
		return true;
	enum regex_result result = regex_match(route->path_regex, &f->scratch->regex, f->path);
	if (unlikely(result == REGEX_GAVE_UP))
		f->gave_up = index;
	return result != REGEX_NO;
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

/*
 * Groups are taken when it is known who won: others were tried behind it.  False when
 * the regex gives up this time.
 */
static bool take_groups(struct find *f)
{
	const pcre2_code *regex = f->table->routes[f->best].path_regex;
	struct route_scratch *scratch = f->scratch;
	if (regex_match(regex, &scratch->regex, f->path) != REGEX_YES)
		return false;
	for (unsigned i = 1; i <= ROUTE_GROUPS; i++)
		scratch->groups[i - 1] = regex_group(&scratch->regex, f->path, i);
	scratch->n_groups = ROUTE_GROUPS;
	return true;
}

const struct conf_route *route_find(const struct route_table *table, struct route_scratch *scratch,
				    const struct route_request *req)
{
	struct find f = {.table = table, .scratch = scratch, .req = req};
	f.best = f.gave_up = (uint32_t)table->conf->n_routes;
	scratch->gave_up = NULL;
	scratch->n_groups = 0;
	target_split(req->path, &f.path, &f.query);
	if (!path_is_normal(f.path)) {
		char *room = scratch_room(scratch, f.path.len);
		if (!room)
			return NULL;
		f.path = path_normalise(f.path, room);
	}
	char lower[HOST_MAX];
	struct view host = host_normalise(req->host, lower);
	uint32_t exact = host.len ? node_follow(table, NODE_EXACT, host) : NODE_NONE;
	if (exact != NODE_NONE)
		walk_path(&f, exact);
	walk_wildcards(&f, host);
	walk_path(&f, NODE_ANY);
	if (f.best == table->conf->n_routes)
		return NULL;
	const struct conf_route *route = table->routes[f.best].conf;
	if (likely(f.best != f.gave_up) && (likely(!route->max_group) || take_groups(&f)))
		return route;
	scratch->gave_up = route;
	return NULL;
}

struct view route_group(const struct route_scratch *scratch, unsigned group)
{
	return group <= scratch->n_groups ? scratch->groups[group - 1] : VIEW_NONE;
}

const struct conf_route *route_gave_up(const struct route_scratch *scratch)
{
	return scratch->gave_up;
}
