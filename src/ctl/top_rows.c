/* SPDX-License-Identifier: MIT */
/* What weirctl top shows: rows of pools and backends, sorted, and what they were a moment ago. */
#include "top.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "backend.h"

#include "weir/base/defs.h"

const char *const top_sort_names[] = {"name", "state", "rate", "in flight", "errors", "p99"};

static void *grow(void *array, size_t *cap, size_t n, size_t size)
{
	if (n < *cap)
		return array;
	*cap = *cap ? *cap * 2 : 64;
	array = realloc(array, *cap * size);
	if (!array) {
		fputs("weirctl: out of memory\n", stderr);
		exit(1);
	}
	return array;
}

void top_row_name(const struct top_row *row, struct str *out)
{
	str_text(out, get_text(row->pool, "name"));
	if (row->backend)
		str_printf(out, "/%s", get_text(row->backend, "name"));
}

/* ---- the past ---- */

static struct top_past *past_of(struct top *top, const char *name)
{
	for (size_t i = 0; i < top->n_pasts; i++)
		if (strcmp(top->pasts[i].name, name) == 0)
			return &top->pasts[i];
	if (top->n_pasts == TOP_PASTS_MAX)
		return NULL;
	top->pasts = grow(top->pasts, &top->cap_pasts, top->n_pasts, sizeof(*top->pasts));
	struct top_past *past = &top->pasts[top->n_pasts];
	*past = (struct top_past){.name = strdup(name)};
	if (!past->name)
		return NULL;
	top->n_pasts++;
	return past;
}

/* The flight recorder has what was before top began. */
static void recall(struct top *top, const struct top_row *row, struct top_past *past)
{
	struct str path = STR_INIT;
	json_t *answer, *second;
	size_t i;
	api_history_path(&path, get_text(row->pool, "name"),
			 row->backend ? get_text(row->backend, "name") : NULL, TOP_PAST - 1);
	if (api_get(top->ctl, path.ptr, &answer) != CTL_OK)
		str_reset(&top->ctl->why); /* an older weir has none: it begins empty */
	str_fini(&path);
	json_array_foreach(json_object_get(answer, "rows"), i, second)
	{
		past->rate[past->n % TOP_PAST] = get_real(second, "rate");
		past->p99_us[past->n % TOP_PAST] = get_real(second, "p99_us");
		past->n++;
	}
	json_decref(answer);
}

static void remember(struct top *top, const struct top_row *row)
{
	struct str name = STR_INIT;
	top_row_name(row, &name);
	struct top_past *past = past_of(top, name.ptr ? name.ptr : "");
	str_fini(&name);
	if (!past)
		return;
	if (top->n_refreshes == 1 && top->n_pasts <= TOP_RECALLED_MAX)
		recall(top, row, past);
	past->rate[past->n % TOP_PAST] = row->rate;
	past->p99_us[past->n % TOP_PAST] = (double)row->p99_us;
	past->n++;
	past->seen = top->n_refreshes;
}

/* Backends that were removed. */
static void forget_the_gone(struct top *top)
{
	for (size_t i = 0; i < top->n_pasts;) {
		if (top->pasts[i].seen == top->n_refreshes) {
			i++;
			continue;
		}
		free(top->pasts[i].name);
		top->pasts[i] = top->pasts[--top->n_pasts];
	}
}

/* ---- rows ---- */

/* Of a backend or of a whole pool. */
static const json_t *newest_latency(const json_t *object)
{
	const json_t *window = json_object_get(json_object_get(object, "latency"), "10s");
	return json_object_get(window, "total");
}

static struct top_row backend_row(const json_t *pool, const json_t *b)
{
	const json_t *total = newest_latency(b);
	return (struct top_row){
	    .pool = pool,
	    .backend = b,
	    .rate = get_real(b, "rate"),
	    .in_flight = get_u64(b, "in_flight"),
	    .errors = get_u64(b, "errors"),
	    .p50_us = get_u64(total, "p50_us"),
	    .p99_us = get_u64(total, "p99_us"),
	    .n_up = backend_is_usable(b),
	    .n = 1,
	};
}

static struct top_row pool_row(const json_t *pool)
{
	const json_t *total = newest_latency(pool);
	struct top_row sum = {
	    .pool = pool,
	    .queued = get_u64(pool, "queued"),
	    .p50_us = get_u64(total, "p50_us"),
	    .p99_us = get_u64(total, "p99_us"),
	};
	size_t i;
	json_t *b;
	json_array_foreach(json_object_get(pool, "backends"), i, b)
	{
		struct top_row row = backend_row(pool, b);
		sum.rate += row.rate;
		sum.in_flight += row.in_flight;
		sum.errors += row.errors;
		sum.n_up += row.n_up;
		sum.n++;
	}
	return sum;
}

