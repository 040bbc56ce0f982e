/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "weir/acme/acme.h"
#include "weir/base/check.h"

static const char standard[] =
    "status: {socket: /tmp/weir-admin-unused.sock}\n"
    "listeners:\n"
    "  - {name: web, bind: '127.0.0.1:8080'}\n"
    "  - {name: tls, bind: '127.0.0.1:443'}\n"
    "routes:\n"
    "  - name: api\n"
    "    match: {host: api.test, path: /v1}\n"
    "    pool: app\n"
    "    rewrite: {path_regex: '^/v1/(.*)$', path: '/$1', host: in.test}\n"
    "  - {name: inside, match: {client: [10.0.0.0/8]}, pool: spare}\n"
    "  - {name: head, match: {header: {X-Env: canary}}, pool: spare}\n"
    "  - {name: both, match: {path: /both}, split: {app: 95, spare: 5}}\n"
    "  - name: old\n"
    "    match: {path: /old}\n"
    "    redirect: {to: 'https://new.test{uri}', status: 301}\n"
    "  - name: fixed\n"
    "    match: {path: /fixed}\n"
    "    respond: {status: 418, body: tea, content_type: text/plain}\n"
    "  - {name: any, match: {host: '*.test'}, pool: app}\n"
    "pools:\n"
    "  app:\n"
    "    balance: least-request\n"
    "    backends:\n"
    "      - {address: '127.0.0.1:1', name: a, max_requests: 2}\n"
    "      - {address: '127.0.0.1:2', name: b, weight: 2}\n"
    "      - {address: 'unix:/tmp/c', priority: 1}\n"
    "  spare: {balance: p2c, backends: [{address: '127.0.0.1:3', name: s}]}\n";

bool fixture_has_certificates, fixture_has_sites;

/* ---- pools, built anew on every change ---- */

static void release_pools(struct fixture *f)
{
	for (uint32_t i = 0; i < f->n_pools; i++)
		pool_release(&f->pools[i]);
}

static void build_pools(struct fixture *f)
{
	struct arena *arena = arena_new();
	struct pool *pools = arena_array(arena, f->conf->n_pools, sizeof(*pools));
	for (size_t i = 0; i < f->conf->n_pools; i++)
		pool_build(&pools[i], &f->conf->pools[i], &f->reg, &f->overrides, arena);
	filter_set_release(&f->filters);
	release_pools(f);
	arena_free(f->arena);
	f->arena = arena;
	f->pools = pools;
	f->n_pools = (uint32_t)f->conf->n_pools;
	f->generation++;
}

/* ---- the host ---- */

static const struct conf *get_conf(void *ctx)
{
	return ((struct fixture *)ctx)->conf;
}

static const struct users *get_users(void *ctx)
{
	return ((struct fixture *)ctx)->users;
}

static const struct filter_set *get_filters(void *ctx)
{
	return &((struct fixture *)ctx)->filters;
}

static const struct route_table *get_routes(void *ctx)
{
	return ((struct fixture *)ctx)->routes;
}

static void get_meters(void *ctx, struct arena *arena, struct admin_meters *out)
{
	(void)ctx;
	(void)arena;
	*out = (struct admin_meters){0};
}

static struct pool *get_pools(void *ctx, uint32_t *n)
{
	struct fixture *f = ctx;
	*n = f->n_pools;
	return f->pools;
}

