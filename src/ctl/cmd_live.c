/* SPDX-License-Identifier: MIT */
/* weirctl connections and weirctl events. */
#include "api.h"
#include "commands.h"
#include "stamp.h"
#include "table.h"
#include "text.h"

#include <stdio.h>
#include <time.h>

#include "weir/base/defs.h"

#define FOLLOW_NS 500000000

/* "POOL/BACKEND", either of them missing, or "-". */
static void put_place(struct str *out, const json_t *object)
{
	const char *pool = get_text(object, "pool"), *backend = get_text(object, "backend");
	put_clean(out, *pool ? pool : "-");
	if (*backend) {
		str_char(out, '/');
		put_clean(out, backend);
	}
}

static void connection_row(struct table *t, const json_t *c)
{
	str_u64(table_cell(t), get_u64(c, "id"));
	str_u64(table_cell(t), get_u64(c, "worker"));
	put_clean(table_cell(t), get_text(c, "listener"));
	put_clean(table_cell(t), get_text(c, "client"));
	put_clean(table_cell(t), get_text(c, "state"));
	str_u64(table_cell(t), get_u64(c, "requests"));
	put_age_s(table_cell(t), get_u64(c, "age_s"));
	put_bytes(table_cell(t), get_u64(c, "bytes_in"));
	put_bytes(table_cell(t), get_u64(c, "bytes_out"));
	put_place(table_cell(t), c);
	put_clean(table_cell(t), get_text(c, "path"));
}

static void print_connections(struct ctl *ctl, const json_t *answer)
{
	static const struct column columns[] = {
	    {"ID", RIGHT},   {"WORKER", RIGHT},   {"LISTENER", LEFT}, {"CLIENT", LEFT},
	    {"STATE", LEFT}, {"REQUESTS", RIGHT}, {"AGE", RIGHT},     {"IN", RIGHT},
	    {"OUT", RIGHT},  {"BACKEND", LEFT},   {"PATH", LEFT}};
	const json_t *connections = json_object_get(answer, "connections");
	struct table t;
	size_t i;
	json_t *c;
	if (json_array_size(connections) == 0) {
		str_text(&ctl->out, "no client is connected\n");
		return;
	}
	table_init(&t, columns, ARRAY_LEN(columns));
	json_array_foreach(connections, i, c) connection_row(&t, c);
	table_print(&t, &ctl->out, ctl->colour);
	table_fini(&t);
}

enum ctl_exit cmd_connections(struct ctl *ctl)
{
	return api_show(ctl, "/v1/connections", print_connections);
}

static void put_event(struct ctl *ctl, const json_t *event)
{
	struct str *out = &ctl->out;
	if (ctl->follow && ctl->json) {
		api_put_json(ctl, event);
		return;
	}
	put_stamp(out, json_object_get(event, "at"));
	str_text(out, "  ");
	put_clean(out, get_text(event, "kind"));
	if (*get_text(event, "pool")) {
		str_text(out, "  ");
		put_place(out, event);
	}
	str_text(out, "  ");
	put_clean(out, get_text(event, "message"));
	str_char(out, '\n');
}

/* Appends the events later than *last, which moves on. */
static enum ctl_exit take_events(struct ctl *ctl, uint64_t *last)
{
	char path[64];
	json_t *answer, *event;
	size_t i;
	snprintf(path, sizeof(path), "/v1/events?since=%llu", (unsigned long long)*last);
	enum ctl_exit code = api_get(ctl, *last ? path : "/v1/events", &answer);
	if (code != CTL_OK)
		return code;
	if (ctl->json && !ctl->follow) {
		api_put_json(ctl, answer);
		json_decref(answer);
		return CTL_OK;
	}
	json_array_foreach(json_object_get(answer, "events"), i, event)
	{
		if (*last && get_u64(event, "id") <= *last)
			continue;
		put_event(ctl, event);
		if (get_u64(event, "id") > *last)
			*last = get_u64(event, "id");
	}
	json_decref(answer);
	return CTL_OK;
}

enum ctl_exit cmd_events(struct ctl *ctl)
{
	uint64_t last = 0;
	enum ctl_exit code = take_events(ctl, &last);
	if (code == CTL_OK && !ctl->follow && ctl->out.len == 0)
		str_text(&ctl->out, "no events since start\n");
	while (code == CTL_OK && ctl->follow) {
		ctl_flush(ctl);
		nanosleep(&(struct timespec){.tv_nsec = FOLLOW_NS}, NULL);
		code = take_events(ctl, &last);
	}
	return code;
}
