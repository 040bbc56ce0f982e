/* SPDX-License-Identifier: MIT */
/* Sums of what several weirs said. */
#include "merge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"

#include "weir/base/defs.h"
#include "weir/stats/hist.h"

/* ---- histograms ---- */

static void add_buckets(struct hist_total *sum, const json_t *buckets)
{
	for (size_t i = 0; i < json_array_size(buckets); i++) {
		const json_t *pair = json_array_get(buckets, i);
		json_int_t lower = json_integer_value(json_array_get(pair, 0));
		json_int_t count = json_integer_value(json_array_get(pair, 1));
		if (lower < 0 || count <= 0)
			continue;
		sum->count[hist_index((uint64_t)lower)] += (uint64_t)count;
		sum->n += (uint64_t)count;
	}
}

/* What the buckets do not have: the sum and the longest. */
static void add_summary(struct hist_total *sum, const json_t *summary)
{
	uint64_t max_us = get_u64(summary, "max_us");
	double all_us = get_real(summary, "mean_us") * get_real(summary, "n");
	sum->sum_us += all_us > 0 ? (uint64_t)llround(all_us) : 0;
	if (max_us > sum->max_us)
		sum->max_us = max_us;
}

static json_t *summary_of(const struct hist_total *sum)
{
	struct hist_summary s;
	hist_total_summary(sum, &s);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "n", (json_int_t)s.n, "p50_us",
			 (json_int_t)s.p50_us, "p90_us", (json_int_t)s.p90_us, "p99_us",
			 (json_int_t)s.p99_us, "p999_us", (json_int_t)s.p999_us, "max_us",
			 (json_int_t)s.max_us, "mean_us", s.mean_us);
}

/* {"10s": {"total": {...}}, ...} of all rows' "buckets". */
static json_t *merge_latency(const json_t *rows)
{
	static const char *const windows[] = {"10s", "1m", "5m", "start"};
	json_t *latency = json_pack("{}"), *row;
	struct hist_total *sum = malloc(sizeof(*sum));
	size_t i;
	for (size_t w = 0; sum && w < ARRAY_LEN(windows); w++) {
		*sum = (struct hist_total){.n = 0};
		json_array_foreach(rows, i, row)
		{
			const json_t *of =
			    json_object_get(json_object_get(row, "latency"), windows[w]);
			add_buckets(sum,
				    json_object_get(json_object_get(row, "buckets"), windows[w]));
			add_summary(sum, json_object_get(of, "total"));
		}
		json_object_set_new(latency, windows[w],
				    json_pack("{s:o}", "total", summary_of(sum)));
	}
	free(sum);
	return latency;
}

json_t *merge_histogram(const json_t *answers)
{
	json_t *out = json_pack("{}"), *buckets = json_pack("[]"), *row;
	struct hist_total *sum = calloc(1, sizeof(*sum));
	double span_s = 0;
	size_t i;
	json_array_foreach(answers, i, row)
	{
		const json_t *answer = json_object_get(row, "answer");
		if (i == 0)
			json_object_update(out, (json_t *)answer);
		add_buckets(sum, json_object_get(answer, "buckets"));
		span_s = fmax(span_s, get_real(answer, "span_s"));
	}
	for (uint32_t b = 0; sum && b < HIST_BUCKETS; b++)
		if (sum->count[b])
			json_array_append_new(buckets,
					      json_pack("[I,I]", (json_int_t)hist_lower_us(b),
							(json_int_t)sum->count[b]));
	json_object_set_new(out, "n", json_integer(sum ? (json_int_t)sum->n : 0));
	json_object_set_new(out, "span_s", json_real(span_s));
	json_object_set_new(out, "buckets", buckets);
	free(sum);
	return out;
}

/* ---- numbers ---- */

/* Of these the first node's is shown: a sum would say nothing. */
static bool is_no_sum(const char *key)
{
	static const char *const keys[] = {"weight", "priority", "since_s", "closes_idle_after_us",
					   "typical_us"};
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (strcmp(keys[i], key) == 0)
			return true;
	return false;
}

/* What others have is in their own rows; a share is each node's own. */
static const char *const left_out[] = {
    "others_in_flight", "others_rate", "share",          "adaptive", "checks",  "load_probes",
    "failed",           "buckets",     "strategy_state", "sessions", "latency", "verdict_sentence"};

static void add_number(json_t *sum, const char *key, const json_t *value)
{
	const json_t *old = json_object_get(sum, key);
	if (is_no_sum(key))
		return;
	if (json_is_integer(old) && json_is_integer(value))
		json_object_set_new(
		    sum, key, json_integer(json_integer_value(old) + json_integer_value(value)));
	else if (json_is_number(old) && json_is_number(value))
		json_object_set_new(sum, key,
				    json_real(json_number_value(old) + json_number_value(value)));
}

/* The members of all rows: the first one's, with numbers added. */
static json_t *add_rows(const json_t *rows)
{
	json_t *sum = json_copy(json_array_get(rows, 0)), *row, *value;
	const char *key;
	size_t i;
	json_array_foreach(rows, i, row)
	{
		if (i == 0)
			continue;
		json_object_foreach(row, key, value) add_number(sum, key, value);
	}
	for (i = 0; i < ARRAY_LEN(left_out); i++)
		json_object_del(sum, left_out[i]);
	json_object_set_new(sum, "latency", merge_latency(rows));
	return sum;
}

/* The same everywhere, or null: each node judges by what it sees. */
static void agree(json_t *sum, const json_t *rows, const char *key)
{
	json_t *row;
	size_t i;
	json_array_foreach(rows, i, row) if (strcmp(get_text(row, key), get_text(sum, key)) != 0)
	{
		json_object_set_new(sum, key, json_pack("n"));
		return;
	}
}

