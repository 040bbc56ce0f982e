/* SPDX-License-Identifier: MIT */
/*
 * The last changes of state, in a ring of the process: whoever changes
 * something says so with event_add, GET /v1/events shows it.
 */
#include "api.h"

#include <stdlib.h>
#include <string.h>

#include "weir/base/clock.h"
#include "weir/base/parse.h"

struct event {
	uint64_t id;
	uint64_t at_wall_us;
	enum event_kind kind;
	/* pieces of one block, which `pool` owns */
	struct view pool, backend, message;
};

static const char *const kind_names[] = {
    [EVENT_START] = "start",     [EVENT_RELOAD] = "reload", [EVENT_RELOAD_FAILED] = "reload_failed",
    [EVENT_STATE] = "state",     [EVENT_WEIGHT] = "weight", [EVENT_ADD] = "add",
    [EVENT_REMOVE] = "remove",   [EVENT_DRAIN] = "drain",   [EVENT_MARK] = "mark",
    [EVENT_VERDICT] = "verdict", [EVENT_SOURCE] = "source", [EVENT_CERTIFICATE] = "certificate",
};

static struct event ring[EVENTS_MAX];           /* event id at index id % EVENTS_MAX */
static uint64_t last_id;                        /* ids count from 1 */
static uint64_t last_at[ARRAY_LEN(kind_names)]; /* wall clock, by kind */

static struct view append(char **at, struct view v)
{
	struct view copy = view_of(*at, v.len);
	if (v.len)
		memcpy(*at, v.ptr, v.len);
	*at += v.len;
	return copy;
}

static void event_add_at(uint64_t wall_us, enum event_kind kind, struct view pool,
			 struct view backend, struct view message)
{
	last_at[kind] = wall_us;
	char *block = malloc(pool.len + backend.len + message.len + 1);
	if (!block)
		return;
	struct event *e = &ring[++last_id % EVENTS_MAX];
	free((char *)e->pool.ptr);
	*e = (struct event){.id = last_id, .at_wall_us = wall_us, .kind = kind};
	e->pool = append(&block, pool);
	e->backend = append(&block, backend);
	e->message = append(&block, message);
}

void event_add(enum event_kind kind, struct view pool, struct view backend, const char *fmt, ...)
{
	struct str message = STR_INIT;
	va_list ap;
	va_start(ap, fmt);
	str_vprintf(&message, fmt, ap);
	va_end(ap);
	event_add_at(clock_wall_us(), kind, pool, backend, str_as_view(&message));
	str_fini(&message);
}

uint64_t event_last_wall_us(enum event_kind kind)
{
	return last_at[kind];
}

uint64_t event_last_id(void)
{
	return last_id;
}

uint64_t events_since(uint64_t id, void (*fn)(void *arg, const struct event_row *row), void *arg)
{
	uint64_t first = last_id < EVENTS_MAX ? 1 : last_id - EVENTS_MAX + 1;
	for (uint64_t i = id >= first ? id + 1 : first; i <= last_id; i++) {
		const struct event *e = &ring[i % EVENTS_MAX];
		struct event_row row = {
		    .at_wall_us = e->at_wall_us,
		    .kind = kind_names[e->kind],
		    .pool = e->pool,
		    .backend = e->backend,
		    .message = e->message,
		};
		if (e->id == i)
			fn(arg, &row);
	}
	return last_id;
}

/* ---- for the process that takes over ---- */

void events_pack(struct str *out)
{
	pack_u64(out, last_id);
	for (uint64_t id = last_id < EVENTS_MAX ? 1 : last_id - EVENTS_MAX + 1; id <= last_id;
	     id++) {
		const struct event *e = &ring[id % EVENTS_MAX];
		pack_view(out, view_str(kind_names[e->kind]));
		pack_u64(out, e->at_wall_us);
		pack_view(out, e->pool);
		pack_view(out, e->backend);
		pack_view(out, e->message);
	}
}

static bool kind_of(struct view name, enum event_kind *kind)
{
	for (size_t i = 0; i < ARRAY_LEN(kind_names); i++) {
		if (view_eq(name, view_str(kind_names[i]))) {
			*kind = (enum event_kind)i;
			return true;
		}
	}
	return false;
}

/* Ids go on where they were, for those who ask what came since. */
void events_unpack(struct unpack *in)
{
	uint64_t last = unpack_u64(in), n = last < EVENTS_MAX ? last : EVENTS_MAX;
	if (in->bad || last_id)
		return;
	for (last_id = last - n; in->left && !in->bad && last_id < last;) {
		enum event_kind kind = EVENT_STATE;
		bool known = kind_of(unpack_view(in), &kind);
		uint64_t at_us = unpack_u64(in);
		struct view pool = unpack_view(in), backend = unpack_view(in),
			    message = unpack_view(in);
		if (!in->bad && known)
			event_add_at(at_us, kind, pool, backend, message);
		else
			last_id++;
	}
	last_id = last;
}

/* ---- for the API ---- */

static void put_event(struct json *j, const struct event *e)
{
	json_object_begin(j);
	json_member_u64(j, "id", e->id);
	json_member_time(j, "at", e->at_wall_us);
	json_member_text(j, "kind", kind_names[e->kind]);
	json_member_optional(j, "pool", e->pool);
	json_member_optional(j, "backend", e->backend);
	json_member_view(j, "message", e->message);
	json_object_end(j);
}

/* What concerns everybody concerns each pool, and what concerns a pool its backends. */
static bool concerns(struct view whom, struct view of)
{
	return !whom.len || !of.len || view_eq(whom, of);
}

void put_events_since(struct json *j, uint64_t wall_us, struct view pool, struct view backend)
{
	json_array_begin(j);
	for (uint64_t id = last_id < EVENTS_MAX ? 1 : last_id - EVENTS_MAX + 1; id <= last_id;
	     id++) {
		const struct event *e = &ring[id % EVENTS_MAX];
		if (e->at_wall_us >= wall_us && concerns(e->pool, pool) &&
		    concerns(e->backend, backend))
			put_event(j, e);
	}
	json_array_end(j);
}

void api_events(struct call *call)
{
	static const char *const names[] = {"since", NULL};
	struct view since_text;
	struct json j;
	uint64_t since = 0;
	if (!call_query(call, names, &since_text))
		return;
	if (since_text.ptr && !parse_u64(since_text, &since)) {
		call_error(call, 400, "since must be the id of an event, a number");
		return;
	}
	uint64_t first = last_id < EVENTS_MAX ? 1 : last_id - EVENTS_MAX + 1;
	if (since >= first)
		first = since < last_id ? since + 1 : last_id + 1;
	json_init(&j, &call->answer.body, false);
	json_object_begin(&j);
	json_key(&j, "events");
	json_array_begin(&j);
	for (uint64_t id = first; id <= last_id; id++)
		put_event(&j, &ring[id % EVENTS_MAX]);
	json_array_end(&j);
	json_member_u64(&j, "last", last_id);
	json_object_end(&j);
}
