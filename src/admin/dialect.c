/* SPDX-License-Identifier: MIT */
/*
 * The text dialect of HAProxy's stats socket (its management guide, 9.1 and 9.3)
 * on our unix socket, so that hatop and existing scrapers work: a line in, text
 * and a blank line out.  A session whose first bytes begin like one of these
 * commands speaks it; HTTP methods are in upper case, so neither can be taken
 * for the other.  A listener is a FRONTEND, a pool a BACKEND, a backend a server.
 */
#include "dialect.h"

#include <string.h>
#include <unistd.h>

#include "counters.h"
#include "process.h"

#include "weir/base/clock.h"
#include "weir/base/parse.h"
#include "weir/health/health.h"

#define WORDS_MAX 8
#define FRONTENDS 1
#define BACKENDS 2
#define SERVERS 4

struct speech {
	struct api *api;
	bool *prompts; /* commands follow each other, each answered with a prompt */
	struct str *out;
	struct view words[WORDS_MAX];
	unsigned n_words;
	struct arena *arena;
};

static struct view next_word(struct view *rest)
{
	*rest = view_trim(*rest);
	size_t n = 0;
	while (n < rest->len && rest->ptr[n] != ' ' && rest->ptr[n] != '\t')
		n++;
	struct view word = view_head(*rest, n);
	*rest = view_skip(*rest, n);
	return word;
}

/* ---- show stat ---- */

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

static void show_stat(struct speech *s)
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

/* ---- show info ---- */

static void put_fact(struct speech *s, const char *name, uint64_t n)
{
	str_printf(s->out, "%s: %llu\n", name, (unsigned long long)n);
}

static uint64_t total(const struct admin_status *status, const char *name)
{
	for (size_t i = 0; i < status->n_totals; i++)
		if (strcmp(status->totals[i].name, name) == 0)
			return status->totals[i].n;
	return 0;
}

static void show_info(struct speech *s)
{
	const struct admin_host *host = &s->api->host;
	struct admin_status status = {0};
	struct process_facts facts;
	uint64_t connections = 0, exchanges = 0;
	char node[256] = "weir";
	host->status(host->ctx, s->arena, &status);
	process_facts_get(&facts);
	for (size_t i = 0; i < status.n_workers; i++) {
		connections += status.workers[i].connections;
		exchanges += status.workers[i].exchanges;
	}
	gethostname(node, sizeof(node) - 1);
	uint64_t up = (clock_us() - status.started_us) / 1000000;
	str_text(s->out, "Name: weir\nVersion: " WEIR_VERSION "\nRelease_date: -\n");
	put_fact(s, "Nbthread", status.n_workers);
	put_fact(s, "Nbproc", 1);
	put_fact(s, "Process_num", 1);
	put_fact(s, "Pid", (uint64_t)getpid());
	str_printf(s->out, "Uptime: %llud %lluh%02llum%02llus\n", (unsigned long long)up / 86400,
		   (unsigned long long)up / 3600 % 24, (unsigned long long)up / 60 % 60,
		   (unsigned long long)up % 60);
	put_fact(s, "Uptime_sec", up);
	put_fact(s, "Ulimit-n", facts.max_fds);
	put_fact(s, "Maxconn", facts.max_fds);
	put_fact(s, "CurrConns", connections);
	put_fact(s, "CumConns", total(&status, "accepted"));
	put_fact(s, "CumReq", total(&status, "requests"));
	put_fact(s, "Maxpipes", 0);
	put_fact(s, "PipesUsed", 0);
	put_fact(s, "Tasks", exchanges);
	put_fact(s, "Run_queue", 0);
	put_fact(s, "Stopping", status.draining);
	str_printf(s->out, "node: %s\n", node);
}

/* ---- changes ---- */

/* POOL/BACKEND; false with a sentence when there is none. */
static bool find_server(struct speech *s, struct view place, const struct pool **pool,
			uint32_t *index)
{
	const struct admin_host *host = &s->api->host;
	ptrdiff_t slash = view_chr(place, '/');
	uint32_t n;
	const struct pool *pools = host->pools(host->ctx, &n);
	for (uint32_t i = 0; slash > 0 && i < n; i++) {
		if (!view_eq(pools[i].conf->name, view_head(place, (size_t)slash)))
			continue;
		int32_t k = pool_backend_index(&pools[i], view_skip(place, (size_t)slash + 1));
		if (k < 0)
			break;
		*pool = &pools[i];
		*index = (uint32_t)k;
		return true;
	}
	str_text(s->out, "No such server.\n");
	return false;
}

static void set_state(struct speech *s, struct view place, enum backend_state state)
{
	const struct admin_host *host = &s->api->host;
	const struct pool *pool;
	struct str why = STR_INIT;
	uint32_t i;
	if (find_server(s, place, &pool, &i) &&
	    host->set_state(host->ctx, pool->backends[i], state, &why) != ERR_OK)
		str_printf(s->out, "%s\n", why.ptr ? why.ptr : "refused");
	str_fini(&why);
}

