/* SPDX-License-Identifier: MIT */
/*
 * weirctl doctor: what will hurt, or already does, each with one sentence of
 * advice.  It only reads; rules are rows or short functions, so that adding one
 * is easy.  A `problem` costs something now, a `note` may.
 */
#include "api.h"
#include "commands.h"
#include "doctor.h"
#include "table.h"
#include "text.h"

#include <string.h>

#include "weir/base/defs.h"

#define NEAR_PERCENT 80
#define QUIET_S 3600 /* what was not used for this long since the start is unused */

/* ---- counters that should be zero ---- */

struct zero {
	const char *key, *what, *advice;
	const char *told; /* words of the problem by which weir says the same; NULL: by none */
};

static const struct zero total_zeros[] = {
    {"fd_exhausted", "times accepting stopped for want of file descriptors",
     "raise the limit of open files: LimitNOFILE= in the unit, or ulimit -n",
     "for want of file descriptors"},
    {"log_dropped", "access log lines were dropped",
     "put the log on a faster disk, or lower log.access.sample", "lines of the access log"},
    {"trace_dropped", "spans were dropped because the trace collector was behind",
     "lower tracing.sample, or give the collector more to work with", "spans were dropped"},
    {"per_client_refused", "connections beyond limits.connections_per_client were closed",
     "weir's log names some of the clients; proxies that many share belong into trusted_proxies",
     NULL},
    {"proxy_headers_refused", "connections were closed for a missing or malformed PROXY header",
     "weir's log names some of them; who sends none does not belong into proxy_protocol.from",
     NULL},
    {"h2_heads_refused", "requests were refused because of limits.h2_head_bytes",
     "raise it, and h2_head_bytes with it, if these clients are honest", NULL},
};

static const struct zero message_zeros[] = {
    {"dropped", "lines of its own log were dropped",
     "what reads weir's standard error has to keep up: see systemctl status, or the pipe's end",
     "lines of the messages log"},
};

static const struct zero pool_zeros[] = {
    {"queue_full", "exchanges were refused because the queue was full",
     "add a backend or raise limits.requests; a longer queue only makes the wait longer", NULL},
    {"queue_timeouts", "exchanges waited longer than queue.timeout",
     "add a backend: weirctl scaling says what it would change", NULL},
    {"no_backend", "exchanges were refused because no backend was eligible",
     "see weirctl backends for who is not up, and weirctl events for since when", NULL},
    {"retries_denied", "retries were denied by the budget",
     "too much fails for retries to help: mend the backends before raising retry.budget", NULL},
};

/* Whether a problem that weir names has these words. */
static bool is_told(const struct doctor *d, const char *words)
{
	size_t i;
	json_t *problem;
	json_array_foreach(json_object_get(d->status, "problems"), i, problem)
	{
		if (json_is_string(problem) && strstr(json_string_value(problem), words))
			return true;
	}
	return false;
}

static void check_zeros(struct doctor *d, const json_t *object, const char *name,
			const struct zero *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (get_u64(object, rows[i].key) && !(rows[i].told && is_told(d, rows[i].told)))
			doctor_find(d, NOTE, rows[i].advice, "%s: %llu %s since the start", name,
				    (unsigned long long)get_u64(object, rows[i].key), rows[i].what);
}

/* ---- what weir itself says ---- */

#define RAISE_LIMIT "raise the limit if what is behind it can take more"
#define REACHED " has reached limits.connections"

/* By what is in the sentence; the last one is for all others. */
static const struct {
	const char *words, *advice;
} advices[] = {
    {"members stay from before", "weirctl sources says since when, and who the members are"},
    {"member stays from before", "weirctl sources says since when, and who it is"},
    {"; it has no members", "weirctl sources says since when, and what was asked"},
    {"shared.redis", "each node goes on by itself meanwhile; weirctl nodes says who is heard of"},
    {REACHED, RAISE_LIMIT},
    {"", "weirctl events and weirctl scaling say since when and why"},
};

static const struct zero *find_told(const struct zero *rows, size_t n, const char *problem)
{
	for (size_t i = 0; i < n; i++)
		if (rows[i].told && strstr(problem, rows[i].told))
			return &rows[i];
	return NULL;
}

