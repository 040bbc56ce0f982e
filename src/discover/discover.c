/* SPDX-License-Identifier: MIT */
/* The sources of a configuration: their life, what they found, and what becomes of it. */
#include <stdlib.h>

#include "source.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/hash.h"

#define SOURCE(symbol, keyword, sentence) extern const struct source_kind source_##symbol;
#include "weir/tbl/sources.def"
#undef SOURCE

const struct source_kind *const source_kinds[] = {
#define SOURCE(symbol, keyword, sentence) &source_##symbol,
#include "weir/tbl/sources.def"
#undef SOURCE
};

/* ---- one source ---- */

static void on_timer(struct timer *timer)
{
	struct source *s = container_of(timer, struct source, timer);
	s->kind->ask(s);
}

static struct source *source_new(struct discover *d, struct view pool,
				 const struct source_kind *kind, struct view text)
{
	struct source *s = calloc(1, sizeof(*s));
	check(s != NULL);
	s->discover = d;
	s->kind = kind;
	s->pool_name = view_own(pool);
	s->text = view_own(text);
	s->timer.fn = on_timer;
	list_push_back(&d->sources, &s->link);
	return s;
}

static void source_stop(struct source *s)
{
	if (s->pool)
		s->kind->stop(s);
	s->pool = NULL;
	s->conf = NULL;
	timer_clear(&s->timer);
}

static bool every(const struct member *m, void *ctx)
{
	(void)m;
	(void)ctx;
	return true;
}

static void source_free(struct source *s)
{
	source_stop(s);
	timer_del(&s->timer);
	members_sweep(s, every, NULL);
	free(s->members);
	list_del(&s->link);
	view_disown(&s->pool_name);
	view_disown(&s->text);
	free(s);
}

/* ---- the set of them ---- */

struct discover *discover_new(struct loop *loop, struct fetcher *fetcher,
			      const struct discover_host *host)
{
	struct discover *d = calloc(1, sizeof(*d));
	check(d != NULL);
	d->loop = loop;
	d->fetcher = fetcher;
	d->host = *host;
	rng_init(&d->rng, rng_entropy());
	list_init(&d->sources);
	return d;
}

void discover_free(struct discover *d)
{
	if (!d)
		return;
	list_each_safe (it, tmp, &d->sources)
		source_free(list_entry(it, struct source, link));
#ifdef WEIR_DNS
	dns_free(d->dns);
#endif
	free(d);
}

static struct source *find(const struct discover *d, struct view pool,
			   const struct source_kind *kind, struct view text)
{
	list_each (it, &d->sources) {
		struct source *s = list_entry(it, struct source, link);
		if (s->kind == kind && view_eq(s->pool_name, pool) && view_eq(s->text, text))
			return s;
	}
	return NULL;
}

static void prepare_pool(struct discover *d, const struct conf_pool *pool)
{
	for (size_t i = 0; i < pool->n_sources; i++) {
		const struct conf_source *conf = &pool->sources[i];
		const struct source_kind *kind = source_kinds[conf->kind];
		struct source *s = find(d, pool->name, kind, conf->text);
		if (!s)
			s = source_new(d, pool->name, kind, conf->text);
		s->next_pool = pool;
		s->next = conf;
	}
}

void discover_prepare(struct discover *d, const struct conf *conf)
{
	d->next = conf;
	for (size_t i = 0; i < conf->n_pools; i++)
		prepare_pool(d, &conf->pools[i]);
}

void discover_cancel(struct discover *d)
{
	d->next = NULL;
	list_each_safe (it, tmp, &d->sources) {
		struct source *s = list_entry(it, struct source, link);
		s->next_pool = NULL;
		s->next = NULL;
		if (!s->pool)
			source_free(s);
	}
}

void discover_commit(struct discover *d)
{
	list_each_safe (it, tmp, &d->sources) {
		struct source *s = list_entry(it, struct source, link);
		source_stop(s);
		if (!s->next)
			source_free(s);
	}
#ifdef WEIR_DNS
	dns_free(d->dns);
	d->dns = NULL;
#endif
	d->conf = d->next;
	d->next = NULL;
	list_each (it, &d->sources) {
		struct source *s = list_entry(it, struct source, link);
		s->pool = s->next_pool;
		s->conf = s->next;
		s->next_pool = NULL;
		s->next = NULL;
		s->kind->start(s);
	}
}

