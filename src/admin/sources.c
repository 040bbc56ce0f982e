/* SPDX-License-Identifier: MIT */
/* Sources of members: GET /v1/sources, metrics, and problems while one fails. */
#include "sources.h"

#include <stdio.h>

#include "api.h"

#include "weir/discover/discover.h"

static const char *const states[] = {
    [CONF_MEMBER_HERE] = "here", [CONF_MEMBER_DRAINING] = "draining", [CONF_MEMBER_GONE] = "gone"};

/* ---- GET /v1/sources ---- */

static void put_seconds(struct json *j, const char *key, uint64_t us)
{
	json_key(j, key);
	if (us == UINT64_MAX)
		json_null(j);
	else
		json_u64(j, us / 1000000);
}

static void put_member(struct json *j, const struct discover_member *m)
{
	json_object_begin(j);
	json_member_view(j, "name", m->name);
	json_member_view(j, "address", m->address);
	json_member_text(j, "state", states[m->state]);
	json_member_u64(j, "weight", m->weight);
	json_member_u64(j, "priority", m->priority);
	json_member_view(j, "cause", m->cause);
	put_seconds(j, "age_s", m->age_us);
	json_object_end(j);
}

static void put_source(struct json *j, const struct discover_source *s)
{
	json_object_begin(j);
	json_member_view(j, "pool", s->pool);
	json_member_text(j, "kind", s->kind);
	json_member_view(j, "source", s->text);
	json_member_optional(j, "error", s->error);
	put_seconds(j, "answer_age_s", s->answer_age_us);
	put_seconds(j, "next_s", s->next_us);
	json_member_u64(j, "answers", s->n_answers);
	json_member_u64(j, "failures", s->n_failures);
	json_member_u64(j, "changes", s->n_changes);
	json_key(j, "members");
	json_array_begin(j);
	for (size_t i = 0; i < s->n_members; i++)
		put_member(j, &s->members[i]);
	json_array_end(j);
	json_object_end(j);
}

void api_sources(struct call *call)
{
	const struct admin_host *host = &call->api->host;
	struct json j;
	size_t n;
	const struct discover_source *rows = host->sources(host->ctx, call->arena, &n);
	json_init(&j, &call->answer.body, false);
	json_object_begin(&j);
	json_key(&j, "sources");
	json_array_begin(&j);
	for (size_t i = 0; i < n; i++)
		put_source(&j, &rows[i]);
	json_array_end(&j);
	json_object_end(&j);
}

/* ---- problems ---- */

static size_t n_in(const struct discover_source *s, enum conf_member state)
{
	size_t n = 0;
	for (size_t i = 0; i < s->n_members; i++)
		n += s->members[i].state == state;
	return n;
}

void put_source_problems(struct json *j, const struct admin_host *host, struct arena *arena)
{
	size_t n;
	const struct discover_source *rows = host->sources(host->ctx, arena, &n);
	for (size_t i = 0; i < n; i++) {
		const struct discover_source *s = &rows[i];
		size_t n_here = s->n_members - n_in(s, CONF_MEMBER_GONE);
		char stay[48] = "it has no members";
		if (!s->error.len)
			continue;
		if (n_here)
			snprintf(stay, sizeof(stay), "%zu member%s from before", n_here,
				 n_here == 1 ? " stays" : "s stay");
		json_textf(j, "pool " VIEW_FMT ": %s " VIEW_FMT ": " VIEW_FMT "; %s",
			   VIEW_ARG(s->pool), s->kind, VIEW_ARG(s->text), VIEW_ARG(s->error), stay);
	}
}

/* ---- metrics ---- */

static void begin(struct metric *m, const char *name, const struct discover_source *s)
{
	metric_begin(m, name);
	metric_label(m, "pool", s->pool);
	metric_label(m, "kind", view_str(s->kind));
	metric_label(m, "source", s->text);
}

static void put_members(struct metric *m, const struct discover_source *rows, size_t n)
{
	static const char *const name = "weir_source_members";
	metric_family(m, name, "gauge", "Members that a source names, by their state.");
	for (size_t i = 0; i < n; i++)
		for (unsigned state = 0; state < ARRAY_LEN(states); state++) {
			begin(m, name, &rows[i]);
			metric_label(m, "state", view_str(states[state]));
			metric_u64(m, n_in(&rows[i], (enum conf_member)state));
		}
}

static void put_counter(struct metric *m, const struct discover_source *rows, size_t n,
			const char *name, const char *help, size_t offset)
{
	metric_family(m, name, "counter", help);
	for (size_t i = 0; i < n; i++) {
		const char *base = (const char *)&rows[i];
		begin(m, name, &rows[i]);
		metric_u64(m, *(const uint64_t *)(const void *)(base + offset));
	}
}

static void put_gauges(struct metric *m, const struct discover_source *rows, size_t n)
{
	static const char *const up = "weir_source_up";
	static const char *const age = "weir_source_answer_age_seconds";
	metric_family(m, up, "gauge", "1: the last question was answered well.");
	for (size_t i = 0; i < n; i++) {
		begin(m, up, &rows[i]);
		metric_u64(m, !rows[i].error.len && rows[i].answer_age_us != UINT64_MAX);
	}
	metric_family(m, age, "gauge", "Time since the last good answer.");
	for (size_t i = 0; i < n; i++) {
		if (rows[i].answer_age_us == UINT64_MAX)
			continue;
		begin(m, age, &rows[i]);
		metric_seconds(m, rows[i].answer_age_us);
	}
}

void put_source_metrics(struct metric *m, const struct admin_host *host, struct arena *arena)
{
	size_t n;
	const struct discover_source *rows = host->sources(host->ctx, arena, &n);
	if (!n)
		return;
	put_members(m, rows, n);
	put_gauges(m, rows, n);
	put_counter(m, rows, n, "weir_source_answers_total", "Good answers.",
		    offsetof(struct discover_source, n_answers));
	put_counter(m, rows, n, "weir_source_failures_total", "Questions without a good answer.",
		    offsetof(struct discover_source, n_failures));
	put_counter(m, rows, n, "weir_source_changes_total", "Answers that changed the members.",
		    offsetof(struct discover_source, n_changes));
}
