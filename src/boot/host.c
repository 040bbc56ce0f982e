/* SPDX-License-Identifier: MIT */
/* What the admin API may ask of and change in the running daemon. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "log_writer.h"
#include "members.h"
#include "shared.h"
#include "tracer.h"

#include "weir/acme/acme.h"
#include "weir/base/check.h"
#include "weir/filter/compress.h"
#include "weir/proxy/about.h"

/* ---- reading ---- */

static const struct conf *host_conf(void *ctx)
{
	struct control *control = ctx;
	return control->current->conf;
}

static const struct route_table *host_routes(void *ctx)
{
	struct control *control = ctx;
	return control->current->routes;
}

static struct admin_meter *meter_rows(struct arena *arena, struct meter *const *meters, size_t n)
{
	struct admin_meter *rows = arena_array(arena, n, sizeof(*rows));
	for (size_t i = 0; i < n; i++)
		rows[i].meter = meters[i];
	return rows;
}

static void host_meters(void *ctx, struct arena *arena, struct admin_meters *out)
{
	struct control *control = ctx;
	const struct generation *gen = control->current;
	const struct conf *conf = gen->conf;
	*out = (struct admin_meters){
	    .routes = meter_rows(arena, gen->route_meters, conf->n_routes),
	    .listeners = meter_rows(arena, gen->listener_meters, conf->n_listeners),
	    .n_routes = conf->n_routes,
	    .n_listeners = conf->n_listeners,
	};
	for (size_t i = 0; i < conf->n_routes; i++)
		out->routes[i].name = conf->routes[i].name;
	for (size_t i = 0; i < conf->n_listeners; i++)
		out->listeners[i].name = conf->listeners[i].name;
}

static struct pool *host_pools(void *ctx, uint32_t *n)
{
	struct control *control = ctx;
	*n = control->current->n_pools;
	return control->current->pools;
}

static const struct admin_counter counter_rows[] = {
#define COUNTER(name, sentence) {#name, sentence, 0},
#include "weir/tbl/worker_counters.def"
#undef COUNTER
};

static const size_t counter_offsets[] = {
#define COUNTER(name, sentence) offsetof(struct worker_counters, name),
#include "weir/tbl/worker_counters.def"
#undef COUNTER
};

static uint64_t sum_at(const struct control *control, size_t offset)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < control->n_workers; i++) {
		const char *base = (const char *)&control->workers[i]->counters;
		n += counter_get((const struct counter *)(const void *)(base + offset));
	}
	return n;
}

