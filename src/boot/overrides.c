/* SPDX-License-Identifier: MIT */
/* What was changed at run time, by backend, and how another process is told of it. */
#include "overrides.h"

#include <stdlib.h>

#include "weir/base/check.h"

/* As many backends can be changed at run time; the man page of weirctl says so. */
#define OVERRIDES_MAX 4096

struct pool_override *override_find(const struct control *control, struct view pool,
				    struct view backend)
{
	list_each (it, &control->overrides) {
		struct pool_override *o = list_entry(it, struct pool_override, link);
		if (view_eq(o->pool, pool) && view_eq(o->backend, backend))
			return o;
	}
	return NULL;
}

void override_free(struct pool_override *o)
{
	list_del(&o->link);
	view_disown(&o->pool);
	view_disown(&o->backend);
	view_disown(&o->added.address_text);
	free(o);
}

static bool says_nothing(const struct pool_override *o)
{
	return !o->add && !o->remove && !o->leaving && !o->has_weight && !o->has_state;
}

bool override_is_frozen(const struct control *control, struct str *why)
{
	if (control->handover.state != HANDOVER_WAITING)
		return false;
	str_printf(why, "process %d is about to take over: ask again in a moment",
		   (int)control->handover.pid);
	return true;
}

void override_drop_empty(struct pool_override *o)
{
	if (says_nothing(o))
		override_free(o);
}

struct pool_override *override_get(struct control *control, struct view pool, struct view backend,
				   struct str *why)
{
	if (override_is_frozen(control, why))
		return NULL;
	struct pool_override *o = override_find(control, pool, backend);
	if (o)
		return o;
	if (runtime_count(control) >= OVERRIDES_MAX) {
		str_printf(why, "%d backends are changed at run time already: take some back",
			   OVERRIDES_MAX);
		return NULL;
	}
	o = calloc(1, sizeof(*o));
	check(o != NULL);
	o->pool = view_own(pool);
	o->backend = view_own(backend);
	list_push_back(&control->overrides, &o->link);
	return o;
}

size_t runtime_count(const struct control *control)
{
	size_t n = 0;
	list_each (it, &control->overrides)
		n++;
	return n;
}

/* ---- for the process that takes over ---- */

void runtime_pack(const struct control *control, struct str *out)
{
	list_each (it, &control->overrides) {
		const struct pool_override *o = list_entry(it, struct pool_override, link);
		pack_view(out, o->pool);
		pack_view(out, o->backend);
		pack_u64(out, o->at_wall_us);
		pack_u64(out, o->has_weight);
		pack_u64(out, o->weight);
		pack_view(out, o->has_state ? view_str(backend_state_name(o->state)) : VIEW_NONE);
		pack_u64(out, o->remove);
		pack_u64(out, o->leaving);
		pack_u64(out, o->forget);
		pack_view(out, o->add ? o->added.address_text : VIEW_NONE);
		pack_u64(out, o->added.weight);
	}
}

static void take_state(struct unpack *in, struct pool_override *o)
{
	struct view state = unpack_view(in);
	o->has_state = state.len;
	o->state = view_eq(state, VIEW("draining")) ? BACKEND_draining : BACKEND_maintenance;
}

static void take_added(struct unpack *in, struct pool_override *o)
{
	struct view address = unpack_view(in);
	o->added = (struct conf_backend){.weight = (uint32_t)unpack_max(in, UINT16_MAX)};
	o->add = address.len;
	in->bad |= o->add && !addr_parse(address, &o->added.address);
	o->added.name = o->backend;
	o->added.address_text = in->bad ? VIEW_NONE : view_own(address);
}

void runtime_unpack(struct unpack *in, struct control *control)
{
	struct str why = STR_INIT;
	while (in->left && !in->bad) {
		struct view pool = unpack_view(in), backend = unpack_view(in);
		struct pool_override *o =
		    in->bad ? NULL : override_get(control, pool, backend, &why);
		if (!o)
			break;
		o->at_wall_us = unpack_u64(in);
		o->has_weight = unpack_bool(in);
		o->weight = (uint32_t)unpack_max(in, UINT16_MAX);
		take_state(in, o);
		o->remove = unpack_bool(in);
		o->leaving = unpack_bool(in);
		o->forget = unpack_bool(in);
		take_added(in, o);
		if (in->bad)
			override_free(o);
	}
	str_fini(&why);
}

void runtime_free(struct control *control)
{
	list_each_safe (it, tmp, &control->overrides)
		override_free(list_entry(it, struct pool_override, link));
}
