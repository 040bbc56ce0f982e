/* SPDX-License-Identifier: MIT */
/*
 * Routes and requests for tests, from rows of text; and the naive matcher that
 * the compiled one has to agree with.  Also used by tests/fuzz/route.c.
 *
 *   struct conf *conf = fixture_conf((struct row[]){{.name = "a", .host = "a.example"}}, 1);
 *   struct request r;
 *   request_init(&r, &(struct ask){.host = "a.example", .path = "/"});
 *   const struct conf_route *route = route_find(table, scratch, &r.req);
 *   arena_free(conf->arena);
 */
#ifndef TESTS_UNIT_ROUTE_FIXTURE_H
#define TESTS_UNIT_ROUTE_FIXTURE_H

#include "weir/route/route.h"
#include "weir/route/value.h"

/* NULL: not given.  Lists are separated by spaces, pairs written Name=value. */
struct row {
	const char *name;
	const char *host, *path, *exact, *regex, *method, *header, *query, *client;
	const char *rewrite_regex, *rewrite_path;
	const char *redirect;
};

/* The texts of the rows must outlive the configuration. */
struct conf *fixture_conf(const struct row *rows, size_t n);

/* What a head has for variables, over http; `scratch` may be NULL without groups. */
struct fixture_values {
	struct expand_source source;
	struct value_head head;
};
struct fixture_values fixture_values(const struct message *msg,
				     const struct route_scratch *scratch);

struct ask {
	const char *host, *path, *method, *header, *client;
};

struct request {
	struct message msg;
	struct addr client;
	struct route_request req;
};

/* Missing parts: host "", path "/", method GET, no header, client 192.0.2.1. */
void request_init(struct request *r, const struct ask *ask);

/* First row that matches, looked at one by one in file order. */
const struct conf_route *naive_find(const struct conf *conf, const struct route_request *req);

#endif