static void fill_counters(struct control *control, struct arena *arena, struct admin_status *out)
{
	struct admin_counter *totals = arena_array(arena, ARRAY_LEN(counter_rows), sizeof(*totals));
	for (size_t i = 0; i < ARRAY_LEN(counter_rows); i++) {
		totals[i] = counter_rows[i];
		totals[i].n = sum_at(control, counter_offsets[i]);
	}
	struct admin_counter *outcomes = arena_array(arena, N_OUTCOMES, sizeof(*outcomes));
	for (size_t i = 0; i < N_OUTCOMES; i++) {
		const struct outcome_row *row = outcome_row((enum outcome)i);
		size_t offset =
		    offsetof(struct worker_counters, outcomes) + i * sizeof(struct counter);
		outcomes[i] =
		    (struct admin_counter){row->name, row->sentence, sum_at(control, offset)};
	}
	struct admin_counter *rejects = arena_array(arena, REJECT_N, sizeof(*rejects));
	for (size_t i = 0; i < REJECT_N; i++) {
		size_t offset =
		    offsetof(struct worker_counters, rejects) + i * sizeof(struct counter);
		rejects[i] = (struct admin_counter){reject_name((enum reject)i),
						    reject_sentence((enum reject)i),
						    sum_at(control, offset)};
	}
	out->totals = totals;
	out->n_totals = ARRAY_LEN(counter_rows);
	out->outcomes = outcomes;
	out->n_outcomes = N_OUTCOMES;
	out->rejects = rejects;
	out->n_rejects = REJECT_N;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Slabs have their own pages, so what the heap holds comes on top. */
static void fill_memory(struct control *control, struct arena *arena, struct admin_status *out)
{
	static const struct admin_counter rows[N_MEMORY_KINDS + 1] = {
#define MEMORY(kind, sentence) {#kind, sentence, 0},
#include "weir/tbl/memory.def"
#undef MEMORY
	    {"heap", "everything else, configuration and statistics above all", 0},
	};
	struct admin_counter *memory = arena_array(arena, ARRAY_LEN(rows), sizeof(*memory));
	memcpy(memory, rows, sizeof(rows));
	for (unsigned i = 0; i < control->n_workers; i++)
		for (unsigned kind = 0; kind < N_MEMORY_KINDS; kind++)
			memory[kind].n += slab_watch_bytes(&control->workers[i]->memory, kind);
	struct mallinfo2 heap = mallinfo2();
	uint64_t all = heap.uordblks + heap.hblkhd;
	memory[MEMORY_histograms].n = cell_bytes();
	memory[MEMORY_compression].n = compress_sums().memory; /* which the heap has */
	memory[N_MEMORY_KINDS].n = all - min_u64(all, memory[MEMORY_compression].n);
	out->memory = memory;
	out->n_memory = ARRAY_LEN(rows);
}

static void fill_workers(struct control *control, struct arena *arena, struct admin_status *out)
{
	out->n_workers = control->n_workers;
	out->workers = arena_array(arena, out->n_workers, sizeof(*out->workers));
	for (unsigned i = 0; i < control->n_workers; i++) {
		const struct worker *w = control->workers[i];
		out->workers[i] = (struct admin_worker){
		    .id = i,
		    .connections = atomic_load_explicit(&w->n_conns, memory_order_relaxed),
		    .exchanges = atomic_load_explicit(&w->n_exchanges, memory_order_relaxed),
		    .pipes = atomic_load_explicit(&w->pipes.n, memory_order_relaxed),
		    .loop_lag_us = atomic_load_explicit(&w->loop.lag_max_us, memory_order_relaxed),
		};
	}
}

static void fill_listeners(struct control *control, struct arena *arena, struct admin_status *out)
{
	const struct generation *gen = control->current;
	out->n_listeners = gen->n_listeners;
	out->listeners = arena_array(arena, gen->n_listeners, sizeof(*out->listeners));
	for (uint32_t i = 0; i < gen->n_listeners; i++) {
		const struct listener *l = gen->listeners[i].listener;
		struct admin_listener *row = &out->listeners[i];
		row->name = gen->listeners[i].conf->name;
		row->bind = view_str(l->text);
		row->limit = gen->listeners[i].conf->limits.connections;
		row->connections = atomic_load_explicit(&l->n_conns, memory_order_relaxed);
		for (unsigned w = 0; w < l->n_workers; w++) {
			row->accepted += counter_get(&l->local[w].accepted);
			row->refused += counter_get(&l->local[w].refused);
		}
	}
}

/* How long a loss is a problem, not only a number. */
#define LATELY_US UINT64_C(600000000)

static void fill_logs(struct control *control, struct arena *arena, struct admin_log *logs)
{
	struct admin_log *messages = &logs[ADMIN_LOG_MESSAGES];
	log_writer_status(control->log_writer, arena, &logs[ADMIN_LOG_ACCESS]);
	*messages = (struct admin_log){
	    .path = VIEW("stderr"),
	    .trouble = view_str(log_trouble()),
	    .dropped = log_dropped(),
	};
	logs[ADMIN_LOG_ACCESS].name = "access";
	messages->name = "messages";
	for (unsigned i = 0; i < N_ADMIN_LOGS; i++) {
		const struct log_losses *seen = &control->log_losses[i];
		logs[i].dropped_lately =
		    logs[i].dropped != seen->n || (seen->n && clock_us() - seen->at_us < LATELY_US);
	}
}

void host_watch_logs(struct control *control)
{
	struct admin_log logs[N_ADMIN_LOGS];
	struct arena *arena = arena_new();
	fill_logs(control, arena, logs);
	for (unsigned i = 0; i < N_ADMIN_LOGS; i++)
		if (logs[i].dropped != control->log_losses[i].n)
			control->log_losses[i] =
			    (struct log_losses){.n = logs[i].dropped, .at_us = clock_us()};
	arena_free(arena);
}

static struct view sandbox_text(const struct control *control)
{
	static const char *const texts[] = {"", "seccomp", "Landlock", "seccomp, Landlock"};
	return view_str(control->sandbox ? texts[atomic_load(&control->confined)] : "");
}

static void host_status(void *ctx, struct arena *arena, struct admin_status *out)
{
	struct control *control = ctx;
	*out = (struct admin_status){
	    .generation = control->current->id,
	    .started_wall_us = control->started_wall_us,
	    .started_us = control->started_us,
	    .draining = control->state != CONTROL_RUNNING,
	};
	out->last_reload.ok = control->last_reload.ok;
	out->last_reload.at_wall_us = control->last_reload.at_wall_us;
	out->last_reload.error = str_as_view(&control->last_reload.error);
	out->members_error = members_trouble(control->members);
	out->tls_error = str_as_view(&control->tls_watch.error);
	out->users_error = str_as_view(&control->users_watch.error);
	out->handover_error = str_as_view(&control->handover.error);
	before_status(control, out);
	fill_counters(control, arena, out);
	fill_workers(control, arena, out);
	fill_memory(control, arena, out);
	fill_listeners(control, arena, out);
	out->sandbox = sandbox_text(control);
	fill_logs(control, arena, out->logs);
	keep_status(control, arena, out);
	tracer_status(control->tracer, arena, out);
	shared_status(control, arena, out);
}

/* ---- connections: every worker is asked, the last answer completes the list ---- */

/* Rows a worker reports at most: an operator looks at hundreds, not at all of 50 000. */
#define CONNECTIONS_MAX 10000

struct connection_list {
	struct control *control;
	void (*done)(void *arg, const struct admin_connection *rows, size_t n);
	void *arg;
	struct connection_part {
		struct mail mail;
		struct connection_list *list;
		struct arena *arena; /* the worker's until posted back */
		struct admin_connection *rows;
		size_t n, n_max;
	} *parts; /* [n_workers] */
	unsigned n_back;
};

static void on_part(struct loop *loop, struct mail *mail)
{
	struct connection_part *part = container_of(mail, struct connection_part, mail);
	struct connection_list *list = part->list;
	struct control *control = list->control;
	(void)loop;
	if (++list->n_back < control->n_workers)
		return;
	size_t n = 0;
	for (unsigned i = 0; i < control->n_workers; i++)
		n += list->parts[i].n;
	struct arena *all = arena_new();
	struct admin_connection *rows = arena_array(all, n, sizeof(*rows));
	n = 0;
	for (unsigned i = 0; i < control->n_workers; i++) {
		if (list->parts[i].n)
			memcpy(&rows[n], list->parts[i].rows, list->parts[i].n * sizeof(*rows));
		n += list->parts[i].n;
	}
	list->done(list->arg, rows, n);
	for (unsigned i = 0; i < control->n_workers; i++)
		arena_free(list->parts[i].arena);
	arena_free(all);
	free(list->parts);
	free(list);
}

static bool add_row(void *arg, const struct client_about *about)
{
	struct connection_part *part = arg;
	if (part->n == part->n_max)
		return false;
	part->rows[part->n++] = (struct admin_connection){
	    .id = about->id,
	    .worker = (unsigned)(part - part->list->parts),
	    .listener = arena_view(part->arena, about->listener),
	    .client = arena_view(part->arena, about->peer),
	    .state = arena_view(part->arena, about->state),
	    .pool = arena_view(part->arena, about->pool),
	    .backend = arena_view(part->arena, about->backend),
	    .path = arena_view(part->arena, about->path),
	    .age_us = about->age_us,
	    .requests = about->requests,
	    .bytes_in = about->bytes_in,
	    .bytes_out = about->bytes_out,
	    .streams = about->streams,
	};
	return true;
}

static void collect(struct worker *w, void *arg)
{
	struct connection_list *list = arg;
	struct connection_part *part = &list->parts[w->pool.id];
	part->n_max = w->conns.n_live < CONNECTIONS_MAX ? w->conns.n_live : CONNECTIONS_MAX;
	part->arena = arena_new();
	part->rows = arena_array(part->arena, part->n_max, sizeof(*part->rows));
	worker_about_clients(w, add_row, part);
	loop_post(w->control, &part->mail);
}

static void host_connections(void *ctx,
			     void (*done)(void *arg, const struct admin_connection *rows, size_t n),
			     void *arg)
{
	struct control *control = ctx;
	struct connection_list *list = calloc(1, sizeof(*list));
	check(list != NULL);
	list->control = control;
	list->done = done;
	list->arg = arg;
	list->parts = calloc(control->n_workers, sizeof(*list->parts));
	check(list->parts != NULL);
	for (unsigned i = 0; i < control->n_workers; i++) {
		list->parts[i].mail.fn = on_part;
		list->parts[i].list = list;
	}
	workers_call(control, collect, list);
}

static const struct list *host_overrides(void *ctx)
{
	const struct control *control = ctx;
	return &control->overrides;
}

/* ---- changing; for backends see runtime.c ---- */

static enum err host_reload(void *ctx, struct str *diagnostics)
{
	return control_reload(ctx, diagnostics);
}

static void host_drain(void *ctx)
{
	control_drain(ctx);
}

static const struct tls_used *host_certificates(void *ctx, size_t *n)
{
	const struct control *control = ctx;
	const struct tls_inventory *all = control->current->certificates;
	*n = all->n;
	return all->rows;
}

static const struct acme_site *host_sites(void *ctx, struct arena *arena, size_t *n)
{
	const struct control *control = ctx;
	return acme_status(control->acme, arena, n);
}

static const struct users *host_users(void *ctx)
{
	struct control *control = ctx;
	return control->current->status_users;
}

static const struct filter_set *host_filters(void *ctx)
{
	const struct control *control = ctx;
	return &control->current->filters;
}

static const struct discover_source *host_sources(void *ctx, struct arena *arena, size_t *n)
{
	struct control *control = ctx;
	return discover_status(members_discover(control->members), arena, n);
}

struct admin_host host_of(struct control *control)
{
	return (struct admin_host){
	    .ctx = control,
	    .conf = host_conf,
	    .routes = host_routes,
	    .pools = host_pools,
	    .meters = host_meters,
	    .status = host_status,
	    .reload = host_reload,
	    .set_state = runtime_set_state,
	    .set_weight = runtime_set_weight,
	    .add = runtime_add,
	    .remove = runtime_remove,
	    .overrides = host_overrides,
	    .reset = runtime_reset,
	    .drain = host_drain,
	    .filters = host_filters,
	    .users = host_users,
	    .sources = host_sources,
	    .certificates = host_certificates,
	    .sites = host_sites,
	    .connections = host_connections,
	    .past = keep_ask,
	};
}
