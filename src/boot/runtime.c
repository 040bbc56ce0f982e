/* SPDX-License-Identifier: MIT */
/*
 * What operators change about backends while weir runs: state, weight, additions and
 * removals.  One struct pool_override a backend, found by its name; pool_build reads
 * them, so they outlive reloads.  Each change is an event and a line of the log, and
 * either in force or, when no generation can be made of it, as it was before.
 *
 * A backend that is to go is `leaving`, and draining, until nothing is in flight:
 *
 *   (in the file, or added) --remove--> leaving --drained--> remove, if the file has it
 *              ^                           |                 nothing, if it has not
 *              +-------- enable -----------+
 */
#include <stdlib.h>
#include <string.h>

#include "overrides.h"

#include "weir/base/check.h"

/* ---- finding ---- */

static struct pool *find_pool(struct control *control, struct view name)
{
	for (uint32_t i = 0; i < control->current->n_pools; i++)
		if (view_eq(control->current->pools[i].conf->name, name))
			return &control->current->pools[i];
	return NULL;
}

static struct pool *need_pool(struct control *control, struct view name, struct str *why)
{
	struct pool *pool = find_pool(control, name);
	if (!pool)
		str_printf(why, "there is no pool '" VIEW_FMT "'", VIEW_ARG(name));
	return pool;
}

/* NULL when the pool or the backend is not there now. */
static struct backend *find_backend(struct control *control, struct view pool, struct view name)
{
	struct pool *p = find_pool(control, pool);
	int32_t i = p ? pool_backend_index(p, name) : -1;
	return i < 0 ? NULL : p->backends[i];
}

static struct backend *need_backend(struct control *control, struct view pool, struct view name,
				    struct str *why)
{
	struct backend *b = find_backend(control, pool, name);
	if (need_pool(control, pool, why) && !b)
		str_printf(why, "there is no backend '" VIEW_FMT "' in pool '" VIEW_FMT "'",
			   VIEW_ARG(name), VIEW_ARG(pool));
	return b;
}

/* As the file says, or a source. */
static const struct conf_backend *find_row(const struct generation *gen, struct view pool,
					   struct view name)
{
	for (uint32_t i = 0; i < gen->n_pools; i++) {
		const struct conf_pool *conf = gen->pools[i].conf;
		for (size_t k = 0; view_eq(conf->name, pool) && k < conf->n_backends; k++)
			if (view_eq(conf->backends[k].name, name))
				return &conf->backends[k];
	}
	return NULL;
}

/* ---- what is said of it ---- */

