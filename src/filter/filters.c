/* SPDX-License-Identifier: MIT */
/* All filters, and those that a configuration switches on. */
#include "weir/filter/filter.h"

#include <stdarg.h>

#include "filters.h"

static const struct filter *const filters[] = {
#define FILTER(symbol, where, outcome, sentence) [FILTER_##symbol] = &filter_##symbol,
#include "weir/tbl/filters.def"
#undef FILTER
};

const struct filter *filter_at(enum filter_id id)
{
	return filters[id];
}

/* ---- answers ---- */

void filter_answer_begin(struct filter_call *call, unsigned status, const char *sentence)
{
	struct filter_answer *answer = &call->answer;
	answer->status = (uint16_t)status;
	answer->reason = FILTER_REFUSED;
	answer->sentence = sentence;
	answer->n_fields = 0;
	answer->room = str_fixed(answer->bytes, sizeof(answer->bytes));
}

void filter_answer_field(struct filter_call *call, enum hdr_id id, const char *name,
			 const char *fmt, ...)
{
	struct filter_answer *answer = &call->answer;
	struct str *room = &answer->room;
	size_t from = room->len;
	va_list ap;
	va_start(ap, fmt);
	str_vprintf(room, fmt, ap);
	va_end(ap);
	if (room->overflow || answer->n_fields == FILTER_FIELDS_MAX) {
		room->len = from;
		room->overflow = false;
		return;
	}
	answer->fields[answer->n_fields++] = (struct header){
	    .name = view_str(name),
	    .value = view_of(room->ptr + from, room->len - from),
	    .id = (uint8_t)id,
	};
}

/* ---- of a generation ---- */

static bool build_one(struct filter_set *set, enum filter_id id, const struct conf *conf,
		      size_t route, unsigned n_workers, struct str *why)
{
	set->state[id][route] = filters[id]->build(conf, &conf->routes[route], n_workers, why);
	set->responses |= filters[id]->response != NULL;
	return set->state[id][route] != NULL;
}

static uint32_t mask_of(const struct conf_route *route)
{
	uint32_t mask = 0;
	for (int id = 0; id < N_FILTERS; id++)
		mask |= (uint32_t)filters[id]->applies(route) << id;
	return mask;
}

/* A change at run time builds another generation of the same configuration, which workers
 * read: what is there already is not written again. */
static void note_masks(struct conf *conf)
{
	for (size_t r = 0; r < conf->n_routes; r++) {
		uint32_t mask = mask_of(&conf->routes[r]);
		if (conf->routes[r].filters != mask)
			conf->routes[r].filters = mask;
	}
}

bool filter_set_build(struct filter_set *set, struct conf *conf, unsigned n_workers,
		      struct arena *arena, struct str *why)
{
	bool ok = true;
	set->n_routes = conf->n_routes;
	set->responses = false;
	for (int id = 0; id < N_FILTERS; id++)
		set->state[id] = arena_array(arena, conf->n_routes, sizeof(*set->state[id]));
	note_masks(conf);
	for (int id = 0; id < N_FILTERS; id++)
		for (size_t r = 0; ok && r < conf->n_routes; r++)
			ok = !(conf->routes[r].filters >> id & 1) ||
			     build_one(set, (enum filter_id)id, conf, r, n_workers, why);
	if (!ok)
		filter_set_release(set);
	return ok;
}

void filter_set_release(struct filter_set *set)
{
	for (int id = 0; id < N_FILTERS; id++)
		for (size_t r = 0; r < set->n_routes; r++)
			if (set->state[id][r])
				filters[id]->release(set->state[id][r]);
	set->n_routes = 0;
}
