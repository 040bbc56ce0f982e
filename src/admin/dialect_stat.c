/* SPDX-License-Identifier: MIT */
/* show stat: listeners, pools and backends in the columns of HAProxy. */
#include <string.h>

#include "counters.h"
#include "dialect_speech.h"

#include "weir/base/clock.h"
#include "weir/base/parse.h"
#include "weir/health/health.h"

#define FRONTENDS 1
#define BACKENDS 2
#define SERVERS 4

enum column {
#define COLUMN(name) COL_##name,
#include "weir/tbl/haproxy_columns.def"
#undef COLUMN
	N_COLUMNS
};

static const char *const column_names[] = {
#define COLUMN(name) #name,
#include "weir/tbl/haproxy_columns.def"
#undef COLUMN
};

struct line {
	struct view px, sv, status;
	uint64_t n[N_COLUMNS];
	bool set[N_COLUMNS]; /* the others stay empty: not known here */
};

static void set(struct line *l, enum column column, uint64_t n)
{
	l->n[column] = n;
	l->set[column] = true;
}

/* Names with a comma or a quote would break the columns: they become '_'. */
static void put_name(struct str *out, struct view name)
{
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];
		str_char(out, c == ',' || c == '"' || (unsigned char)c < ' ' ? '_' : c);
	}
}

static void put_line(struct str *out, const struct line *l)
{
	for (int i = 0; i < N_COLUMNS; i++) {
		if (i == COL_pxname)
			put_name(out, l->px);
		else if (i == COL_svname)
			put_name(out, l->sv);
		else if (i == COL_status)
			str_view(out, l->status);
		else if (l->set[i])
			str_u64(out, l->n[i]);
		str_char(out, ',');
	}
	str_char(out, '\n');
}

static void set_ids(struct line *l, unsigned type, size_t iid, size_t sid)
{
	set(l, COL_pid, 1);
	set(l, COL_type, type);
	set(l, COL_iid, iid);
	set(l, COL_sid, sid);
}

static struct view status_of(enum backend_state state)
{
	switch (state) {
	case BACKEND_up:
		return VIEW("UP");
	case BACKEND_down:
	case BACKEND_ejected:
		return VIEW("DOWN");
	case BACKEND_draining:
	case BACKEND_gone:
		return VIEW("DRAIN");
	case BACKEND_maintenance:
		return VIEW("MAINT");
	default:
		return VIEW("no check");
	}
}

/* Means of the last 10 s, in milliseconds. */
static void set_times(struct line *l, const struct backend *b)
{
	static const struct {
		enum column column;
		enum phase phase;
	} rows[] = {{COL_qtime, PHASE_queue},
		    {COL_ctime, PHASE_connect},
		    {COL_rtime, PHASE_wait},
		    {COL_ttime, PHASE_total}};
	struct hist_total total;
	for (size_t i = 0; b->windows && i < ARRAY_LEN(rows); i++) {
		windows_read(b->windows, rows[i].phase, WINDOW_10S, &total);
		set(l, rows[i].column, (uint64_t)(hist_total_mean_us(&total) / 1000));
	}
}

static const struct {
	enum column column;
	const char *counter;
} counted[] = {
    {COL_stot, "requests"},          {COL_bin, "bytes_out"},
    {COL_bout, "bytes_in"},          {COL_econ, "connect_failures"},
    {COL_wretr, "retries"},          {COL_lbtot, "requests"},
    {COL_hrsp_1xx, "responses_1xx"}, {COL_hrsp_2xx, "responses_2xx"},
    {COL_hrsp_3xx, "responses_3xx"}, {COL_hrsp_4xx, "responses_4xx"},
    {COL_hrsp_5xx, "responses_5xx"}, {COL_req_tot, "requests"},
};

static void fill_server(struct line *l, const struct pool *pool, uint32_t i)
{
	const struct backend *b = pool->backends[i];
	uint64_t now_us = clock_wall_us();
	*l = (struct line){
	    .px = pool->conf->name, .sv = b->name, .status = status_of(health_state(b))};
	for (size_t k = 0; k < ARRAY_LEN(counted); k++)
		set(l, counted[k].column, backend_counter_named(b, counted[k].counter));
	uint64_t errors = backend_counter_named(b, "errors");
	set(l, COL_eresp, errors > l->n[COL_econ] ? errors - l->n[COL_econ] : 0);
	set(l, COL_qcur, 0); /* waiters belong to the pool */
	set(l, COL_scur, backend_in_flight(b));
	set(l, COL_rate, (uint64_t)rate_per_s(&b->rate));
	set(l, COL_req_rate, l->n[COL_rate]);
	set(l, COL_weight, pool->weights[i]);
	set(l, COL_act, pool->priorities[i] == 0);
	set(l, COL_bck, pool->priorities[i] > 0);
	set(l, COL_lastchg, now_us > b->since_us ? (now_us - b->since_us) / 1000000 : 0);
	if (pool->max_requests[i])
		set(l, COL_slim, pool->max_requests[i]);
	set_times(l, b);
}