bool discover_settled(const struct discover *d)
{
	list_each (it, &d->sources)
		if (!list_entry(it, struct source, link)->settled)
			return false;
	return true;
}

/* ---- members of a pool ---- */

/* Names that are there already: open addressing, at most half full. */
struct seen {
	struct view *slots;
	size_t mask;
};

static void seen_init(struct seen *seen, size_t n, struct arena *arena)
{
	size_t size = 16;
	while (size < 2 * n)
		size *= 2;
	seen->slots = arena_array(arena, size, sizeof(*seen->slots));
	seen->mask = size - 1;
}

/* False: it was there. */
static bool seen_put(struct seen *seen, struct view name)
{
	size_t i = hash_bytes(name.ptr, name.len, 0) & seen->mask;
	for (; seen->slots[i].ptr; i = (i + 1) & seen->mask)
		if (view_eq(seen->slots[i], name))
			return false;
	seen->slots[i] = name;
	return true;
}

struct merge {
	struct conf_pool *pool;
	struct conf_backend *rows;
	struct seen seen;
	struct arena *arena;
};

static void merge_source(struct merge *m, const struct source *s, bool gone)
{
	for (size_t i = 0; i < s->n_members; i++) {
		const struct conf_backend *b = &s->members[i]->backend;
		if ((b->member == CONF_MEMBER_GONE) != gone)
			continue;
		struct view name = arena_view(m->arena, b->name);
		if (!seen_put(&m->seen, name))
			continue;
		struct conf_backend *row = &m->rows[m->pool->n_backends++];
		*row = *b;
		row->name = name;
		row->address_text = arena_view(m->arena, b->address_text);
	}
}

/* One that another source names is not gone. */
static void merge_all(struct discover *d, struct merge *m, const struct conf_pool *conf)
{
	for (int gone = 0; gone < 2; gone++)
		for (size_t i = 0; i < conf->n_sources; i++) {
			const struct conf_source *cs = &conf->sources[i];
			const struct source *s =
			    find(d, conf->name, source_kinds[cs->kind], cs->text);
			if (s)
				merge_source(m, s, gone);
		}
}

const struct conf_pool *discover_pool(struct discover *d, const struct conf_pool *conf,
				      struct arena *arena)
{
	size_t n = conf->n_backends;
	if (!conf->n_sources)
		return conf;
	list_each (it, &d->sources) {
		const struct source *s = list_entry(it, struct source, link);
		n += view_eq(s->pool_name, conf->name) ? s->n_members : 0;
	}
	struct arena *scratch = arena_new();
	struct merge m = {.arena = arena, .pool = arena_alloc(arena, sizeof(*m.pool))};
	m.rows = arena_array(arena, n, sizeof(*m.rows));
	*m.pool = *conf;
	m.pool->backends = m.rows;
	seen_init(&m.seen, n, scratch);
	for (size_t i = 0; i < conf->n_backends; i++) {
		m.rows[i] = conf->backends[i];
		seen_put(&m.seen, m.rows[i].name);
	}
	merge_all(d, &m, conf);
	arena_free(scratch);
	return m.pool;
}

struct sweep {
	const struct source *source;
	bool (*is_idle)(void *ctx, struct view pool, struct view backend);
	void *ctx;
};

static bool goes(const struct member *m, void *ctx)
{
	const struct sweep *sweep = ctx;
	return m->backend.member == CONF_MEMBER_GONE &&
	       sweep->is_idle(sweep->ctx, sweep->source->pool_name, m->backend.name);
}

void discover_sweep(struct discover *d,
		    bool (*is_idle)(void *ctx, struct view pool, struct view backend), void *ctx)
{
	size_t n = 0;
	list_each (it, &d->sources) {
		struct source *s = list_entry(it, struct source, link);
		struct sweep sweep = {s, is_idle, ctx};
		n += members_sweep(s, goes, &sweep);
	}
	if (n)
		d->host.changed(d->host.ctx);
}

/* ---- for people ---- */

