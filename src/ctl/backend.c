/* SPDX-License-Identifier: MIT */
/* Backends as weirctl names, colours and lists them. */
#include "backend.h"

#include <string.h>

#include "api.h"
#include "client.h"
#include "text.h"

#include "weir/base/defs.h"

/* A pool or a backend alone: what was meant, as far as the daemon can tell. */
static enum ctl_exit needs_slash(struct ctl *ctl, const char *text)
{
	size_t i, n_found = 0;
	json_t *pool, *pools = NULL;
	struct str found = STR_INIT;
	bool is_pool = false;
	if (api_get(ctl, "/v1/pools", &pools) != CTL_OK)
		str_reset(&ctl->why);
	json_array_foreach(json_object_get(pools, "pools"), i, pool)
	{
		is_pool |= strcmp(get_text(pool, "name"), text) == 0;
		if (!pool_backend(pool, text))
			continue;
		str_printf(&found, "%s%s/%s", n_found++ ? " or " : "", get_text(pool, "name"),
			   text);
	}
	ctl_fail(ctl, CTL_USAGE, "\"%s\" names no backend: say POOL/BACKEND; ", text);
	if (n_found)
		ctl_fail(ctl, CTL_USAGE, "did you mean %s?", found.ptr);
	else
		ctl_fail(ctl, CTL_USAGE, "\"weirctl backends%s%s\" lists them", is_pool ? " " : "",
			 is_pool ? text : "");
	str_fini(&found);
	json_decref(pools);
	return CTL_USAGE;
}

enum ctl_exit backend_ref_parse(struct ctl *ctl, const char *text, bool whole,
				struct backend_ref *out)
{
	size_t len = strcspn(text, "/");
	bool has_slash = text[len] == '/';
	if (len == 0 || len >= sizeof(out->pool) || (has_slash && !text[len + 1]))
		return ctl_fail(ctl, CTL_USAGE, "\"%s\" is not of the form POOL%s", text,
				whole ? "/BACKEND" : "[/BACKEND]");
	if (whole && !has_slash)
		return needs_slash(ctl, text);
	memcpy(out->pool, text, len);
	out->pool[len] = '\0';
	out->backend = has_slash ? text + len + 1 : NULL;
	return CTL_OK;
}

void backend_ref_path(const struct backend_ref *ref, struct str *out)
{
	str_text(out, "/v1/pools/");
	client_escape(out, ref->pool);
	if (!ref->backend)
		return;
	str_text(out, "/backends/");
	client_escape(out, ref->backend);
}

const json_t *pool_backend(const json_t *pool, const char *name)
{
	size_t i;
	json_t *backend;
	json_array_foreach(json_object_get(pool, "backends"), i,
			   backend) if (strcmp(get_text(backend, "name"), name) ==
					0) return backend;
	return NULL;
}

bool backend_is_usable(const json_t *backend)
{
	const char *state = get_text(backend, "state");
	return strcmp(state, "up") == 0 || strcmp(state, "unknown") == 0;
}

enum colour state_colour(const char *state)
{
	if (strcmp(state, "up") == 0)
		return GREEN;
	return strcmp(state, "down") == 0 ? RED : YELLOW;
}

/* What people read; the API has the keys. */
void put_verdict(struct str *out, const char *verdict)
{
	static const struct {
		const char *key, *text;
	} names[] = {
	    {"performance", "slow on its own"},
	    {"scalability", "slow under load"},
	    {"scalability_shared", "slow under load, shared bottleneck"},
	    {"skewed", "uneven"},
	    {"balancer", "weir itself"},
	    {"odd", "one backend differs"},
	    {"not_enough_data", "learning"},
	};
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(verdict, names[i].key) == 0)
			verdict = names[i].text;
	for (; *verdict; verdict++)
		str_char(out, *verdict == '_' ? ' ' : *verdict);
}

enum colour verdict_colour(const char *verdict)
{
	if (strcmp(verdict, "healthy") == 0 || strcmp(verdict, "steady") == 0)
		return GREEN;
	if (strcmp(verdict, "failing") == 0)
		return RED;
	return !*verdict || strcmp(verdict, "not_enough_data") == 0 ? PLAIN : YELLOW;
}

void put_why(struct str *out, const json_t *backend)
{
	const char *state = get_text(backend, "state"), *reason = get_text(backend, "reason");
	bool has_since = has_member(backend, "since_s");
	if (strcmp(state, "up") == 0) {
		const char *tls = get_text(backend, "tls_error");
		str_text(out, *tls ? "TLS: " : "");
		put_clean(out, tls);
		return;
	}
	if (has_since)
		put_age_s(out, get_u64(backend, "since_s"));
	if (*reason) {
		str_text(out, has_since ? ": " : "");
		put_clean(out, reason);
	}
}

void put_state(struct str *out, const json_t *backend)
{
	struct str why = STR_INIT;
	put_why(&why, backend);
	put_clean(out, get_text(backend, "state"));
	str_text(out, why.len ? " " : "");
	str_view(out, str_as_view(&why));
	str_fini(&why);
}

void backends_table_init(struct table *t)
{
	static const struct column columns[] = {
	    {"BACKEND", LEFT},    {"STATE", LEFT},     {"ADDRESS", LEFT}, {"WEIGHT", RIGHT},
	    {"IN FLIGHT", RIGHT}, {"QUEUED", RIGHT},   {"CONNS", RIGHT},  {"IDLE", RIGHT},
	    {"RATE", RIGHT},      {"REQUESTS", RIGHT}, {"ERRORS", RIGHT}, {"RETRIES", RIGHT},
	    {"P50", RIGHT},       {"P99", RIGHT},      {"MAX", RIGHT},    {"WHY", LEFT}};
	table_init(t, columns, ARRAY_LEN(columns));
}

void latency_cell(struct table *t, const json_t *latency, const char *key)
{
	struct str *cell = table_cell(t);
	if (get_u64(latency, "n"))
		put_duration_us(cell, get_u64(latency, key));
	else
		str_char(cell, '-');
}

void backends_table_row(struct table *t, const char *pool, const json_t *b)
{
	const char *name = get_text(b, "name"), *state = get_text(b, "state");
	uint64_t errors = get_u64(b, "errors");
	struct str *cell = table_cell(t);
	put_clean(cell, pool);
	str_char(cell, '/');
	put_clean(cell, name);
	put_clean(table_cell_in(t, state_colour(state)), state);
	put_clean(table_cell(t), get_text(b, "address"));
	str_u64(table_cell(t), get_u64(b, "weight"));
	str_u64(table_cell(t), get_u64(b, "in_flight"));
	str_u64(table_cell(t), get_u64(b, "queued"));
	str_u64(table_cell(t), get_u64(b, "upconns"));
	str_u64(table_cell(t), get_u64(b, "idle_upconns"));
	put_rate(table_cell(t), get_real(b, "rate"));
	str_u64(table_cell(t), get_u64(b, "requests"));
	str_u64(table_cell_in(t, errors ? YELLOW : PLAIN), errors);
	str_u64(table_cell(t), get_u64(b, "retries"));
	const json_t *minute = json_object_get(json_object_get(b, "latency"), "1m");
	const json_t *total = json_object_get(minute, "total");
	latency_cell(t, total, "p50_us");
	latency_cell(t, total, "p99_us");
	latency_cell(t, total, "max_us");
	put_why(table_cell_in(t, state_colour(state)), b);
}