static void get_status(void *ctx, struct arena *arena, struct admin_status *out)
{
	static const struct admin_counter totals[] = {{"accepted", "accepted connections", 7},
						      {"requests", "requests", 42},
						      {"responses_2xx", "2xx", 40},
						      {"responses_5xx", "5xx", 2},
						      {"bytes_in", "received", 1000},
						      {"fd_exhausted", "out of descriptors", 3}};
	static const struct admin_counter outcomes[] = {{"ok", "fine", 40},
							{"no_route", "none", 0}};
	static const struct admin_counter rejects[] = {{"none", "accepted", 0},
						       {"bad_chunk", "bad", 2}};
	struct fixture *f = ctx;
	*out = (struct admin_status){
	    .generation = f->generation,
	    .started_wall_us = 1700000000000000,
	    .draining = f->draining,
	    .totals = totals,
	    .n_totals = ARRAY_LEN(totals),
	    .outcomes = outcomes,
	    .n_outcomes = ARRAY_LEN(outcomes),
	    .rejects = rejects,
	    .n_rejects = ARRAY_LEN(rejects),
	    .n_workers = 2,
	    .n_listeners = 1,
	    .logs = {{.name = "access", .path = VIEW("/var/log/access")},
		     {.name = "messages", .path = VIEW("stderr")}},
	};
	out->workers = arena_array(arena, 2, sizeof(*out->workers));
	out->workers[0] = (struct admin_worker){0, 3, 1, 2, 850};
	out->workers[1] = (struct admin_worker){1, 2, 4, 0, 150000};
	out->listeners = arena_array(arena, 1, sizeof(*out->listeners));
	out->listeners[0] =
	    (struct admin_listener){VIEW("we\"b"), VIEW("127.0.0.1:8080"), 5, 0, 7, 1};
	out->last_reload.ok = f->reload_result == ERR_OK;
	out->last_reload.at_wall_us = 1700000001123000;
	if (!out->last_reload.ok)
		out->last_reload.error = view_str(f->diagnostics);
}

static enum err reload(void *ctx, struct str *diagnostics)
{
	struct fixture *f = ctx;
	if (f->diagnostics)
		str_text(diagnostics, f->diagnostics);
	if (f->reload_result == ERR_OK)
		build_pools(f);
	return f->reload_result;
}

static enum err set_state(void *ctx, struct backend *backend, enum backend_state state,
			  struct str *why)
{
	(void)ctx;
	(void)why;
	atomic_store(&backend->state, (uint8_t)state);
	snprintf(backend->reason, sizeof(backend->reason), "by a test");
	event_add(EVENT_STATE, backend->pool_name, backend->name, "%s", backend_state_name(state));
	return ERR_OK;
}

static struct pool_override *new_override(struct fixture *f, struct view pool, struct view backend)
{
	struct pool_override *o = arena_zalloc(f->conf->arena, sizeof(*o));
	o->pool = arena_view(f->conf->arena, pool);
	o->backend = arena_view(f->conf->arena, backend);
	list_push_front(&f->overrides, &o->link);
	return o;
}

static enum err set_weight(void *ctx, struct view pool, struct view backend, uint32_t weight,
			   struct str *why)
{
	struct fixture *f = ctx;
	if (weight == 666) {
		str_text(why, "not that one");
		return ERR_FULL;
	}
	struct pool_override *o = new_override(f, pool, backend);
	o->has_weight = true;
	o->weight = weight;
	build_pools(f);
	return ERR_OK;
}

static enum err add(void *ctx, struct view pool, const struct conf_backend *backend,
		    struct str *why)
{
	struct fixture *f = ctx;
	struct pool_override *o = new_override(f, pool, backend->name);
	(void)why;
	o->add = true;
	o->added = *backend;
	o->added.name = o->backend;
	o->added.address_text = arena_view(f->conf->arena, backend->address_text);
	build_pools(f);
	return ERR_OK;
}

/* Goes at once unless something is in flight. */
static enum err remove_backend(void *ctx, struct view pool, struct view backend, struct str *why)
{
	struct fixture *f = ctx;
	for (uint32_t i = 0; i < f->n_pools; i++) {
		int32_t at = pool_backend_index(&f->pools[i], backend);
		if (at < 0 || !view_eq(f->pools[i].conf->name, pool))
			continue;
		if (atomic_load(&f->pools[i].backends[at]->in_flight)) {
			return set_state(ctx, f->pools[i].backends[at], BACKEND_draining, why);
		}
	}
	new_override(f, pool, backend)->remove = true;
	build_pools(f);
	return ERR_OK;
}

static const struct discover_source *no_sources(void *ctx, struct arena *arena, size_t *n)
{
	(void)ctx;
	(void)arena;
	*n = 0;
	return NULL;
}

static const struct list *get_overrides(void *ctx)
{
	return &((struct fixture *)ctx)->overrides;
}

