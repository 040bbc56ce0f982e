/* SPDX-License-Identifier: MIT */
/*
 * The text dialect of HAProxy's stats socket (its management guide, 9.1 and 9.3)
 * on our unix socket, so that hatop and existing scrapers work: a line in, text
 * and a blank line out.  A session whose first bytes begin like one of these
 * commands speaks it; HTTP methods are in upper case, so neither can be taken
 * for the other.  A listener is a FRONTEND, a pool a BACKEND, a backend a server.
 */
#include "dialect_speech.h"

#include <string.h>
#include <unistd.h>

#include "counters.h"
#include "process.h"

#include "weir/base/clock.h"
#include "weir/base/parse.h"
#include "weir/health/health.h"

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
	char node[256] = "weir";
	host->status(host->ctx, s->arena, &status);
	process_facts_get(&facts);
	uint64_t connections = status.before.connections, exchanges = status.before.exchanges;
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
    {{"show", "stat"}, 2, dialect_show_stat, "show stat [IID TYPE SID]"},
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
