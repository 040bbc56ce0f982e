/* SPDX-License-Identifier: MIT */
/* weirctl scaling, slow and history: is it slow, where, since when, and would one more help? */
#include "api.h"
#include "backend.h"
#include "client.h"
#include "commands.h"
#include "stamp.h"
#include "text.h"

#include <math.h>

#include "weir/base/defs.h"
#include "weir/base/parse.h"

#define CURVE_ROWS 16
#define CURVE_WIDTH 40
#define CURVE_SURE 30 /* completions that the rate of a level must stand on to set the scale */
#define HISTORY_WIDTH 24

static void put_bar(struct str *out, double value, double most, unsigned width)
{
	unsigned n = most > 0 ? (unsigned)(fmin(value / most, 1) * width + 0.5) : 0;
	while (n--)
		str_char(out, '#');
}

/* ---- scaling ---- */

/* "alone   p50 9.90 ms, p95 12.1 ms (1200 requests)" */
static void put_latency(struct str *out, const char *title, const json_t *latency)
{
	static const char *const rows[][2] = {
	    {"p50", "p50_us"}, {"p95", "p95_us"}, {"p99", "p99_us"}};
	if (!get_u64(latency, "n"))
		return;
	str_printf(out, "  %-9s", title);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!has_member(latency, rows[i][1]))
			continue;
		str_printf(out, "%s%s ", i ? ", " : "", rows[i][0]);
		put_duration_us(out, get_u64(latency, rows[i][1]));
	}
	str_printf(out, " (%llu requests)\n", (unsigned long long)get_u64(latency, "n"));
}

static void put_model(struct str *out, const json_t *model)
{
	str_text(out, "  model    ");
	if (has_member(model, "refusal")) {
		str_text(out, "none: ");
		put_clean(out, get_text(model, "refusal"));
	} else {
		put_clean(out, get_text(model, "kind"));
		if (has_member(model, "workers"))
			str_printf(out, ", %s%g at work in a backend",
				   get_bool(model, "workers_at_least") ? "at least " : "",
				   get_real(model, "workers"));
		if (has_member(model, "capacity")) {
			str_printf(out, ", capacity %s",
				   get_bool(model, "capacity_at_least") ? "at least " : "");
			put_rate(out, get_real(model, "capacity"));
		}
	}
	str_char(out, '\n');
}

/* What is the same for all is said once. */
static bool same_refusal(const json_t *forecasts)
{
	size_t i;
	json_t *f;
	const char *first = get_text(json_array_get(forecasts, 0), "refusal");
	json_array_foreach(forecasts, i,
			   f) if (!has_member(f, "refusal") ||
				  strcmp(get_text(f, "refusal"), first) != 0) return false;
	return json_array_size(forecasts) > 0;
}

static void put_refusal(struct str *out, const json_t *f)
{
	double load = get_real(f, "load");
	str_printf(out, "with %d", (int)get_real(f, "backends"));
	if (load > 0 && load != 1)
		str_printf(out, " and %.3g times the load", load);
	str_text(out, ": ");
	put_clean(out, get_text(f, "refusal"));
}

static void put_forecasts(struct str *out, const json_t *forecasts)
{
	size_t i;
	json_t *f;
	if (same_refusal(forecasts)) {
		str_text(out, "  forecast none: ");
		put_clean(out, get_text(json_array_get(forecasts, 0), "refusal"));
		str_char(out, '\n');
		return;
	}
	json_array_foreach(forecasts, i, f)
	{
		str_printf(out, "  %-9s", i ? "" : "forecast");
		if (has_member(f, "refusal"))
			put_refusal(out, f);
		else
			put_clean(out, get_text(f, "sentence"));
		str_char(out, '\n');
	}
}

/* The fitted rate at this level; 0: none. */
static double fitted_at(const json_t *fitted, double in_flight)
{
	size_t i;
	json_t *row;
	json_array_foreach(fitted, i, row) if (get_real(row, "in_flight") ==
					       in_flight) return get_real(row, "rate");
	return 0;
}