static const char *advice_for(const char *problem)
{
	const struct zero *zero = find_told(total_zeros, ARRAY_LEN(total_zeros), problem);
	if (!zero)
		zero = find_told(message_zeros, ARRAY_LEN(message_zeros), problem);
	if (zero)
		return zero->advice;
	size_t i = 0;
	while (!strstr(problem, advices[i].words))
		i++;
	return advices[i].advice;
}

static void check_problems(struct doctor *d)
{
	size_t i;
	json_t *problem;
	json_array_foreach(json_object_get(d->status, "problems"), i, problem)
	{
		const char *text = json_is_string(problem) ? json_string_value(problem) : "?";
		if (!json_array_size(json_object_get(d->certificates, "certificates")) ||
		    !doctor_knows_certificate(text))
			doctor_find(d, PROBLEM, advice_for(text), "%s", text);
	}
}

/* ---- near a limit ---- */

static void check_limit(struct doctor *d, const char *name, const char *key, uint64_t n,
			uint64_t limit)
{
	if (!limit || n * 100 < limit * NEAR_PERCENT)
		return;
	doctor_find(d, n >= limit ? PROBLEM : NOTE, RAISE_LIMIT, "%s: %llu of %llu allowed by %s",
		    name, (unsigned long long)n, (unsigned long long)limit, key);
}

static void check_listener_limit(struct doctor *d, const json_t *listener, const json_t *conf)
{
	const char *name = get_text(listener, "name");
	struct str words = STR_INIT;
	str_printf(&words, "listener %s" REACHED, name);
	if (!is_told(d, words.ptr))
		check_limit(d, name, "limits.connections", get_u64(listener, "connections"),
			    get_u64(json_object_get(conf, "limits"), "connections"));
	str_fini(&words);
}

static void check_listeners(struct doctor *d)
{
	const json_t *confs = json_object_get(d->config, "listeners");
	size_t i, k;
	json_t *listener, *conf;
	json_array_foreach(json_object_get(d->status, "listeners"), i, listener)
	{
		const char *name = get_text(listener, "name");
		if (get_u64(listener, "refused"))
			doctor_find(d, NOTE,
				    "raise limits.connections of the listener, or add machines",
				    "listener %s refused %llu connections since the start", name,
				    (unsigned long long)get_u64(listener, "refused"));
		json_array_foreach(confs, k, conf)
		{
			if (strcmp(get_text(conf, "name"), name) == 0)
				check_listener_limit(d, listener, conf);
		}
	}
}

/*
 * The keep-alive race: a request is sent on a kept connection in the moment in which the
 * backend closes it.  weir has seen it close idle ones and gives them up earlier.
 */
static void check_idle_close(struct doctor *d, const json_t *b, const char *name,
			     const json_t *conf)
{
	uint64_t closes = get_u64(b, "closes_idle_after_us");
	uint64_t keeps = doctor_duration_at(conf, "keepalive", "idle");
	if (!closes || !keeps || closes >= keeps)
		return;
	doctor_find(
	    d, NOTE,
	    "a request sent in the moment in which the backend closes would be lost, so weir "
	    "stops using a connection half a second earlier; let the backend keep them "
	    "for longer than keepalive.idle, or lower that",
	    "%s closes kept connections after %.1f s, before keepalive.idle (%.1f s)", name,
	    (double)closes / 1e6, (double)keeps / 1e6);
}

static void check_connects(struct doctor *d, const json_t *b, const char *name)
{
	uint64_t n = get_u64(b, "connect_failures");
	const char *tls = get_text(b, "tls_error");
	if (n)
		doctor_find(d, NOTE,
			    *tls ? "openssl s_client -connect shows what the backend gives, "
				   "pools.*.tls is what weir wants"
				 : "is the app running, and is its listen backlog long enough?",
			    "%s: %llu connections could not be opened since the start%s%s", name,
			    (unsigned long long)n, *tls ? "; in TLS: " : "", tls);
}