static enum err reset(void *ctx, struct view pool, struct view backend, struct str *why)
{
	struct fixture *f = ctx;
	size_t n = 0;
	list_each_safe (it, tmp, &f->overrides) {
		struct pool_override *o = list_entry(it, struct pool_override, link);
		if ((!pool.len || view_eq(o->pool, pool)) &&
		    (!backend.len || view_eq(o->backend, backend))) {
			list_del(&o->link);
			n++;
		}
	}
	build_pools(f);
	if (!n && backend.len)
		str_text(why, "nothing was changed there");
	return n || !backend.len ? ERR_OK : ERR_NOENT;
}

static void drain(void *ctx)
{
	((struct fixture *)ctx)->draining = true;
}

static void give_rows(struct fixture *f)
{
	struct admin_connection row = {
	    .id = 9,
	    .worker = 1,
	    .listener = VIEW("web"),
	    .client = VIEW("192.0.2.7:5555"),
	    .state = VIEW("idle"),
	    .path = view_str(f->name_of_connection),
	    .age_us = 2500000,
	    .requests = 12,
	};
	f->done(f->done_arg, &row, 1);
	f->done = NULL;
}

static const struct tls_used *certificates(void *ctx, size_t *n)
{
	static struct tls_used rows[2];
	(void)ctx;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		rows[i] = (struct tls_used){
		    .listener = VIEW("web"),
		    .info = {.file = i ? VIEW("/late.pem") : VIEW("/site.pem"),
			     .subject = VIEW("CN=a.example"),
			     .issuer = VIEW("CN=Test"),
			     .names = VIEW("a.example *.b.example"),
			     .key_type = VIEW("ECDSA P-256"),
			     .fingerprint = VIEW("00"),
			     .not_after_s = time(NULL) + (i ? 5 * 86400 + 60 : 90 * 86400),
			     .ocsp = VIEW("good"),
			     .ocsp_until_s = i ? 1 : 0},
		};
	*n = fixture_has_certificates ? ARRAY_LEN(rows) : 0;
	return rows;
}

static const struct acme_site *sites(void *ctx, struct arena *arena, size_t *n)
{
	static struct acme_site rows[3];
	(void)ctx;
	(void)arena;
	rows[0] = (struct acme_site){.names = VIEW("new.example www.new.example"),
				     .file = VIEW("/acme/new.pem"),
				     .step = VIEW("placing the order")};
	rows[1] = (struct acme_site){.names = VIEW("old.example"),
				     .file = VIEW("/acme/old.pem"),
				     .error = VIEW("the authority is down"),
				     .trusted = true,
				     .saved = true,
				     .failures = 2,
				     .n_orders = 3,
				     .n_failed = 2,
				     .next_wall_us = clock_wall_us() + 3600 * UINT64_C(3000000)};
	rows[2] = (struct acme_site){.names = VIEW("late.example"),
				     .file = VIEW("/late.pem"),
				     .trusted = true,
				     .saved = true};
	*n = fixture_has_sites ? ARRAY_LEN(rows) : 0;
	return rows;
}

static void connections(void *ctx,
			void (*done)(void *arg, const struct admin_connection *rows, size_t n),
			void *arg)
{
	struct fixture *f = ctx;
	f->done = done;
	f->done_arg = arg;
	if (!f->defer)
		give_rows(f);
}

void fixture_release(struct fixture *f)
{
	give_rows(f);
}

/* ---- life ---- */

void fixture_init(struct fixture *f, const char *yaml)
{
	struct conf_diags diags;
	struct str text = STR_INIT;
	*f = (struct fixture){0};
	conf_diags_init(&diags);
	f->conf = conf_load_text(view_str(yaml ? yaml : standard), "test", &diags);
	conf_diags_format(&diags, &text, false);
	if (!f->conf)
		fprintf(stderr, "%s\n", text.ptr);
	check(f->conf);
	conf_diags_fini(&diags);
	str_reset(&text);
	f->routes = route_table_new(f->conf, &text);
	check(f->routes);
	str_fini(&text);
	check(loop_init(&f->loop, "test") == ERR_OK);
	pool_worker_init(&f->pw, 0, &f->loop, 16, 16);
	f->workers[0] = &f->pw;
	pool_registry_init(&f->reg, 1, f->workers);
	list_init(&f->overrides);
	build_pools(f);
	check(filter_set_build(&f->filters, f->conf, 1, f->conf->arena, &text));
	f->host = (struct admin_host){
	    .ctx = f,
	    .conf = get_conf,
	    .routes = get_routes,
	    .pools = get_pools,
	    .meters = get_meters,
	    .status = get_status,
	    .reload = reload,
	    .set_state = set_state,
	    .set_weight = set_weight,
	    .add = add,
	    .remove = remove_backend,
	    .overrides = get_overrides,
	    .reset = reset,
	    .filters = get_filters,
	    .users = get_users,
	    .drain = drain,
	    .sources = no_sources,
	    .certificates = certificates,
	    .sites = sites,
	    .connections = connections,
	};
	check(api_init(&f->api, &f->host));
	f->api.loop = &f->loop;
}