static void put_curve(struct ctl *ctl, const json_t *curve, const json_t *fitted)
{
	static const struct column columns[] = {
	    {"IN FLIGHT", RIGHT}, {"RATE", RIGHT}, {"FITTED", RIGHT}, {"", LEFT}};
	size_t n = json_array_size(curve), step = (n + CURVE_ROWS - 1) / CURVE_ROWS;
	double most = 0;
	struct table t;
	if (!n)
		return;
	for (size_t i = 0; i < n; i++) {
		const json_t *row = json_array_get(curve, i);
		if (get_u64(row, "completions") >= CURVE_SURE && get_real(row, "rate") > most)
			most = get_real(row, "rate");
	}
	table_init(&t, columns, ARRAY_LEN(columns));
	for (size_t i = 0; i < n; i += step) {
		const json_t *row = json_array_get(curve, i);
		double fit = fitted_at(fitted, get_real(row, "in_flight"));
		str_printf(table_cell(&t), "%g", get_real(row, "in_flight"));
		put_rate(table_cell(&t), get_real(row, "rate"));
		struct str *cell = table_cell(&t);
		if (fit > 0)
			put_rate(cell, fit);
		else
			str_char(cell, '-');
		put_bar(table_cell(&t), get_real(row, "rate"), most, CURVE_WIDTH);
	}
	str_text(&ctl->out, "\na typical backend:\n");
	table_print(&t, &ctl->out, ctl->colour);
	table_fini(&t);
}

/* Another verdict that has not held for long enough. */
static void put_next(struct str *out, const json_t *next)
{
	if (!json_is_object(next))
		return;
	str_text(out, "  leaning  to ");
	put_verdict(out, get_text(next, "verdict"));
	str_printf(out, ": %d of %d looks agree\n", (int)get_real(next, "looks"),
		   (int)get_real(next, "of"));
}

/* It is judged with what this one sent. */
static void put_other_nodes(struct str *out, const json_t *others)
{
	if (has_member(others, "known") && !get_bool(others, "known")) {
		str_text(out, "  nodes    what others send is not known\n");
		return;
	}
	if (get_real(others, "rate") <= 0 && get_real(others, "in_flight") <= 0)
		return;
	str_text(out, "  nodes    others send ");
	put_rate(out, get_real(others, "rate"));
	str_printf(out, ", %.1f in flight, to the same backends: the verdict is of the sum\n",
		   get_real(others, "in_flight"));
}

static void print_scaling(struct ctl *ctl, const json_t *s)
{
	struct str *out = &ctl->out, head = STR_INIT;
	const json_t *evidence = json_object_get(s, "evidence"),
		     *model = json_object_get(s, "model");
	put_clean(out, get_text(s, "pool"));
	str_text(out, ": ");
	put_verdict(&head, get_text(s, "verdict"));
	put_coloured(out, ctl->colour, get_bool(s, "problem") ? YELLOW : BOLD,
		     head.ptr ? head.ptr : "", head.len);
	str_fini(&head);
	str_text(out, "\n  ");
	put_clean(out, get_text(s, "sentence"));
	str_text(out, "\n  ");
	put_clean(out, get_text(s, "meaning"));
	str_char(out, '\n');
	put_next(out, json_object_get(s, "next"));
	put_latency(out, "alone", json_object_get(evidence, "alone"));
	put_latency(out, "now", json_object_get(evidence, "now"));
	if (has_member(evidence, "growth"))
		str_printf(out, "  growth   %.2f times as long as alone\n",
			   get_real(evidence, "growth"));
	put_other_nodes(out, json_object_get(s, "other_nodes"));
	put_model(out, model);
	put_forecasts(out, json_object_get(s, "forecast"));
	put_curve(ctl, json_object_get(s, "curve"), json_object_get(model, "fitted"));
}