static bool is_wanted(const struct top *top, const struct top_row *row)
{
	struct str text = STR_INIT;
	if (top->filter.len == 0)
		return true;
	top_row_name(row, &text);
	str_printf(&text, " %s %s", get_text(row->backend, "address"),
		   get_text(row->backend, "state"));
	bool found = strstr(text.ptr ? text.ptr : "", top->filter.ptr) != NULL;
	str_fini(&text);
	return found;
}

static unsigned state_rank(const struct top_row *row)
{
	static const char *const worst_first[] = {"down", "ejected",     "unknown", "draining",
						  "gone", "maintenance", "up"};
	const char *state = get_text(row->backend, "state");
	unsigned i = 0;
	while (i < ARRAY_LEN(worst_first) - 1 && strcmp(state, worst_first[i]) != 0)
		i++;
	return i;
}

static double sort_key(const struct top_row *row, enum top_sort sort)
{
	switch (sort) {
	case SORT_STATE:
		return -(double)state_rank(row);
	case SORT_RATE:
		return row->rate;
	case SORT_IN_FLIGHT:
		return (double)row->in_flight;
	case SORT_ERRORS:
		return (double)row->errors;
	case SORT_P99:
		return (double)row->p99_us;
	case SORT_NAME:
	case N_SORTS:
		break;
	}
	return 0;
}

/* Numbers and states: the largest and the worst first, unless turned round. */
static int compare(const void *a, const void *b, void *arg)
{
	const struct top *top = arg;
	const struct top_row *x = a, *y = b;
	double kx = sort_key(x, top->sort), ky = sort_key(y, top->sort);
	int by = kx > ky ? -1 : kx < ky ? 1 : 0;
	if (by == 0)
		by = strverscmp(get_text(x->backend, "name"), get_text(y->backend, "name"));
	return top->down ? -by : by;
}

static void add_row(struct top *top, struct top_row row)
{
	struct str name = STR_INIT;
	top_row_name(&row, &name);
	row.past = past_of(top, name.ptr ? name.ptr : "");
	str_fini(&name);
	top->rows = grow(top->rows, &top->cap_rows, top->n_rows, sizeof(*top->rows));
	top->rows[top->n_rows++] = row;
}

static void add_pool(struct top *top, const json_t *pool)
{
	size_t head = top->n_rows, i;
	json_t *b;
	add_row(top, pool_row(pool));
	json_array_foreach(json_object_get(pool, "backends"), i, b)
	{
		struct top_row row = backend_row(pool, b);
		if (is_wanted(top, &row))
			add_row(top, row);
	}
	size_t n = top->n_rows - head - 1;
	if (n)
		qsort_r(top->rows + head + 1, n, sizeof(*top->rows), compare, top);
	else if (!is_wanted(top, &top->rows[head]))
		top->n_rows = head;
}

void top_choose(struct top *top, size_t i)
{
	str_reset(&top->chosen);
	top->at = 0;
	if (top->n_rows == 0)
		return;
	top->at = i < top->n_rows ? i : top->n_rows - 1;
	top_row_name(&top->rows[top->at], &top->chosen);
}

/* The row that was chosen before, where it is now. */
static void find_chosen(struct top *top)
{
	for (size_t i = 0; top->chosen.len && i < top->n_rows; i++) {
		struct str name = STR_INIT;
		top_row_name(&top->rows[i], &name);
		bool same = view_eq(str_as_view(&name), str_as_view(&top->chosen));
		str_fini(&name);
		if (same) {
			top->at = i;
			return;
		}
	}
	top_choose(top, top->at);
}

void top_arrange(struct top *top)
{
	size_t i;
	json_t *pool;
	top->n_rows = 0;
	json_array_foreach(json_object_get(top->pools, "pools"), i, pool) add_pool(top, pool);
	find_chosen(top);
}

static void remember_all(struct top *top)
{
	size_t p, i;
	json_t *pool, *b;
	top->n_refreshes++;
	top->rate = 0;
	json_array_foreach(json_object_get(top->pools, "pools"), p, pool)
	{
		struct top_row row = pool_row(pool);
		top->rate += row.rate;
		remember(top, &row);
		json_array_foreach(json_object_get(pool, "backends"), i, b)
		{
			row = backend_row(pool, b);
			remember(top, &row);
		}
	}
	forget_the_gone(top);
}

bool top_refresh(struct top *top)
{
	json_t *status, *pools = NULL;
	str_reset(&top->ctl->why);
	enum ctl_exit code = api_get(top->ctl, "/v1/status", &status);
	if (code == CTL_OK)
		code = api_get(top->ctl, "/v1/pools", &pools);
	if (code != CTL_OK) {
		json_decref(status);
		return false;
	}
	json_decref(top->status);
	json_decref(top->pools);
	top->status = status;
	top->pools = pools;
	remember_all(top);
	top_arrange(top);
	return true;
}

void top_rows_fini(struct top *top)
{
	for (size_t i = 0; i < top->n_pasts; i++)
		free(top->pasts[i].name);
	free(top->pasts);
	free(top->rows);
	json_decref(top->status);
	json_decref(top->pools);
}