void fixture_fini(struct fixture *f)
{
	check(f->api.backlog == 0);
	api_fini(&f->api);
	users_put(f->users);
	filter_set_release(&f->filters);
	release_pools(f);
	arena_free(f->arena);
	pool_registry_fini(&f->reg);
	pool_worker_fini(&f->pw);
	loop_fini(&f->loop);
	route_table_free(f->routes);
	conf_free(f->conf);
}

/* ---- requests ---- */

static uint64_t length_of(struct view head)
{
	const char *at = strstr(head.ptr, "Content-Length: ");
	return at ? strtoull(at + 16, NULL, 10) : 0;
}

bool reply_take(struct str *bytes, bool head_only, struct reply *out)
{
	const char *end = bytes->len ? strstr(bytes->ptr, "\r\n\r\n") : NULL;
	*out = (struct reply){.head = STR_INIT, .body = STR_INIT};
	if (!end)
		return false;
	size_t head_len = (size_t)(end - bytes->ptr) + 4;
	str_put(&out->head, bytes->ptr, head_len);
	size_t len = head_only ? 0 : (size_t)length_of(str_as_view(&out->head));
	if (bytes->len < head_len + len || strncmp(out->head.ptr, "HTTP/1.1 ", 9) != 0) {
		str_fini(&out->head);
		return false;
	}
	out->status = (unsigned)atoi(out->head.ptr + 9);
	out->closes = strstr(out->head.ptr, "Connection: close\r\n") != NULL;
	str_put(&out->body, bytes->ptr + head_len, len);
	memmove(bytes->ptr, bytes->ptr + head_len + len, bytes->len - head_len - len + 1);
	bytes->len -= head_len + len;
	return true;
}

void reply_fini(struct reply *r)
{
	str_fini(&r->head);
	str_fini(&r->body);
}

void session_take(struct session *s, struct str *out)
{
	while (session_out(s).len) {
		str_view(out, session_out(s));
		session_sent(s, session_out(s).len);
	}
}

static struct reply exchange(struct fixture *f, bool trusted, const char *method, const char *path,
			     const char *more, const char *body)
{
	struct session s;
	struct str text = STR_INIT, out = STR_INIT;
	struct reply reply;
	str_printf(&text, "%s %s HTTP/1.1\r\nHost: weir\r\n%s", method, path, more);
	if (body)
		str_printf(&text, "Content-Length: %zu\r\n", strlen(body));
	str_printf(&text, "\r\n%s", body ? body : "");
	session_init(&s, &f->api, trusted);
	session_put(&s, str_as_view(&text));
	session_run(&s);
	session_take(&s, &out);
	check(reply_take(&out, strcmp(method, "HEAD") == 0, &reply));
	check(out.len == 0);
	session_fini(&s);
	str_fini(&text);
	str_fini(&out);
	return reply;
}

struct reply ask(struct fixture *f, const char *method, const char *path, const char *body)
{
	return exchange(f, true, method, path, body ? "Content-Type: application/json\r\n" : "",
			body);
}

/* On the unix socket with header lines of the caller's. */
struct reply ask_typed(struct fixture *f, const char *method, const char *path, const char *more,
		       const char *body)
{
	return exchange(f, true, method, path, more, body);
}

struct reply ask_tcp(struct fixture *f, const char *method, const char *path, const char *more,
		     const char *body)
{
	return exchange(f, false, method, path, more, body);
}