static void put_members(const struct source *s, struct arena *arena, struct discover_source *out)
{
	struct discover_member *rows = arena_array(arena, s->n_members, sizeof(*rows));
	uint64_t now = clock_us();
	for (size_t i = 0; i < s->n_members; i++) {
		const struct member *m = s->members[i];
		rows[i] = (struct discover_member){
		    .name = arena_view(arena, m->backend.name),
		    .address = arena_view(arena, m->backend.address_text),
		    .cause = arena_view(arena, m->cause),
		    .weight = m->backend.weight,
		    .priority = m->backend.priority,
		    .state = (enum conf_member)m->backend.member,
		    .age_us = now - m->since_us,
		};
	}
	out->members = rows;
	out->n_members = s->n_members;
}

/* A question that is under way is due now; so is that of a watch that has not begun. */
static uint64_t until_next_us(const struct source *s, uint64_t now)
{
	uint64_t due = s->timer.deadline_us;
	if (!due && s->kind->watches && s->answered_us && !s->failed_row)
		return UINT64_MAX;
	return due > now ? due - now : 0;
}

const struct discover_source *discover_status(const struct discover *d, struct arena *arena,
					      size_t *n)
{
	uint64_t now = clock_us();
	size_t most = 0, i = 0;
	list_each (it, &d->sources)
		most++;
	struct discover_source *rows = arena_array(arena, most, sizeof(*rows));
	list_each (it, &d->sources) {
		const struct source *s = list_entry(it, struct source, link);
		rows[i] = (struct discover_source){
		    .pool = arena_view(arena, s->pool_name),
		    .text = arena_view(arena, s->text),
		    .kind = s->kind->keyword,
		    .error = view_str(arena_strdup(arena, s->error)),
		    .answer_age_us = s->answered_us ? now - s->answered_us : UINT64_MAX,
		    .next_us = until_next_us(s, now),
		    .n_answers = s->n_answers,
		    .n_failures = s->n_failures,
		    .n_changes = s->n_changes,
		};
		put_members(s, arena, &rows[i++]);
	}
	*n = i;
	return rows;
}

/* ---- for the process that takes over ---- */

void discover_pack(const struct discover *d, struct str *out)
{
	uint64_t now = clock_us();
	list_each (it, &d->sources) {
		const struct source *s = list_entry(it, struct source, link);
		pack_view(out, s->pool_name);
		pack_view(out, view_str(s->kind->keyword));
		pack_view(out, s->text);
		pack_u64(out, s->n_members);
		for (size_t i = 0; i < s->n_members; i++) {
			const struct member *m = s->members[i];
			pack_view(out, m->backend.name);
			pack_view(out, m->backend.address_text);
			pack_view(out, m->cause);
			pack_u64(out, m->backend.weight);
			pack_u64(out, m->backend.priority);
			pack_u64(out, m->backend.max_requests);
			pack_u64(out, m->backend.member);
			pack_u64(out, now - m->since_us);
		}
	}
}

/* False: the bytes are bad. */
static bool unpack_member(struct unpack *in, struct source *s)
{
	struct found row = {.backend.name = unpack_view(in)};
	struct conf_backend *b = &row.backend;
	b->address_text = unpack_view(in);
	row.cause = unpack_view(in);
	b->weight = (uint32_t)unpack_max(in, UINT16_MAX);
	b->priority = (uint8_t)unpack_max(in, UINT8_MAX);
	b->max_requests = (uint32_t)unpack_max(in, UINT32_MAX);
	b->member = (uint8_t)unpack_max(in, CONF_MEMBER_GONE);
	uint64_t age = unpack_u64(in), now = clock_us();
	in->bad |= !b->name.len || !addr_parse(b->address_text, &b->address);
	if (in->bad)
		return false;
	if (s && !member_find(s, b->name))
		member_add(s, &row)->since_us = age < now ? now - age : now;
	return true;
}

void discover_unpack(struct unpack *in, struct discover *d)
{
	while (in->left && !in->bad) {
		struct view pool = unpack_view(in), keyword = unpack_view(in);
		struct view text = unpack_view(in);
		size_t n = unpack_count(in, SOURCE_MEMBERS_MAX * 2);
		struct source *s = NULL;
		for (size_t i = 0; i < N_CONF_SOURCES; i++)
			if (view_eq(keyword, view_str(source_kinds[i]->keyword)))
				s = find(d, pool, source_kinds[i], text);
		for (size_t i = 0; i < n && unpack_member(in, s); i++)
			;
	}
}
