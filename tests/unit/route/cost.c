/* SPDX-License-Identifier: MIT */
/*
 * The cost of a look-up does not grow with the number of routes.  Not measured
 * in time: the look-up is compiled in here with a counter at every slot of the
 * hash table and every candidate it touches.
 */
static unsigned long n_probes;
#define ROUTE_PROBE() (n_probes++)
#include "route/find.c"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "fixture.h"
#include "weir/base/rng.h"

#define MANY 10000
#define REQUESTS 10000

enum shape { HOSTS, PATHS, WILDCARDS, MIXED, DEEP, N_SHAPES };

static const char *const shape_names[] = {"hosts", "paths", "wildcards", "mixed", "deep"};

static void shape_row(enum shape shape, uint32_t i, struct row *row, struct arena *arena)
{
	*row = (struct row){.name = "r"};
	if (shape == MIXED)
		shape = i % 3;
	if (shape == HOSTS || shape == DEEP)
		row->host = arena_printf(arena, "h%u.example", i);
	if (shape == PATHS)
		row->host = "www.example";
	if (shape == WILDCARDS)
		row->host = arena_printf(arena, "*.w%u.example", i);
	row->path = shape == PATHS  ? arena_printf(arena, "/p%u", i)
		    : shape == DEEP ? arena_printf(arena, "/a/b%u/c", i % 10)
				    : "/api";
}

static void shape_request(enum shape shape, uint32_t i, struct request *r, char host[64],
			  char path[64])
{
	if (shape == MIXED)
		shape = i % 3;
	snprintf(host, 64,
		 shape == PATHS       ? "www.example"
		 : shape == WILDCARDS ? "x.w%u.example"
				      : "h%u.example",
		 i);
	snprintf(path, 64,
		 shape == PATHS  ? "/p%u/x"
		 : shape == DEEP ? "/a/b%u/c/d"
				 : "/api/x",
		 shape == DEEP ? i % 10 : i);
	request_init(r, &(struct ask){.host = host, .path = path});
}

/* Probes per look-up on average; each request finds its own route. */
static double probes(enum shape shape, uint32_t n)
{
	struct arena *arena = arena_new();
	struct row *rows = arena_array(arena, n, sizeof(*rows));
	struct str error = STR_INIT;
	struct rng rng;
	rng_init(&rng, n);
	for (uint32_t i = 0; i < n; i++)
		shape_row(shape, i, &rows[i], arena);
	struct conf *conf = fixture_conf(rows, n);
	struct route_table *table = route_table_new(conf, &error);
	struct route_scratch *scratch = route_scratch_new();
	n_probes = 0;
	for (uint32_t t = 0; t < REQUESTS; t++) {
		static struct request r;
		char host[64], path[64];
		uint32_t i = rng_below(&rng, n);
		shape_request(shape, i, &r, host, path);
		const struct conf_route *route = route_find(table, scratch, &r.req);
		cr_assert(route == &conf->routes[i], "%s, %s", host, path);
	}
	route_scratch_free(scratch);
	route_table_free(table);
	arena_free(conf->arena);
	arena_free(arena);
	return (double)n_probes / REQUESTS;
}

Test(cost, ten_thousand_routes_cost_as_much_as_one)
{
	for (enum shape shape = 0; shape < N_SHAPES; shape++) {
		double one = probes(shape, 1), many = probes(shape, MANY);
		cr_assert(one >= 2, "%s: %.1f probes: nothing is counted", shape_names[shape], one);
		cr_assert(many <= 3 * one, "%s: %.1f probes with one route, %.1f with %d",
			  shape_names[shape], one, many, MANY);
	}
}

/* A path or host of thousands of parts costs no more than routes are deep. */
Test(cost, hostile_requests)
{
	static const struct row rows[] = {
	    {.name = "w", .host = "*.a.example", .path = "/a/b"},
	    {.name = "v", .host = "*.example", .path = "/a/b/c"},
	};
	static char path[30000], host[256];
	for (size_t i = 0; i + 2 < sizeof(path); i += 2)
		memcpy(path + i, i == 2 ? "/b" : "/a", 2);
	for (size_t i = 0; i + 12 < 250; i += 2)
		memcpy(host + i, "a.", 2);
	strcat(host, "a.example");
	struct str error = STR_INIT;
	struct conf *conf = fixture_conf(rows, 2);
	struct route_table *table = route_table_new(conf, &error);
	struct route_scratch *scratch = route_scratch_new();
	struct request r;
	request_init(&r, &(struct ask){.host = host, .path = path});
	n_probes = 0;
	cr_assert(route_find(table, scratch, &r.req) == &conf->routes[0]);
	cr_assert(n_probes > 0 && n_probes < 40, "%lu probes", n_probes);
	route_scratch_free(scratch);
	route_table_free(table);
	arena_free(conf->arena);
}
