/* SPDX-License-Identifier: MIT */
/*
 * The compiled form of the routes, private to this folder.
 *
 * Host names and paths are walks through one tree of nodes whose edges live in
 * one hash table, keyed by (node, label):
 *
 *   NODE_EXACT --"www.a.example"--> path root
 *   NODE_WILD  --"example"--> --"a"--> host node . paths -> path root   (*.a.example)
 *   NODE_ANY   is the path root of routes without a host
 *   path root  --"v1"--> --"users"--> ...                          one edge a segment
 *
 * Each node keeps three lists of routes, in file order:
 *   here    path "/v1", also no path at all (at the root): this node and below
 *   below   path "/v1/": something follows, be it empty
 *   exact   path_exact: nothing follows
 *
 * A request walks at most three kinds of roots, each as deep as routes are
 * written, and takes the lowest route index of all lists it meets.
 */
#ifndef WEIR_ROUTE_TABLE_H
#define WEIR_ROUTE_TABLE_H

#include "normalise.h"
#include "regex.h"
#include "weir/base/hash.h"
#include "weir/route/route.h"

enum { NODE_NONE, NODE_EXACT, NODE_WILD, NODE_ANY, NODE_FIRST_FREE };

/* Entries by number; 0 is none.  `tail` lets rows be appended in file order. */
struct entry_list {
	uint32_t head, tail;
};

struct entry {
	uint32_t route;
	uint32_t next;
	bool plain; /* host and path are all it asks for */
};

struct node {
	struct entry_list here, below, exact;
	uint32_t paths;   /* below NODE_WILD: the path root, or NODE_NONE */
	uint32_t n_edges; /* 0 ends a walk without a look-up */
};

struct edge {
	uint64_t hash;
	struct view label;
	uint32_t from;
	uint32_t to; /* NODE_NONE: the slot is free */
};

/* One piece of rewrite.path: text, a group of its regex, or a variable. */
struct piece {
	struct view text;
	int group; /* -1: none */
	const struct variable *variable;
};

/* The regexes of a match, NULL where there is none, and what is compared in normal form. */
struct compiled_match {
	const struct conf_match *conf; /* borrows */
	const pcre2_code *host_regex, *path_regex;
	const pcre2_code **header, **cookie, **query; /* by row; NULL: none is a regex */
	struct view *hosts;                           /* by row, without "*." */
	struct view path, path_exact;
};

struct compiled {
	const struct conf_route *conf; /* borrows */
	struct compiled_match match, match_not;
	unsigned n_host_groups;
	const pcre2_code *rewrite_regex;
	struct piece *pieces; /* NULL: no rewrite.path */
	size_t n_pieces;
};

struct route_table {
	struct arena *arena; /* owns everything but the three arrays that grow */
	const struct conf *conf;
	uint64_t seed;
	struct node *nodes; /* owns */
	uint32_t n_nodes, nodes_cap;
	struct entry *entries; /* owns */
	uint32_t n_entries, entries_cap;
	struct edge *edges; /* owns; open addressing, a power of two */
	uint32_t n_edges, edges_cap;
	struct compiled *routes; /* [conf->n_routes] */
	bool asks_hosts;         /* false: no route looks at the host */
};

/* {1} .. {9} */
#define ROUTE_GROUPS 9

struct route_scratch {
	struct regex_scratch regex;
	const struct conf_route *gave_up; /* see route_gave_up; of the last call */
	struct view groups[ROUTE_GROUPS]; /* see route_group */
	unsigned n_groups;
	char *room; /* owns: normalised path */
	size_t room_size;
	char *value; /* owns: a decoded argument */
	size_t value_size;
	char host[HOST_MAX]; /* in lower case */
};

/* Room for `size` bytes; grows only for paths longer than any before. */
char *scratch_room(struct route_scratch *scratch, size_t size);
/* The same for an argument of the query. */
char *scratch_value(struct route_scratch *scratch, size_t size);

/* The unit test counts look-ups and candidates here. */
#ifndef ROUTE_PROBE
#define ROUTE_PROBE() \
	do {          \
	} while (0)
#endif

static inline uint64_t edge_hash(const struct route_table *table, uint32_t from, struct view label)
{
	return hash_view(label, table->seed + from);
}

/* The slot of this edge, or the free one where it belongs. */
static inline struct edge *edge_slot(const struct route_table *table, uint64_t hash, uint32_t from,
				     struct view label)
{
	uint32_t mask = table->edges_cap - 1;
	for (uint32_t i = (uint32_t)hash & mask;; i = (i + 1) & mask) {
		struct edge *e = &table->edges[i];
		ROUTE_PROBE();
		if (e->to == NODE_NONE ||
		    (e->hash == hash && e->from == from && view_eq(e->label, label)))
			return e;
	}
}

/* The node behind an edge, or NODE_NONE. */
static inline uint32_t node_follow(const struct route_table *table, uint32_t from,
				   struct view label)
{
	if (table->nodes[from].n_edges == 0)
		return NODE_NONE;
	return edge_slot(table, edge_hash(table, from, label), from, label)->to;
}

/* Takes the last label off a host name: "www.a.example" gives "example". */
static inline struct view host_last_label(struct view *host)
{
	size_t i = host->len;
	while (i > 0 && host->ptr[i - 1] != '.')
		i--;
	struct view label = view_skip(*host, i);
	host->len = i ? i - 1 : 0;
	return label;
}

/*
 * Takes the next segment off `rest`, which begins with the slash before it:
 * "/v1/x" gives "v1" and leaves "/x"; "/" gives "" and leaves nothing.
 */
static inline struct view path_next_segment(struct view *rest)
{
	struct view after = view_skip(*rest, 1);
	ptrdiff_t slash = view_chr(after, '/');
	struct view segment = slash < 0 ? after : view_head(after, (size_t)slash);
	*rest = view_skip(after, segment.len);
	return segment;
}

/* rewrite.path compiled into pieces; false with the reason in `error`. */
bool rewrite_compile(struct compiled *route, struct arena *arena, struct str *error);

#endif