static void pool_path(struct str *path, const char *pool, const char *rest)
{
	str_text(path, "/v1/pools/");
	client_escape(path, pool);
	str_text(path, rest);
}

/* "/v1/pools/P" + rest for the pool of the arguments, or for each pool there is. */
static enum ctl_exit show_pools(struct ctl *ctl, const char *rest,
				void (*print)(struct ctl *ctl, const json_t *answer))
{
	struct str path = STR_INIT;
	json_t *pools, *pool;
	size_t i;
	if (ctl->n_args) {
		pool_path(&path, ctl->args[0], rest);
		enum ctl_exit code = api_show(ctl, path.ptr, print);
		str_fini(&path);
		return code;
	}
	enum ctl_exit code = api_get(ctl, "/v1/pools", &pools);
	json_t *answers = json_pack("[]"); /* json_array() is the name of another, in base/ */
	for (i = 0; code == CTL_OK && i < json_array_size(json_object_get(pools, "pools")); i++) {
		json_t *answer;
		pool = json_array_get(json_object_get(pools, "pools"), i);
		str_reset(&path);
		pool_path(&path, get_text(pool, "name"), rest);
		code = api_get(ctl, path.ptr, &answer);
		if (code != CTL_OK)
			break;
		if (!ctl->json) {
			str_text(&ctl->out, i ? "\n" : "");
			print(ctl, answer);
		}
		json_array_append_new(answers, answer);
	}
	if (code == CTL_OK && ctl->json)
		api_put_json(ctl, answers);
	json_decref(answers);
	json_decref(pools);
	str_fini(&path);
	return code;
}

enum ctl_exit cmd_scaling(struct ctl *ctl)
{
	return show_pools(ctl, "/scaling", print_scaling);
}

/* ---- slow ---- */

static void slow_row(struct table *t, const json_t *row)
{
	static const char *const phases[] = {"total_us",    "queue_us",  "connect_us", "wait_us",
					     "transfer_us", "client_us", "self_us"};
	const json_t *spent = json_object_get(row, "phases");
	put_stamp(table_cell(t), json_object_get(row, "at"));
	put_clean(table_cell(t), get_text(row, "backend"));
	for (size_t i = 0; i < ARRAY_LEN(phases); i++)
		put_duration_us(table_cell(t), get_u64(spent, phases[i]));
	str_u64(table_cell(t), get_u64(row, "in_flight"));
	str_u64(table_cell(t), get_u64(row, "queue_length"));
	str_u64(table_cell(t), get_u64(row, "status"));
	put_clean(table_cell(t), get_text(row, "outcome"));
	struct str *cell = table_cell(t);
	put_clean(cell, get_text(row, "method"));
	str_char(cell, ' ');
	put_clean(cell, get_text(row, "path"));
	put_clean(table_cell(t), get_text(row, "request_id"));
}

static void print_slow(struct ctl *ctl, const json_t *answer)
{
	static const struct column columns[] = {
	    {"AT", LEFT},       {"BACKEND", LEFT}, {"TOTAL", RIGHT},    {"QUEUE", RIGHT},
	    {"CONNECT", RIGHT}, {"WAIT", RIGHT},   {"TRANSFER", RIGHT}, {"CLIENT", RIGHT},
	    {"SELF", RIGHT},    {"BESIDE", RIGHT}, {"QUEUED", RIGHT},   {"STATUS", RIGHT},
	    {"OUTCOME", LEFT},  {"REQUEST", LEFT}, {"REQUEST ID", LEFT}};
	struct table t;
	size_t i;
	json_t *row;
	const json_t *slow = json_object_get(answer, "slow");
	put_clean(&ctl->out, get_text(answer, "pool"));
	if (json_array_size(slow) == 0) {
		str_text(&ctl->out, ": nothing in the last five minutes\n");
		return;
	}
	str_text(&ctl->out, ": the slowest of the last five minutes\n");
	table_init(&t, columns, ARRAY_LEN(columns));
	json_array_foreach(slow, i, row) slow_row(&t, row);
	table_print(&t, &ctl->out, ctl->colour);
	table_fini(&t);
}