static void check_backends(struct doctor *d, const json_t *pool, const json_t *conf)
{
	const json_t *backends = json_object_get(pool, "backends");
	uint64_t max_upconns = get_u64(json_object_get(conf, "limits"), "connections");
	struct str name = STR_INIT;
	size_t i;
	json_t *b;
	json_array_foreach(backends, i, b)
	{
		str_reset(&name);
		str_printf(&name, "%s/%s", get_text(pool, "name"), get_text(b, "name"));
		check_connects(d, b, name.ptr);
		check_limit(d, name.ptr, "limits.requests", get_u64(b, "in_flight"),
			    get_u64(b, "limit"));
		check_limit(d, name.ptr, "limits.connections", get_u64(b, "upconns"), max_upconns);
		check_idle_close(d, b, name.ptr, conf);
	}
	if (json_array_size(backends) == 1)
		doctor_find(d, NOTE,
			    "a second backend lets one fail, or be replaced, without an outage",
			    "pool %s has one backend", get_text(pool, "name"));
	str_fini(&name);
}

/* Whether a `pool` anywhere in it is this one: of a route, its split, its mirror, who is asked. */
static bool names_pool(const json_t *at, const char *pool)
{
	size_t i;
	const char *key;
	json_t *child;
	json_array_foreach(at, i, child)
	{
		if (names_pool(child, pool))
			return true;
	}
	json_object_foreach((json_t *)at, key, child)
	{
		if (strcmp(key, "pool") == 0 && strcmp(get_text(at, key), pool) == 0)
			return true;
		if (names_pool(child, pool))
			return true;
	}
	return false;
}

/* Without routes there is one pool, and it takes everything. */
static bool has_route(const struct doctor *d, const char *pool)
{
	const json_t *routes = json_object_get(d->config, "routes");
	return json_array_size(routes) == 0 || names_pool(routes, pool) ||
	       names_pool(json_object_get(d->config, "status"), pool);
}

static void check_use(struct doctor *d, const json_t *pool, const char *name)
{
	if (!has_route(d, name))
		doctor_find(d, NOTE, "name it in a route, or take it out",
			    "pool %s gets no requests: nothing leads to it", name);
	else if (get_u64(d->status, "uptime_s") >= QUIET_S && get_u64(pool, "requests") == 0)
		doctor_find(d, NOTE, "take it and its routes out, or find out why nobody comes",
			    "pool %s got no request since the start", name);
}

static void check_pools(struct doctor *d)
{
	size_t i;
	json_t *pool;
	json_array_foreach(json_object_get(d->pools, "pools"), i, pool)
	{
		const char *name = get_text(pool, "name");
		const json_t *conf = json_object_get(json_object_get(d->config, "pools"), name);
		check_zeros(d, pool, name, pool_zeros, ARRAY_LEN(pool_zeros));
		check_limit(d, name, "queue.length", get_u64(pool, "queued"),
			    get_u64(json_object_get(conf, "queue"), "length"));
		check_backends(d, pool, conf);
		check_use(d, pool, name);
	}
}

/* ---- routes ---- */

static bool has_conditions(const json_t *route)
{
	return json_object_size(json_object_get(route, "match")) > 0;
}

static void find_unused(struct doctor *d, const json_t *route)
{
	doctor_find(d, NOTE, "take it out, or ask weirctl explain which route its requests take",
		    "route %s got no request since the start", get_text(route, "name"));
}

/* A route without conditions takes everything: what follows is never asked. */
static void check_routes(struct doctor *d)
{
	const json_t *routes = json_object_get(d->config, "routes");
	const json_t *counts = json_object_get(d->latency, "routes");
	bool is_long = get_u64(d->status, "uptime_s") >= QUIET_S;
	size_t n = json_array_size(routes);
	for (size_t i = 0; i < n; i++) {
		const json_t *count = json_object_get(json_array_get(counts, i), "requests");
		if (is_long && json_is_integer(count) && json_integer_value(count) == 0)
			find_unused(d, json_array_get(routes, i));
		if (has_conditions(json_array_get(routes, i)) || i + 1 == n)
			continue;
		doctor_find(d, PROBLEM, "move the route that matches everything to the end",
			    "route %s matches everything: the %zu behind it are never used",
			    get_text(json_array_get(routes, i), "name"), n - 1 - i);
		return;
	}
}

/* ---- copies ---- */

#define DIFFERS_MIN 0.01
#define DROPPED_MIN 0.1

/* So often at the least that it is no accident. */
static void check_differs(struct doctor *d, const json_t *m, const char *what)
{
	const json_t *share = json_object_get(m, what);
	if (get_real(share, "low") > DIFFERS_MIN)
		doctor_find(
		    d, NOTE, "weirctl mirror names some of the requests",
		    "mirror of route %s: %s answers with another %s to %.0f %% of %llu requests",
		    get_text(m, "route"), get_text(m, "mirror"), what,
		    get_real(share, "share") * 100, (unsigned long long)get_u64(share, "compared"));
}

