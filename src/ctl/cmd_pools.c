/* SPDX-License-Identifier: MIT */
/* weirctl pools and weirctl backends. */
#include "api.h"
#include "backend.h"
#include "commands.h"
#include "text.h"

#include "weir/base/defs.h"

struct pool_sums {
	uint64_t n, n_usable, in_flight, requests, errors, retries;
	double rate;
};

static struct pool_sums sum_backends(const json_t *pool)
{
	struct pool_sums sums = {0};
	size_t i;
	json_t *b;
	json_array_foreach(json_object_get(pool, "backends"), i, b)
	{
		sums.n++;
		sums.n_usable += backend_is_usable(b);
		sums.in_flight += get_u64(b, "in_flight");
		sums.requests += get_u64(b, "requests");
		sums.errors += get_u64(b, "errors");
		sums.retries += get_u64(b, "retries");
		sums.rate += get_real(b, "rate");
	}
	return sums;
}

/* A node's own row stands below the pool's, under its name. */
static void pool_row(struct table *t, const json_t *pool)
{
	struct pool_sums sums = sum_backends(pool);
	enum colour colour = sums.n_usable == sums.n ? GREEN : sums.n_usable ? YELLOW : RED;
	const char *node = get_text(pool, "node");
	struct str *cell = table_cell(t);
	str_text(cell, *node ? "  at " : "");
	put_clean(cell, *node ? node : get_text(pool, "name"));
	put_clean(table_cell(t), get_text(pool, "strategy"));
	str_printf(table_cell_in(t, colour), "%u/%u", (unsigned)sums.n_usable, (unsigned)sums.n);
	str_u64(table_cell(t), sums.in_flight);
	str_u64(table_cell(t), get_u64(pool, "queued"));
	put_rate(table_cell(t), sums.rate);
	str_u64(table_cell(t), sums.requests);
	str_u64(table_cell_in(t, sums.errors ? YELLOW : PLAIN), sums.errors);
	str_u64(table_cell(t), sums.retries);
	const json_t *minute = json_object_get(json_object_get(pool, "latency"), "1m");
	const json_t *total = json_object_get(minute, "total");
	latency_cell(t, total, "p50_us");
	latency_cell(t, total, "p99_us");
	put_verdict(table_cell_in(t, verdict_colour(get_text(pool, "verdict"))),
		    get_text(pool, "verdict"));
}

/* "app/b2 is down 41 s: connect refused", a line for each backend that is not up. */
static void put_not_up(struct ctl *ctl, const json_t *pool)
{
	size_t i;
	json_t *b;
	json_array_foreach(json_object_get(pool, "backends"), i, b)
	{
		struct str line = STR_INIT;
		const char *state = get_text(b, "state");
		if (strcmp(state, "up") == 0)
			continue;
		put_clean(&ctl->out, get_text(pool, "name"));
		str_char(&ctl->out, '/');
		put_clean(&ctl->out, get_text(b, "name"));
		str_text(&ctl->out, " is ");
		put_state(&line, b);
		put_coloured(&ctl->out, ctl->colour, state_colour(state), line.ptr, line.len);
		str_char(&ctl->out, '\n');
		str_fini(&line);
	}
}

static void print_pools(struct ctl *ctl, const json_t *answer)
{
	static const struct column columns[] = {
	    {"POOL", LEFT},     {"STRATEGY", LEFT}, {"UP", RIGHT},       {"IN FLIGHT", RIGHT},
	    {"QUEUED", RIGHT},  {"RATE", RIGHT},    {"REQUESTS", RIGHT}, {"ERRORS", RIGHT},
	    {"RETRIES", RIGHT}, {"P50", RIGHT},     {"P99", RIGHT},      {"VERDICT", LEFT}};
	const json_t *pools = json_object_get(answer, "pools");
	struct table t;
	size_t i, n;
	json_t *pool, *node;
	table_init(&t, columns, ARRAY_LEN(columns));
	json_array_foreach(pools, i, pool)
	{
		pool_row(&t, pool);
		json_array_foreach(json_object_get(pool, "nodes"), n, node) pool_row(&t, node);
	}
	table_print(&t, &ctl->out, ctl->colour);
	table_fini(&t);
	json_array_foreach(pools, i, pool) put_not_up(ctl, pool);
}

enum ctl_exit cmd_pools(struct ctl *ctl)
{
	return api_show(ctl, "/v1/pools", print_pools);
}

static void pool_backend_rows(struct table *t, const json_t *pool)
{
	size_t i;
	json_t *b;
	json_array_foreach(json_object_get(pool, "backends"), i, b)
	    backends_table_row(t, get_text(pool, "name"), b);
}

/* One pool, or {"pools": [...]}. */
static void print_backends(struct ctl *ctl, const json_t *answer)
{
	struct table t;
	size_t i;
	json_t *pool;
	backends_table_init(&t);
	pool_backend_rows(&t, answer);
	json_array_foreach(json_object_get(answer, "pools"), i, pool) pool_backend_rows(&t, pool);
	table_print(&t, &ctl->out, ctl->colour);
	table_fini(&t);
}

enum ctl_exit cmd_backends(struct ctl *ctl)
{
	struct backend_ref ref;
	if (ctl->n_args == 0)
		return api_show(ctl, "/v1/pools", print_backends);
	enum ctl_exit code = backend_ref_parse(ctl, ctl->args[0], false, &ref);
	if (code != CTL_OK)
		return code;
	if (ref.backend)
		return ctl_fail(ctl, CTL_USAGE, "backends takes a pool: \"weirctl backends %s\"",
				ref.pool);
	struct str path = STR_INIT;
	backend_ref_path(&ref, &path);
	code = api_show(ctl, path.ptr, print_backends);
	str_fini(&path);
	return code;
}