enum ctl_exit cmd_slow(struct ctl *ctl)
{
	return show_pools(ctl, "/slow", print_slow);
}

/* ---- history ---- */

static double most_of(const json_t *rows, const char *key)
{
	double most = 0;
	size_t i;
	json_t *row;
	json_array_foreach(rows, i, row) most =
	    get_real(row, key) > most ? get_real(row, key) : most;
	return most;
}

static void history_row(struct table *t, const json_t *row, double most_us)
{
	uint64_t errors = get_u64(row, "errors");
	put_stamp(table_cell(t), json_object_get(row, "at_s"));
	put_rate(table_cell(t), get_real(row, "rate"));
	str_u64(table_cell_in(t, errors ? YELLOW : PLAIN), errors);
	str_printf(table_cell(t), "%.1f", get_real(row, "in_flight"));
	str_u64(table_cell(t), get_u64(row, "queued"));
	put_duration_us(table_cell(t), get_u64(row, "p50_us"));
	put_duration_us(table_cell(t), get_u64(row, "p99_us"));
	put_bar(table_cell(t), get_real(row, "p99_us"), most_us, HISTORY_WIDTH);
	const char *state = get_text(row, "state");
	put_clean(table_cell_in(t, *state ? state_colour(state) : PLAIN), state);
}

static void print_markers(struct ctl *ctl, const json_t *answer)
{
	size_t i;
	json_t *row;
	json_array_foreach(json_object_get(answer, "markers"), i, row)
	{
		put_stamp(&ctl->out, json_object_get(row, "at"));
		str_text(&ctl->out, "  ");
		put_clean(&ctl->out, get_text(row, "kind"));
		str_text(&ctl->out, *get_text(row, "backend") ? "  " : "");
		put_clean(&ctl->out, get_text(row, "backend"));
		str_text(&ctl->out, "  ");
		put_clean(&ctl->out, get_text(row, "message"));
		str_char(&ctl->out, '\n');
	}
}

static void print_history(struct ctl *ctl, const json_t *answer)
{
	static const struct column columns[] = {
	    {"AT", LEFT},         {"RATE", RIGHT},   {"ERRORS", RIGHT},
	    {"IN FLIGHT", RIGHT}, {"QUEUED", RIGHT}, {"P50", RIGHT},
	    {"P99", RIGHT},       {"", LEFT},        {"STATE", LEFT}};
	struct table t;
	size_t i;
	json_t *row;
	const json_t *rows = json_object_get(answer, "rows");
	double most_us = most_of(rows, "p99_us");
	table_init(&t, columns, ARRAY_LEN(columns));
	json_array_foreach(rows, i, row) history_row(&t, row, most_us);
	table_print(&t, &ctl->out, ctl->colour);
	table_fini(&t);
	print_markers(ctl, answer);
}
/* ---- history that is stored ---- */

/* "-" where nothing succeeded. */
static void percentile_cell(struct table *t, const json_t *row, const char *key)
{
	if (json_is_integer(json_object_get(row, key)))
		put_duration_us(table_cell(t), get_u64(row, key));
	else
		str_text(table_cell(t), "-");
}

static void past_row(struct table *t, const json_t *row, double most_us)
{
	uint64_t errors = get_u64(row, "errors");
	put_stamp(table_cell(t), json_object_get(row, "at_s"));
	put_rate(table_cell(t), get_real(row, "rate"));
	str_u64(table_cell(t), get_u64(row, "requests"));
	str_u64(table_cell_in(t, errors ? YELLOW : PLAIN), errors);
	str_printf(table_cell(t), "%.1f", get_real(row, "in_flight"));
	percentile_cell(t, row, "p50_us");
	percentile_cell(t, row, "p95_us");
	percentile_cell(t, row, "p99_us");
	put_bar(table_cell(t), get_real(row, "p99_us"), most_us, HISTORY_WIDTH);
}