static void check_dropped(struct doctor *d, const json_t *m)
{
	static const char *const reasons[] = {"dropped_in_flight", "dropped_busy", "dropped_full",
					      "dropped_down", "dropped_memory"};
	const json_t *counters = json_object_get(m, "counters");
	uint64_t drawn = get_u64(counters, "drawn"), dropped = 0;
	for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
		dropped += get_u64(counters, reasons[i]);
	if (drawn && (double)dropped > DROPPED_MIN * (double)drawn)
		doctor_find(d, NOTE, "lower its share, or give the other pool more backends",
			    "mirror of route %s: %llu of %llu copies for %s were dropped",
			    get_text(m, "route"), (unsigned long long)dropped,
			    (unsigned long long)drawn, get_text(m, "mirror"));
}

static void check_mirrors(struct doctor *d)
{
	size_t i;
	json_t *m;
	json_array_foreach(json_object_get(d->mirror, "mirrors"), i, m)
	{
		check_differs(d, m, "status");
		check_differs(d, m, "body");
		check_dropped(d, m);
	}
}

/* ---- all of it ---- */

/* Older daemons have neither certificates to show nor routes counted. */
static enum ctl_exit gather(struct ctl *ctl, struct doctor *d)
{
	enum ctl_exit code = api_get(ctl, "/v1/status", &d->status);
	if (code == CTL_OK)
		code = api_get(ctl, "/v1/pools", &d->pools);
	if (code == CTL_OK)
		code = api_get(ctl, "/v1/config", &d->config);
	if (code == CTL_OK && api_get(ctl, "/v1/latency", &d->latency) != CTL_OK)
		str_reset(&ctl->why);
	if (code == CTL_OK && api_get(ctl, "/v1/mirror", &d->mirror) != CTL_OK)
		str_reset(&ctl->why);
	if (code == CTL_OK && api_get(ctl, "/v1/certificates", &d->certificates) != CTL_OK)
		str_reset(&ctl->why);
	return code;
}

static void print_findings(struct ctl *ctl, const struct doctor *d)
{
	size_t i;
	json_t *f;
	json_array_foreach(d->findings, i, f)
	{
		const char *severity = get_text(f, "severity");
		bool problem = strcmp(severity, "problem") == 0;
		put_coloured(&ctl->out, ctl->colour, problem ? RED : YELLOW, severity,
			     strlen(severity));
		str_text(&ctl->out, problem ? "  " : "     ");
		put_clean(&ctl->out, get_text(f, "finding"));
		str_text(&ctl->out, "\n         ");
		put_clean(&ctl->out, get_text(f, "advice"));
		str_char(&ctl->out, '\n');
	}
	if (json_array_size(d->findings) == 0)
		str_text(&ctl->out, "nothing to complain about\n");
}

enum ctl_exit cmd_doctor(struct ctl *ctl)
{
	struct doctor d = {.findings = json_pack("[]")}; /* json_array() is base's */
	enum ctl_exit code = gather(ctl, &d);
	if (code == CTL_OK) {
		check_problems(&d);
		check_zeros(&d, json_object_get(d.status, "totals"), "weir", total_zeros,
			    ARRAY_LEN(total_zeros));
		check_zeros(&d, json_object_get(json_object_get(d.status, "logs"), "messages"),
			    "weir", message_zeros, ARRAY_LEN(message_zeros));
		check_listeners(&d);
		check_pools(&d);
		doctor_timeouts(&d);
		check_routes(&d);
		check_mirrors(&d);
		doctor_certificates(&d);
		if (ctl->json) {
			json_t *answer = json_pack("{s:O}", "findings", d.findings);
			api_put_json(ctl, answer);
			json_decref(answer);
		} else {
			print_findings(ctl, &d);
		}
		code = d.n_problems ? CTL_FAILED : CTL_OK;
	}
	json_decref(d.status);
	json_decref(d.pools);
	json_decref(d.config);
	json_decref(d.certificates);
	json_decref(d.latency);
	json_decref(d.mirror);
	json_decref(d.findings);
	return code;
}
