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
	struct lookup l;
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
	enum regex_result result = conditions_hold(route, &f->l);
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
	struct view rest = f->l.path;
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

static void walk_hosts(struct find *f, struct view host)
{
	uint32_t exact = node_follow(f->table, NODE_EXACT, host);
	if (exact != NODE_NONE)
		walk_path(f, exact);
	if (f->table->nodes[NODE_WILD].n_edges)
		walk_wildcards(f, host);
}

static bool take_groups_of(struct route_scratch *scratch, const pcre2_code *regex, unsigned n,
			   struct view subject)
{
	if (!regex)
		return true;
	if (regex_match(regex, &scratch->regex, subject) != REGEX_YES)
		return false;
	for (unsigned i = 1; i <= n && scratch->n_groups < ROUTE_GROUPS; i++)
		scratch->groups[scratch->n_groups++] = regex_group(&scratch->regex, subject, i);
	return true;
}

/*
 * Groups are taken when it is known who won: others were tried behind it.  False when
 * the regex gives up this time.
 */
static bool take_groups(struct find *f)
{
	const struct compiled *route = &f->table->routes[f->best];
	return take_groups_of(f->l.scratch, route->match.host_regex, route->n_host_groups,
			      f->l.host) &&
	       take_groups_of(f->l.scratch, route->match.path_regex, ROUTE_GROUPS, f->l.path);
}

/* Prepares the request for matching; false without memory. */
static inline bool lookup_init(struct lookup *l, const struct route_table *table,
			       struct route_scratch *scratch, const struct route_request *req)
{
	*l = (struct lookup){.req = req, .scratch = scratch};
	target_split(req->path, &l->path, &l->query);
	if (!path_is_normal(l->path)) {
		char *room = scratch_room(scratch, l->path.len);
		if (!room)
			return false;
		l->path = path_normalise(l->path, room);
	}
	if (table->asks_hosts)
		l->host = host_normalise(req->host, scratch->host);
	return true;
}

const struct conf_route *route_find(const struct route_table *table, struct route_scratch *scratch,
				    const struct route_request *req)
{
	struct find f = {.table = table};
	f.best = f.gave_up = (uint32_t)table->conf->n_routes;
	scratch->gave_up = NULL;
	scratch->n_groups = 0;
	if (!lookup_init(&f.l, table, scratch, req))
		return NULL;
	if (f.l.host.len)
		walk_hosts(&f, f.l.host);
	walk_path(&f, NODE_ANY);
	if (f.best == table->conf->n_routes)
		return NULL;
	const struct conf_route *route = table->routes[f.best].conf;
	if (likely(f.best != f.gave_up) && (likely(!route->max_group) || take_groups(&f)))
		return route;
	scratch->gave_up = route;
	return NULL;
}

bool route_find_groups(const struct route_table *table, struct route_scratch *scratch,
		       const struct conf_route *route, const struct route_request *req)
{
	struct find f = {.table = table, .best = (uint32_t)(route - table->conf->routes)};
	scratch->n_groups = 0;
	return lookup_init(&f.l, table, scratch, req) && take_groups(&f);
}

struct view route_group(const struct route_scratch *scratch, unsigned group)
{
	return group <= scratch->n_groups ? scratch->groups[group - 1] : VIEW_NONE;
}

const struct conf_route *route_gave_up(const struct route_scratch *scratch)
{
	return scratch->gave_up;
}

/* ---- explanations ---- */

static void say_key(const struct compiled_match *m, enum match_key key, struct str *out)
{
	const struct conf_match *conf = m->conf;
	const struct view texts[N_MATCH_KEYS] = {
	    [MATCH_SCHEME] = conf->scheme,
	    [MATCH_HOST_REGEX] = conf->host_regex,
	    [MATCH_PATH] = conf->path,
	    [MATCH_PATH_EXACT] = conf->path_exact,
	    [MATCH_PATH_REGEX] = conf->path_regex,
	};
	str_text(out, match_key_name(key));
	if (texts[key].ptr)
		str_printf(out, " " VIEW_FMT, VIEW_ARG(texts[key]));
}

/* The first key that does not hold; N_MATCH_KEYS: all do. */
static enum match_key first_failing(const struct compiled_match *m, const struct lookup *l,
				    enum regex_result *result)
{
	for (enum match_key key = 0; key < N_MATCH_KEYS; key++)
		if ((*result = match_key_holds(m, key, l)) != REGEX_YES)
			return key;
	return N_MATCH_KEYS;
}

/* All keys that hold, since all do. */
static void say_match(const struct compiled *route, struct str *out)
{
	const size_t from = out->len;
	for (enum match_key key = 0; key < N_MATCH_KEYS; key++) {
		if (!match_key_given(&route->conf->match, key))
			continue;
		if (out->len > from)
			str_text(out, ", ");
		say_key(&route->match, key, out);
	}
	if (route->conf->has_not)
		str_text(out, out->len > from ? ", not" : "not");
	else if (out->len == from)
		str_text(out, "it matches every request");
}

bool route_why(const struct route_table *table, struct route_scratch *scratch,
	       const struct conf_route *conf, const struct route_request *req, struct str *out)
{
	const struct compiled *route = &table->routes[conf->index];
	struct lookup l;
	enum regex_result result;
	if (!lookup_init(&l, table, scratch, req))
		return false;
	enum match_key key = first_failing(&route->match, &l, &result);
	if (key != N_MATCH_KEYS) {
		say_key(&route->match, key, out);
		str_text(out, result == REGEX_NO ? " does not hold" : " reached its limit");
		return false;
	}
	if (conf->has_not && first_failing(&route->match_not, &l, &result) == N_MATCH_KEYS) {
		str_text(out, "what stands in not holds");
		return false;
	}
	say_match(route, out);
	return true;
}
