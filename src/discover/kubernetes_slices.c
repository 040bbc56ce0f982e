/* SPDX-License-Identifier: MIT */
/*
 * A service of Kubernetes has several slices; its members are those of all.  An endpoint that is
 * ready, or of which nobody says (nil), takes traffic; one that still serves while it terminates
 * drains; others are none.
 */
#include "kubernetes_slices.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/check.h"
#include "weir/base/parse.h"

#define SLICES_MAX 1000

struct slice {
	char *name;
	struct arena *arena; /* owns its rows */
	struct found *rows;
	size_t n;
	bool listed; /* by the list at hand */
};

static struct slice *slice_find(struct slices *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->slices[i].name, name) == 0)
			return &s->slices[i];
	return NULL;
}

static void slice_fini(struct slice *slice)
{
	free(slice->name);
	arena_free(slice->arena);
}

static void slice_del(struct slices *s, struct slice *slice)
{
	slice_fini(slice);
	*slice = s->slices[--s->n];
}

void slices_fini(struct slices *s)
{
	for (size_t i = 0; i < s->n; i++)
		slice_fini(&s->slices[i]);
	free(s->slices);
}

bool slices_drop(struct slices *s, const char *name)
{
	struct slice *slice = slice_find(s, name);
	if (slice)
		slice_del(s, slice);
	return slice != NULL;
}

void slices_unlist(struct slices *s)
{
	for (size_t i = 0; i < s->n; i++)
		s->slices[i].listed = false;
}

void slices_drop_unlisted(struct slices *s)
{
	for (size_t i = s->n; i-- > 0;)
		if (!s->slices[i].listed)
			slice_del(s, &s->slices[i]);
}

static struct slice *slice_get(struct slices *s, const char *name)
{
	struct slice *slice = slice_find(s, name);
	if (slice || s->n == SLICES_MAX)
		return slice;
	if (!s->slices)
		s->slices = calloc(SLICES_MAX, sizeof(*s->slices));
	char *copy = strdup(name);
	check(s->slices != NULL && copy != NULL);
	s->slices[s->n] = (struct slice){.name = copy};
	return &s->slices[s->n++];
}

/* The port that is wanted, of the slice's; 0: it has none such. */
static uint16_t port_of(const struct slices *s, const json_t *slice)
{
	struct view wanted = s->source->pool->discover.kubernetes.port;
	const json_t *ports = json_object_get(slice, "ports"), *port;
	uint64_t number = 0;
	size_t i;
	bool by_number = parse_u64(wanted, &number);
	json_array_foreach(ports, i, port)
	{
		uint64_t n = json_u64_of(port, "port");
		bool same =
		    by_number ? n == number : view_eq(view_str(json_text_of(port, "name")), wanted);
		if (n && n <= UINT16_MAX && (wanted.len ? same : json_array_size(ports) == 1))
			return (uint16_t)n;
	}
	return 0;
}

/* Absent and null mean the same: nobody says. */
static bool condition(const json_t *endpoint, const char *name, bool unsaid)
{
	const json_t *value = json_object_get(json_object_get(endpoint, "conditions"), name);
	return json_is_boolean(value) ? json_is_true(value) : unsaid;
}

static bool state_of(const json_t *endpoint, uint8_t *state)
{
	bool ready = condition(endpoint, "ready", true);
	bool serving = condition(endpoint, "serving", ready);
	bool terminating = condition(endpoint, "terminating", false);
	*state = terminating ? CONF_MEMBER_DRAINING : CONF_MEMBER_HERE;
	return terminating ? serving : ready;
}

static void take_endpoint(struct slice *slice, const json_t *endpoint, uint16_t port)
{
	const json_t *ip = json_array_get(json_object_get(endpoint, "addresses"), 0);
	const char *pod = json_text_of(json_object_get(endpoint, "targetRef"), "name");
	struct found *row = &slice->rows[slice->n];
	struct addr addr;
	uint8_t state;
	if (!json_is_string(ip) || !addr_parse_ip(view_str(json_string_value(ip)), &addr) ||
	    !state_of(endpoint, &state))
		return;
	if (addr.sa.sa_family == AF_INET6)
		addr.in6.sin6_port = htons(port);
	else
		addr.in4.sin_port = htons(port);
	if (addr_unreachable(&addr))
		return;
	*row = (struct found){.backend = {.weight = 1, .member = state}};
	row->cause =
	    view_str(arena_printf(slice->arena, "%s%s%s", slice->name, *pod ? " " : "", pod));
	found_set_address(row, &addr, slice->arena);
	slice->n++;
}

void slices_take(struct slices *s, const json_t *object)
{
	const json_t *endpoints = json_object_get(object, "endpoints"), *endpoint;
	const char *name = json_text_of(json_object_get(object, "metadata"), "name");
	struct slice *slice = *name ? slice_get(s, name) : NULL;
	uint16_t port = port_of(s, object);
	size_t i;
	if (!slice)
		return;
	arena_free(slice->arena);
	slice->arena = arena_new();
	slice->rows = arena_array(slice->arena, json_array_size(endpoints), sizeof(*slice->rows));
	slice->n = 0;
	slice->listed = true;
	if (!port && json_array_size(endpoints))
		snprintf(s->trouble, sizeof(s->trouble), "slice %.60s has no such port, or several",
			 name);
	json_array_foreach(endpoints, i, endpoint) if (port) take_endpoint(slice, endpoint, port);
}

/* One that is in two slices for a moment takes traffic if either says so. */
static int by_state(const void *a, const void *b)
{
	const struct found *x = a, *y = b;
	return (int)x->backend.member - (int)y->backend.member;
}

void slices_answer(struct slices *s)
{
	struct arena *arena = arena_new();
	size_t n = 0;
	for (size_t i = 0; i < s->n; i++)
		n += s->slices[i].n;
	struct found *rows = arena_array(arena, n, sizeof(*rows));
	n = 0;
	for (size_t i = 0; i < s->n; i++)
		for (size_t j = 0; j < s->slices[i].n; j++)
			rows[n++] = s->slices[i].rows[j];
	if (n)
		qsort(rows, n, sizeof(*rows), by_state);
	source_answer(s->source, rows, n, s->trouble[0] ? s->trouble : NULL);
	s->trouble[0] = '\0';
	arena_free(arena);
}