/* ---- backends ---- */

/* The row whose state is shown: the first that is not up. */
static const json_t *row_not_up(const json_t *rows, size_t *n)
{
	const json_t *first = NULL;
	json_t *row;
	size_t i;
	*n = 0;
	json_array_foreach(rows, i, row)
	{
		if (strcmp(get_text(row, "state"), "up") == 0)
			continue;
		first = first ? first : row;
		(*n)++;
	}
	return first;
}

/* "at b:8404: connect refused", where it is not so everywhere. */
static void put_state(json_t *sum, const json_t *rows)
{
	size_t n_not_up;
	const json_t *bad = row_not_up(rows, &n_not_up);
	struct str why = STR_INIT;
	if (!bad)
		return;
	if (n_not_up < json_array_size(rows))
		str_printf(&why, "at %s: ", get_text(bad, "node"));
	str_text(&why, get_text(bad, "reason"));
	json_object_set(sum, "state", json_object_get(bad, "state"));
	json_object_set(sum, "since_s", json_object_get(bad, "since_s"));
	json_object_set_new(sum, "reason", json_string(why.ptr ? why.ptr : ""));
	str_fini(&why);
}

static json_t *merge_backend(const json_t *rows)
{
	json_t *sum = add_rows(rows);
	agree(sum, rows, "verdict");
	put_state(sum, rows);
	json_object_del(sum, "node");
	return sum;
}

/* ---- rows of one name ---- */

/* name -> the rows of that name, in the order in which names first came. */
static void gather(json_t *by_name, const json_t *rows, const char *node)
{
	json_t *row;
	size_t i;
	json_array_foreach(rows, i, row)
	{
		const char *name = get_text(row, "name");
		json_t *same = json_object_get(by_name, name);
		if (!same) {
			same = json_pack("[]");
			json_object_set_new(by_name, name, same);
		}
		json_t *mine = json_copy(row);
		json_object_set_new(mine, "node", json_string(node));
		json_array_append_new(same, mine);
	}
}

static json_t *merge_named(const json_t *by_name, json_t *(*merge)(const json_t *rows))
{
	json_t *out = json_pack("[]"), *rows;
	const char *name;
	json_object_foreach((json_t *)by_name, name, rows) json_array_append_new(out, merge(rows));
	return out;
}

/* ---- pools ---- */

static json_t *without_buckets(const json_t *pool)
{
	json_t *out = json_copy((json_t *)pool), *backends = json_pack("[]"), *b;
	size_t i;
	json_array_foreach(json_object_get(pool, "backends"), i, b)
	{
		b = json_copy(b);
		json_object_del(b, "buckets");
		json_array_append_new(backends, b);
	}
	json_object_set_new(out, "backends", backends);
	json_object_del(out, "buckets");
	return out;
}

static json_t *merge_one_pool(const json_t *rows)
{
	json_t *sum = add_rows(rows), *backends = json_pack("{}"), *nodes = json_pack("[]"), *row;
	size_t i;
	json_array_foreach(rows, i, row)
	{
		gather(backends, json_object_get(row, "backends"), get_text(row, "node"));
		json_array_append_new(nodes, without_buckets(row));
	}
	json_object_set_new(sum, "backends", merge_named(backends, merge_backend));
	json_object_set_new(sum, "nodes", nodes);
	agree(sum, rows, "verdict");
	agree(sum, rows, "strategy");
	json_object_del(sum, "node");
	json_decref(backends);
	return sum;
}

json_t *merge_pools(const json_t *answers)
{
	json_t *by_name = json_pack("{}"), *row;
	size_t i;
	json_array_foreach(answers, i, row)
	    gather(by_name, json_object_get(json_object_get(row, "answer"), "pools"),
		   get_text(row, "node"));
	json_t *pools = merge_named(by_name, merge_one_pool);
	json_decref(by_name);
	return json_pack("{s:o}", "pools", pools);
}

json_t *merge_pool(const json_t *answers)
{
	json_t *rows = json_pack("[]"), *row;
	size_t i;
	json_array_foreach(answers, i, row)
	{
		json_t *pool = json_copy(json_object_get(row, "answer"));
		json_object_set(pool, "node", json_object_get(row, "node"));
		json_array_append_new(rows, pool);
	}
	json_t *sum = merge_one_pool(rows);
	json_decref(rows);
	return sum;
}

/* ---- status ---- */

static void add_problems(json_t *out, const json_t *answer, const char *node)
{
	json_t *problem;
	size_t i;
	json_array_foreach(json_object_get(answer, "problems"), i, problem)
	{
		struct str text = STR_INIT;
		const char *said = json_string_value(problem);
		str_printf(&text, "%s: %s", node, said ? said : "?");
		json_array_append_new(out, json_string(text.ptr));
		str_fini(&text);
	}
}

json_t *merge_status(const json_t *answers)
{
	json_t *rows = json_pack("[]"), *totals = json_pack("[]"), *problems = json_pack("[]"),
	       *row;
	size_t i;
	json_array_foreach(answers, i, row)
	{
		json_t *answer = json_object_get(row, "answer");
		json_array_append(rows, answer);
		json_array_append(totals, json_object_get(answer, "totals"));
		add_problems(problems, answer, get_text(row, "node"));
	}
	const json_t *first = json_array_get(rows, 0);
	json_t *sum = json_pack(
	    "{s:O?, s:O?, s:o, s:o}", "version", json_object_get(first, "version"), "uptime_s",
	    json_object_get(first, "uptime_s"), "totals", add_rows(totals), "problems", problems);
	agree(sum, rows, "version");
	json_object_del(json_object_get(sum, "totals"), "latency");
	json_decref(totals);
	json_decref(rows);
	return sum;
}