static void note(enum event_kind kind, const struct pool_override *o, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
static void note(enum event_kind kind, const struct pool_override *o, const char *fmt, ...)
{
	struct str text = STR_INIT;
	va_list ap;
	va_start(ap, fmt);
	str_vprintf(&text, fmt, ap);
	va_end(ap);
	event_add(kind, o->pool, o->backend, "%s", text.ptr);
	log_info("backend " VIEW_FMT "/" VIEW_FMT ": %s", VIEW_ARG(o->pool), VIEW_ARG(o->backend),
		 text.ptr);
	str_fini(&text);
}

/*
 * Makes a generation of the overrides as they are; when there can be none, *o is
 * as `before` again.
 */
static enum err apply(struct control *control, struct pool_override *o,
		      const struct pool_override *before, struct str *why)
{
	enum err err = runtime_rebuild(control, why);
	const char *text = o->added.address_text.ptr, *old = before->added.address_text.ptr;
	if (err) {
		struct list link = o->link;
		*o = *before;
		o->link = link;
		if (text != old)
			free((char *)text);
		override_drop_empty(o);
	} else {
		o->at_wall_us = clock_wall_us();
		if (text != old)
			free((char *)old);
	}
	return err;
}

static bool is_row(const struct conf_backend *row, const struct conf_backend *added)
{
	return row && view_eq(row->address_text, added->address_text);
}

/* ---- what becomes of it ---- */

static void set_state(struct control *control, struct backend *b, enum backend_state state,
		      const char *why)
{
	b->told = (uint8_t)state;
	before_tell(control, b);
	probing_set_admin(control->probing, b, state, why);
}

void runtime_hear(struct control *control, struct view pool, struct view name,
		  enum backend_state state)
{
	struct backend *b = find_backend(control, pool, name);
	if (b)
		set_state(control, b, state, "the process that took over says so");
}

static void tell(struct control *control, struct backend *b, const struct pool_override *o,
		 enum conf_member member)
{
	enum backend_state state = pool_wanted_state(o, member);
	bool operator= o &&(o->leaving || o->has_state);
	const char *why = state == BACKEND_gone ? "its source names it no more"
			  : state == BACKEND_draining && !operator
			      ? "its source says that it is about to stop"
			  : state == BACKEND_up && member == CONF_MEMBER_HERE && !operator
			      ? "nobody keeps it out any more"
			      : "set by an operator";
	set_state(control, b, state, why);
}

static void tell_one(struct control *control, struct backend *b)
{
	const struct conf_backend *row = find_row(control->current, b->pool_name, b->name);
	tell(control, b, override_find(control, b->pool_name, b->name),
	     row ? (enum conf_member)row->member : CONF_MEMBER_HERE);
}

void runtime_tell(struct control *control)
{
	for (uint32_t p = 0; p < control->current->n_pools; p++) {
		const struct pool *pool = &control->current->pools[p];
		for (uint32_t i = 0; pool->conf->n_sources && i < pool->n; i++) {
			struct backend *b = pool->backends[i];
			enum conf_member member = (enum conf_member)pool->members[i];
			const struct pool_override *o =
			    override_find(control, b->pool_name, b->name);
			if (pool_wanted_state(o, member) != (enum backend_state)b->told)
				tell(control, b, o, member);
		}
	}
}

enum err runtime_rebuild(struct control *control, struct str *why)
{
	enum err err = control_rebuild(control, why);
	if (!err)
		runtime_tell(control);
	return err;
}

/* ---- changes ---- */

enum err runtime_set_state(void *ctx, struct backend *b, enum backend_state state, struct str *why)
{
	struct control *control = ctx;
	if (state != BACKEND_up && state != BACKEND_draining && state != BACKEND_maintenance) {
		str_text(why, "state must be up, drain or maintenance");
		return ERR_RANGE;
	}
	struct pool_override *o = override_get(control, b->pool_name, b->name, why);
	if (!o)
		return ERR_FULL;
	o->has_state = state != BACKEND_up;
	o->state = (uint8_t)state;
	o->at_wall_us = clock_wall_us();
	if (state == BACKEND_up)
		o->leaving = o->forget = false;
	tell_one(control, b);
	override_drop_empty(o);
	return ERR_OK;
}

enum err runtime_set_weight(void *ctx, struct view pool, struct view backend, uint32_t weight,
			    struct str *why)
{
	struct control *control = ctx;
	if (!need_backend(control, pool, backend, why))
		return ERR_NOENT;
	struct pool_override *o = override_get(control, pool, backend, why);
	if (!o)
		return ERR_FULL;
	struct pool_override before = *o;
	o->has_weight = true;
	o->weight = weight;
	enum err err = apply(control, o, &before, why);
	if (!err)
		note(EVENT_WEIGHT, o, "weight %u, set by an operator", weight);
	return err;
}

/* Nothing of an earlier one of this name counts; the one of the file comes back as it was. */
static void set_added(struct pool_override *o, const struct conf_backend *backend,
		      const struct conf_backend *row)
{
	o->remove = o->leaving = o->forget = o->has_state = false;
	o->add = !is_row(row, backend);
	o->has_weight = !o->add && backend->weight != row->weight;
	o->weight = backend->weight;
	o->added = *backend;
	o->added.name = o->backend;
	o->added.address_text = view_own(backend->address_text);
}

enum err runtime_add(void *ctx, struct view pool, const struct conf_backend *backend,
		     struct str *why)
{
	struct control *control = ctx;
	if (!need_pool(control, pool, why))
		return ERR_NOENT;
	if (find_backend(control, pool, backend->name)) {
		str_printf(why, "pool '" VIEW_FMT "' has a backend '" VIEW_FMT "' already",
			   VIEW_ARG(pool), VIEW_ARG(backend->name));
		return ERR_EXISTS;
	}
	struct pool_override *o = override_get(control, pool, backend->name, why);
	if (!o)
		return ERR_FULL;
	struct pool_override before = *o;
	set_added(o, backend, find_row(control->current, pool, backend->name));
	enum err err = apply(control, o, &before, why);
	if (err)
		return err;
	note(EVENT_ADD, o, "added by an operator at " VIEW_FMT, VIEW_ARG(backend->address_text));
	override_drop_empty(o);
	return ERR_OK;
}

/* ---- removal ---- */

static void begin_leaving(struct control *control, struct pool_override *o, struct backend *b)
{
	o->leaving = true;
	o->at_wall_us = clock_wall_us();
	tell_one(control, b);
}

enum err runtime_remove(void *ctx, struct view pool, struct view backend, struct str *why)
{
	struct control *control = ctx;
	struct backend *b = need_backend(control, pool, backend, why);
	if (!b)
		return ERR_NOENT;
	struct pool_override *o = override_get(control, pool, backend, why);
	if (!o)
		return ERR_FULL;
	if (o->leaving && !o->forget)
		return ERR_OK;
	o->forget = false;
	begin_leaving(control, o, b);
	runtime_tick(control);
	return ERR_OK;
}

/* Nothing is in flight there: the next generation is without it. */
static void finish_leaving(struct control *control, struct pool_override *o, struct backend *b)
{
	struct str why = STR_INIT;
	struct pool_override before = *o;
	bool keep = !o->forget && find_row(control->current, o->pool, o->backend);
	o->add = o->leaving = o->forget = o->has_weight = o->has_state = false;
	o->remove = true;
	if (runtime_rebuild(control, &why)) { /* the next tick tries again */
		struct list link = o->link;
		*o = before;
		o->link = link;
		str_fini(&why);
		return;
	}
	note(EVENT_REMOVE, o,
	     before.forget ? "the addition is taken back" : "removed by an operator");
	/* should it come back it starts afresh */
	if (b)
		atomic_store_explicit(&b->state, BACKEND_up, memory_order_relaxed);
	if (!keep)
		override_free(o);
	str_fini(&why);
}

void runtime_tick(struct control *control)
{
	list_each_safe (it, tmp, &control->overrides) {
		struct pool_override *o = list_entry(it, struct pool_override, link);
		struct backend *b = find_backend(control, o->pool, o->backend);
		if (o->leaving && (!b || backend_is_idle(b)))
			finish_leaving(control, o, b);
	}
}

/* ---- taking back ---- */

static bool concerns(const struct pool_override *o, struct view pool, struct view backend)
{
	return (!pool.len || view_eq(o->pool, pool)) &&
	       (!backend.len || view_eq(o->backend, backend));
}

/* What was added drains before it goes, also where the process before this one may still use it;
 * true when it has to. */
static bool leaves_slowly(struct control *control, struct pool_override *o)
{
	struct backend *b = find_backend(control, o->pool, o->backend);
	bool may_come = control->before.state != BEFORE_GONE;
	if (!o->add || !b || (backend_is_idle(b) && !may_come))
		return false;
	o->forget = true;
	begin_leaving(control, o, b);
	return true;
}

/* Those that go at once, out of the list of those in force. */
static size_t set_aside(struct control *control, struct view pool, struct view backend,
			struct list *aside)
{
	size_t n = 0;
	list_each_safe (it, tmp, &control->overrides) {
		struct pool_override *o = list_entry(it, struct pool_override, link);
		if (!concerns(o, pool, backend))
			continue;
		n++;
		if (leaves_slowly(control, o))
			continue;
		list_del(&o->link);
		list_push_back(aside, &o->link);
	}
	return n;
}

/* It is in force no more. */
static void forget(struct control *control, struct pool_override *o)
{
	struct backend *b = find_backend(control, o->pool, o->backend);
	bool told = o->has_state || o->leaving;
	o->has_state = o->leaving = false;
	if (b && told)
		tell_one(control, b);
	note(EVENT_STATE, o, "what was changed at run time is taken back");
	override_free(o);
}

enum err runtime_reset(void *ctx, struct view pool, struct view backend, struct str *why)
{
	struct control *control = ctx;
	struct list aside;
	list_init(&aside);
	if (override_is_frozen(control, why))
		return ERR_FULL;
	if (set_aside(control, pool, backend, &aside) == 0) {
		if (backend.len)
			str_printf(why,
				   "nothing was changed at run time about '" VIEW_FMT "/" VIEW_FMT
				   "'",
				   VIEW_ARG(pool), VIEW_ARG(backend));
		return backend.len || (pool.len && !need_pool(control, pool, why)) ? ERR_NOENT
										   : ERR_OK;
	}
	enum err err = runtime_rebuild(control, why);
	list_each_safe (it, tmp, &aside) {
		struct pool_override *o = list_entry(it, struct pool_override, link);
		list_del(&o->link);
		list_push_back(&control->overrides, &o->link);
		if (!err)
			forget(control, o);
	}
	return err;
}

/* ---- after a reload ---- */

void runtime_settle(struct control *control)
{
	list_each_safe (it, tmp, &control->overrides) {
		struct pool_override *o = list_entry(it, struct pool_override, link);
		const struct conf_backend *row = find_row(control->current, o->pool, o->backend);
		if ((o->add && is_row(row, &o->added)) || (o->remove && !row)) {
			note(o->add ? EVENT_ADD : EVENT_REMOVE, o,
			     "the configuration says what was changed at run time");
			o->add = o->remove = false;
		}
		override_drop_empty(o);
	}
}