static void set_weight(struct speech *s, struct view place, struct view text)
{
	const struct admin_host *host = &s->api->host;
	const struct pool *pool;
	struct str why = STR_INIT;
	uint64_t weight;
	uint32_t i;
	if (!find_server(s, place, &pool, &i))
		return;
	if (!parse_u64(text, &weight) || weight > UINT16_MAX)
		str_text(s->out, "A weight is a number from 0 to 65535.\n");
	else if (host->set_weight(host->ctx, pool->conf->name, pool->backends[i]->name,
				  (uint32_t)weight, &why) != ERR_OK)
		str_printf(s->out, "%s\n", why.ptr ? why.ptr : "refused");
	str_fini(&why);
}

static void enable_server(struct speech *s)
{
	set_state(s, s->words[2], BACKEND_up);
}

static void disable_server(struct speech *s)
{
	set_state(s, s->words[2], BACKEND_maintenance);
}

static void set_weight_of(struct speech *s)
{
	set_weight(s, s->words[2], s->words[3]);
}

static void get_weight(struct speech *s)
{
	const struct pool *pool;
	uint32_t i;
	if (find_server(s, s->words[2], &pool, &i))
		str_printf(s->out, "%u\n", pool->weights[i]);
}

/* set server P/B state ready|drain|maint, set server P/B weight N */
static void set_server(struct speech *s)
{
	static const struct {
		const char *word;
		enum backend_state state;
	} rows[] = {
	    {"ready", BACKEND_up}, {"drain", BACKEND_draining}, {"maint", BACKEND_maintenance}};
	if (view_eq(s->words[3], VIEW("weight"))) {
		set_weight(s, s->words[2], s->words[4]);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!view_eq(s->words[3], VIEW("state")) ||
		    !view_eq(s->words[4], view_str(rows[i].word)))
			continue;
		set_state(s, s->words[2], rows[i].state);
		return;
	}
	str_text(s->out, "set server POOL/BACKEND state ready|drain|maint, or weight N\n");
}

/* ---- commands ---- */

static void start_prompts(struct speech *s)
{
	*s->prompts = true;
}

static void show_help(struct speech *s);

/* Ours has timeouts of its own; hatop insists on setting one. */
static void set_timeout(struct speech *s)
{
	(void)s;
}

static const struct command {
	const char *words[2]; /* the second may be NULL */
	unsigned n_least;     /* words, these included */
	void (*run)(struct speech *s);
	const char *usage;
} commands[] = {
    {{"show", "stat"}, 2, show_stat, "show stat [IID TYPE SID]"},
    {{"show", "info"}, 2, show_info, "show info"},
    {{"enable", "server"}, 3, enable_server, "enable server POOL/BACKEND"},
    {{"disable", "server"}, 3, disable_server, "disable server POOL/BACKEND"},
    {{"get", "weight"}, 3, get_weight, "get weight POOL/BACKEND"},
    {{"set", "weight"}, 4, set_weight_of, "set weight POOL/BACKEND N"},
    {{"set", "server"}, 5, set_server, "set server POOL/BACKEND state ready|drain|maint"},
    {{"set", "timeout"}, 3, set_timeout, "set timeout cli SECONDS"},
    {{"prompt", NULL}, 1, start_prompts, "prompt"},
    {{"help", NULL}, 1, show_help, "help"},
    {{"quit", NULL}, 1, NULL, "quit"},
};

static void show_help(struct speech *s)
{
	str_text(s->out, "The API is HTTP and JSON, see weir(8); for tools made for HAProxy:\n");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		str_printf(s->out, "  %s\n", commands[i].usage);
}

bool dialect_is_spoken(struct view in)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		struct view word = view_str(commands[i].words[0]);
		if (view_starts(in, word) && in.len > word.len &&
		    memchr(" \t\r\n;", in.ptr[word.len], 5))
			return true;
	}
	return false;
}

/* False: the client wants to leave. */
static bool run_command(struct speech *s)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		const struct command *c = &commands[i];
		if (!view_eq(s->words[0], view_str(c->words[0])) ||
		    (c->words[1] && !view_eq(s->words[1], view_str(c->words[1]))))
			continue;
		if (!c->run)
			return false;
		if (s->n_words < c->n_least)
			str_printf(s->out, "usage: %s\n", c->usage);
		else
			c->run(s);
		return true;
	}
	str_text(s->out, "Unknown command; help lists them.\n");
	return true;
}

bool dialect_run(struct api *api, struct view line, bool *prompts, struct str *out)
{
	bool stays = true;
	while (stays && line.len) {
		ptrdiff_t end = view_chr(line, ';');
		struct view rest = view_head(line, end < 0 ? line.len : (size_t)end), word;
		line = view_skip(line, rest.len + 1);
		struct speech s = {.api = api, .prompts = prompts, .out = out};
		while (s.n_words < WORDS_MAX && (word = next_word(&rest)).len)
			s.words[s.n_words++] = word;
		if (!s.n_words)
			continue;
		s.arena = arena_new();
		stays = run_command(&s);
		arena_free(s.arena);
		str_char(out, '\n');
	}
	if (*prompts && stays)
		str_text(out, "> ");
	return *prompts && stays;
}