/* Sums of the servers' columns that add up. */
static void fill_backend(struct line *l, const struct pool *pool)
{
	static const enum column sums[] = {COL_scur,     COL_stot,     COL_bin,      COL_bout,
					   COL_econ,     COL_eresp,    COL_wretr,    COL_weight,
					   COL_act,      COL_bck,      COL_lbtot,    COL_rate,
					   COL_hrsp_1xx, COL_hrsp_2xx, COL_hrsp_3xx, COL_hrsp_4xx,
					   COL_hrsp_5xx, COL_req_rate, COL_req_tot};
	struct line server;
	uint32_t n_usable = pool_n_usable(pool);
	*l = (struct line){.px = pool->conf->name,
			   .sv = VIEW("BACKEND"),
			   .status = n_usable ? VIEW("UP") : VIEW("DOWN")};
	for (uint32_t i = 0; i < pool->n; i++) {
		fill_server(&server, pool, i);
		for (size_t k = 0; k < ARRAY_LEN(sums); k++)
			set(l, sums[k], l->n[sums[k]] + server.n[sums[k]]);
	}
	set(l, COL_qcur, atomic_load_explicit(&pool->state->n_queued, memory_order_relaxed));
	set(l, COL_qlimit, pool->conf->queue.on ? pool->conf->queue.length : 0);
}

struct filter {
	int64_t iid, types, sid; /* -1: all; types are bits */
};

static bool wants(const struct filter *f, size_t iid, int64_t type, size_t sid)
{
	return (f->iid < 0 || (size_t)f->iid == iid) && (f->types < 0 || f->types & type) &&
	       (f->sid < 0 || (size_t)f->sid == sid);
}

static void stat_pool(struct speech *s, const struct filter *f, const struct pool *pool, size_t iid)
{
	struct line l;
	for (uint32_t i = 0; i < pool->n; i++) {
		if (!wants(f, iid, SERVERS, i + 1))
			continue;
		fill_server(&l, pool, i);
		set_ids(&l, 2, iid, i + 1);
		put_line(s->out, &l);
	}
	if (!wants(f, iid, BACKENDS, 0))
		return;
	fill_backend(&l, pool);
	set_ids(&l, 1, iid, 0);
	put_line(s->out, &l);
}

static bool read_filter(const struct speech *s, struct filter *f)
{
	*f = (struct filter){-1, -1, -1};
	if (s->n_words == 2)
		return true;
	return s->n_words == 5 && parse_i64(s->words[2], &f->iid) &&
	       parse_i64(s->words[3], &f->types) && parse_i64(s->words[4], &f->sid);
}

void dialect_show_stat(struct speech *s)
{
	const struct admin_host *host = &s->api->host;
	struct admin_status status = {0};
	struct filter f;
	uint32_t n_pools;
	if (!read_filter(s, &f)) {
		str_text(s->out, "usage: show stat [IID TYPE SID]\n");
		return;
	}
	host->status(host->ctx, s->arena, &status);
	str_text(s->out, "# ");
	for (int i = 0; i < N_COLUMNS; i++)
		str_printf(s->out, "%s,", column_names[i]);
	str_char(s->out, '\n');
	for (size_t i = 0; i < status.n_listeners; i++) {
		const struct admin_listener *row = &status.listeners[i];
		struct line l = {.px = row->name, .sv = VIEW("FRONTEND"), .status = VIEW("OPEN")};
		set_ids(&l, 0, i + 1, 0);
		set(&l, COL_scur, row->connections);
		set(&l, COL_stot, row->accepted);
		set(&l, COL_dreq, row->refused);
		if (wants(&f, i + 1, FRONTENDS, 0))
			put_line(s->out, &l);
	}
	const struct pool *pools = host->pools(host->ctx, &n_pools);
	for (uint32_t i = 0; i < n_pools; i++)
		stat_pool(s, &f, &pools[i], status.n_listeners + i + 1);
}