static void print_past_rows(struct ctl *ctl, const json_t *rows)
{
	static const struct column columns[] = {
	    {"FROM", LEFT},    {"RATE", RIGHT},      {"REQUESTS", RIGHT},
	    {"ERRORS", RIGHT}, {"IN FLIGHT", RIGHT}, {"P50", RIGHT},
	    {"P95", RIGHT},    {"P99", RIGHT},       {"", LEFT}};
	struct table t;
	size_t i;
	json_t *row;
	double most_us = most_of(rows, "p99_us");
	if (!json_array_size(rows)) {
		str_text(&ctl->out, "nothing is stored of it in that time\n");
		return;
	}
	table_init(&t, columns, ARRAY_LEN(columns));
	json_array_foreach(rows, i, row) past_row(&t, row, most_us);
	table_print(&t, &ctl->out, ctl->colour);
	table_fini(&t);
}

static void print_past(struct ctl *ctl, const json_t *answer)
{
	const json_t *pools = json_object_get(answer, "pools");
	size_t i;
	json_t *pool;
	if (*get_text(answer, "why")) {
		str_text(&ctl->out, "what is stored cannot be read: ");
		put_clean(&ctl->out, get_text(answer, "why"));
		str_char(&ctl->out, '\n');
	}
	if (!pools)
		print_past_rows(ctl, json_object_get(answer, "rows"));
	if (pools && !json_array_size(pools))
		str_text(&ctl->out, "nothing is stored of that time\n");
	json_array_foreach(pools, i, pool)
	{
		str_text(&ctl->out, i ? "\n" : "");
		put_clean(&ctl->out, get_text(pool, "pool"));
		str_char(&ctl->out, '\n');
		print_past_rows(ctl, json_object_get(pool, "rows"));
	}
	print_markers(ctl, answer);
}

static void put_parameter(struct str *path, const char *name, const char *value)
{
	if (!value)
		return;
	str_printf(path, "%s%s=", strchr(path->ptr, '?') ? "&" : "?", name);
	client_escape(path, value);
}

static enum ctl_exit show_past(struct ctl *ctl)
{
	struct backend_ref ref = {.backend = NULL};
	enum ctl_exit code =
	    ctl->n_args ? backend_ref_parse(ctl, ctl->args[0], false, &ref) : CTL_OK;
	if (code != CTL_OK)
		return code;
	if (ctl->seconds)
		return ctl_fail(ctl, CTL_USAGE, "--seconds and --since: one of the two");
	struct str path = STR_INIT;
	str_text(&path, "/v1/history");
	put_parameter(&path, "since", ctl->since ? ctl->since : "-1d");
	put_parameter(&path, "step", ctl->step);
	put_parameter(&path, "pool", ctl->n_args ? ref.pool : NULL);
	put_parameter(&path, "backend", ref.backend);
	code = api_show(ctl, path.ptr, print_past);
	str_fini(&path);
	return code;
}

enum ctl_exit cmd_history(struct ctl *ctl)
{
	struct backend_ref ref;
	uint64_t seconds = 60;
	if (ctl->since || ctl->step)
		return show_past(ctl);
	if (!ctl->n_args)
		return ctl_fail(ctl, CTL_USAGE,
				"of which pool? Of all there is what is stored: --since -1d");
	enum ctl_exit code = backend_ref_parse(ctl, ctl->args[0], false, &ref);
	if (code != CTL_OK)
		return code;
	if (ctl->seconds && !parse_u64(view_str(ctl->seconds), &seconds))
		return ctl_fail(ctl, CTL_USAGE, "--seconds takes a number, not \"%s\"",
				ctl->seconds);
	struct str path = STR_INIT;
	api_history_path(&path, ref.pool, ref.backend, seconds);
	code = api_show(ctl, path.ptr, print_history);
	str_fini(&path);
	return code;
}
