/* SPDX-License-Identifier: MIT */
/*
 * A loaded configuration: typed, complete (every default filled in), immutable
 * once returned.  All of it lives in one arena and is freed with conf_free.
 * Keys, defaults, ranges and help come from tbl/directives.def only.
 *
 *   struct conf_diags diags;
 *   conf_diags_init(&diags);
 *   struct conf *conf = conf_load("/etc/weir/weir.yaml", &diags);
 *   conf_diags_format(&diags, &text, colour);   // errors and warnings, gcc style
 *   if (!conf) ...
 *
 * Durations are microseconds (`_us`), sizes bytes; 0 means none or no limit
 * where the directive says so.  Thread: the control thread loads, everybody
 * reads.
 */
#ifndef WEIR_CONF_CONF_H
#define WEIR_CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/base/addr.h"
#include "weir/base/arena.h"
#include "weir/base/log.h"
#include "weir/base/str.h"
#include "weir/base/view.h"
#include "weir/conf/template.h"

struct conf_pair {
	struct view name;
	struct view value;
	const struct template *template; /* of the value, where it may have variables; or NULL */
	bool is_regex;                   /* the value is one, where it is matched */
};

struct conf_views {
	struct view *rows;
	size_t n;
};

struct conf_pairs {
	struct conf_pair *rows;
	size_t n;
};

struct conf_cidrs {
	struct cidr *rows;
	size_t n;
};

/* Names and passwords of a file (RFC 7617). */
struct conf_auth_basic {
	bool on;
	bool pass_on; /* the backend sees Authorization, too */
	struct view file, realm;
};

enum conf_fail { CONF_FAIL_CLOSED, CONF_FAIL_OPEN };

/* An auth service is asked about each request. */
struct conf_auth_forward {
	bool on;
	uint32_t pool; /* index into conf.pools */
	struct view path;
	struct conf_views copy; /* names of fields of its answer */
	uint64_t timeout_us;
	enum conf_fail fail;
};

/* What of the answers to a request and to its copy is compared. */
enum conf_compare {
	CONF_COMPARE_STATUS = 1 << 0,
	CONF_COMPARE_BODY = 1 << 1,
	CONF_COMPARE_LATENCY = 1 << 2,
};

/* Copies of requests go to another pool. */
struct conf_mirror {
	bool on;
	uint32_t pool; /* index into conf.pools */
	double share;
	struct conf_views methods;
	unsigned compare;   /* bits of enum conf_compare */
	uint32_t in_flight; /* at most, over all workers */
	uint64_t body_bytes, answer_bytes;
	uint64_t timeout_us;
};

enum conf_log_format { CONF_LOG_JSON, CONF_LOG_COMBINED, CONF_LOG_HAPROXY };

struct conf_status {
	struct view socket; /* the default is filled in by conf */
	unsigned mode;
	struct addr bind; /* len 0: off */
	struct view bind_text;
	struct view token_file;
	struct conf_views hosts; /* names that the Host field of a reader may have */
	struct {
		struct conf_auth_basic basic;     /* without pass_on */
		struct conf_auth_forward forward; /* without copy, and fails closed */
	} auth;                                   /* of readers of `bind` */
};

/* What a line of the access log may say. */
enum conf_log_fact {
#define LOG_FACT(symbol, name, sentence) CONF_LOG_##symbol,
#include "weir/tbl/log_facts.def"
#undef LOG_FACT
	N_CONF_LOG_FACTS,
};

struct conf_log_field {
	struct view name;                /* as written: the key in the line */
	const struct variable *variable; /* NULL: the fact */
	enum conf_log_fact fact;
};

struct conf_access_log {
	struct view path;   /* "off", "stdout", "syslog" or a file */
	struct view socket; /* of syslog */
	struct {
		struct conf_log_field *rows;
		size_t n; /* 0: the usual ones */
	} fields;
	struct variable_set kept; /* of the head, for the fields */
	enum conf_log_format format;
	double sample; /* 0..1 */
	bool errors_only;
};

/* Whose traceparent is believed. */
enum conf_trace_continue { CONF_CONTINUE_ALL, CONF_CONTINUE_TRUSTED, CONF_CONTINUE_NONE };

/* Where spans go: a URL in its parts. */
struct conf_endpoint {
	struct view text;
	bool tls;
	struct view host; /* without brackets */
	uint16_t port;
	struct view path;
};

struct conf_tracing {
	bool on;
	struct conf_endpoint endpoint;
	struct view headers_file, ca;
	struct view service;
	double sample; /* 0..1 */
	enum conf_trace_continue continues;
	uint64_t interval_us, timeout_us;
	uint32_t batch; /* spans of one request */
};

enum conf_tls_version { CONF_TLS_12, CONF_TLS_13 };
enum conf_tls_records { CONF_RECORDS_OWN, CONF_RECORDS_OPENSSL };
enum conf_client_auth { CONF_CLIENT_NONE, CONF_CLIENT_OPTIONAL, CONF_CLIENT_REQUIRED };
enum conf_alpn { CONF_ALPN_HTTP11 = 1 << 0, CONF_ALPN_H2 = 1 << 1 };

/* A pair of files, or a directory of them, or names for `acme`; empty: not given. */
struct conf_certificate {
	struct view cert, key, ocsp;
	struct view directory;
	struct conf_views acme;
};

struct conf_certificates {
	struct conf_certificate *rows;
	size_t n;
};

struct conf_listener_tls {
	bool on;
	struct conf_certificates certificates;
	enum conf_tls_version min_version;
	enum conf_client_auth client_auth;
	enum conf_tls_records records;
	struct view client_ca, client_crl;
	unsigned alpn; /* enum conf_alpn */
	struct view ticket_key_file;
};

struct conf_pool_tls {
	bool on;
	bool verify;
	struct view ca, sni, cert, key;
};

enum conf_acme_key { CONF_ACME_ECDSA, CONF_ACME_RSA };
enum conf_acme_challenge { CONF_ACME_HTTP, CONF_ACME_TLS, CONF_ACME_CHALLENGES };

/* An authority that gives certificates by itself (RFC 8555). */
struct conf_acme {
	bool on;
	bool agree;
	struct conf_endpoint directory;
	struct view email; /* ptr NULL: none */
	struct view state; /* a directory; ptr NULL: below that of `state` */
	struct view ca;
	enum conf_acme_key key_type;
	unsigned challenges; /* bits: 1 << enum conf_acme_challenge */
	struct {
		bool on;
		struct view kid, key_file;
	} eab;
	uint64_t retry_us;
};

/* Redis, and who we are there. */
struct conf_shared {
	bool on;
	struct conf_endpoint redis; /* text, host and port */
	struct view username, password_file, prefix;
	struct conf_pool_tls tls;
	struct view node; /* or "auto" */
	uint32_t nodes;   /* that are expected, while the server has not said how many there are */
};

/* A file that is sent as it was when the configuration was loaded. */
struct conf_page {
	struct view file; /* ptr NULL: not given */
	struct view bytes;
	const struct template *template; /* NULL: without variables */
};

/* An answer of weir itself in other words. */
struct conf_error_page {
	struct view status; /* "404", or "5xx" for all of a class */
	struct conf_page page;
	struct view content_type;
};

struct conf_error_pages {
	struct conf_error_page *rows;
	size_t n;
};

enum conf_encoded_slash { CONF_SLASH_KEEP, CONF_SLASH_REFUSE };
enum conf_underscores { CONF_UNDERSCORES_DROP, CONF_UNDERSCORES_PASS, CONF_UNDERSCORES_REFUSE };

struct conf_listener {
	struct view name;
	struct addr *binds; /* [n_binds] */
	struct view *bind_texts;
	size_t n_binds;
	struct conf_listener_tls tls;
	bool server_timing, proxy_status; /* fields added to responses */
	struct conf_cidrs trusted_proxies;
	struct {
		bool on;
		struct conf_cidrs from;
	} proxy_protocol;
	struct view refusal_header; /* ptr NULL: none */
	struct conf_error_pages errors;
	enum conf_encoded_slash encoded_slash;
	enum conf_underscores underscores;
	struct {
		uint64_t handshake_us, header_us, body_us, body_idle_us, write_idle_us,
		    keepalive_us, half_closed_us, max_age_us;
	} timeouts;
	struct {
		uint32_t connections;            /* 0: none */
		uint32_t connections_per_client; /* 0: none */
		uint32_t header_bytes, header_count, line_bytes;
		uint64_t body_bytes; /* 0: none */
		uint64_t body_rate;  /* bytes a second, 0: none */
		uint32_t hops;       /* 0: any */
		uint32_t h2_streams;
		uint64_t h2_head_bytes;   /* of a connection */
		uint64_t h2_window_bytes; /* of a connection */
#define FLOOD(name, per_second, sentence) uint32_t name;
		struct {
#include "weir/tbl/h2_floods.def"
		} h2; /* a second */
#undef FLOOD
		uint32_t handshakes; /* in progress at once on each worker */
	} limits;
};

/* Header edits of a route, in the order remove, set, add. */
struct conf_header_edits {
	struct conf_pairs set;
	struct conf_pairs add;
	struct conf_views remove;
};

/* What tells requests apart for hashing strategies and rate limits. */
enum conf_hash_on {
	CONF_HASH_CLIENT_IP,
	CONF_HASH_PATH,
	CONF_HASH_URI,
	CONF_HASH_HOST,
	CONF_HASH_HEADER,
	CONF_HASH_COOKIE,
	CONF_HASH_QUERY,
};

struct conf_key_source {
	enum conf_hash_on on;
	struct view name; /* of the header, cookie or parameter */
};

#define CONF_LIMIT_KEY_MAX 4

/* Sources joined with `+`. */
struct conf_limit_key {
	struct view text;
	struct view label; /* the same in letters that need no escape anywhere */
	struct conf_key_source *rows;
	size_t n;
};

struct conf_rate {
	uint64_t n, per_us;
};

struct conf_rate_limit {
	struct conf_limit_key key;
	struct conf_rate rate;
	uint32_t burst; /* requests that may come at once */
	uint16_t status;
	bool dry_run, shared;
};

enum conf_action { CONF_ACTION_POOL, CONF_ACTION_SPLIT, CONF_ACTION_REDIRECT, CONF_ACTION_RESPOND };

struct conf_split {
	uint32_t pool; /* index into conf.pools */
	uint32_t share;
};

/* Who is served first when a pool's queue is not empty. */
enum conf_priority {
	CONF_PRIORITY_HIGH,
	CONF_PRIORITY_NORMAL,
	CONF_PRIORITY_LOW,
	N_CONF_PRIORITIES,
};

/* What has to hold; what is not given holds. */
struct conf_match {
	struct view scheme;         /* ptr NULL: not given, as below */
	struct conf_views listener; /* names */
	struct conf_views host;     /* "a.example", "*.a.example" */
	struct view host_regex;     /* found in the host, in lower case */
	struct view path;           /* prefix on segment borders */
	struct view path_exact;
	struct view path_regex;
	struct conf_views method;
	struct conf_pairs header; /* value "*": present */
	struct conf_pairs cookie;
	struct conf_pairs query;
	struct conf_cidrs client;
};

enum conf_route_log { CONF_ROUTE_LOG_ON, CONF_ROUTE_LOG_OFF };

struct conf_route {
	struct view name; /* default: "route-N", N from 1 */
	uint32_t index;
	struct conf_match match;
	struct conf_match match_not; /* of which not all may hold */
	bool has_not;
	enum conf_priority priority;
	enum conf_action action;
	uint32_t pool; /* index into conf.pools, with CONF_ACTION_POOL */
	struct conf_split *split;
	size_t n_split;
	bool is_split_on;
	struct conf_key_source split_on; /* what of a client keeps it on its side */
	struct {
		struct conf_text to;
		uint16_t status;
	} redirect;
	struct {
		uint16_t status;
		struct conf_text body;
		struct conf_page page; /* in place of `body` */
		struct view content_type;
	} respond;
	struct conf_error_pages errors;
	struct {
		struct view path_regex; /* ptr NULL: not given */
		struct conf_text path;  /* replacement with $1.. */
		struct conf_text host;
	} rewrite;
	uint64_t request_buffer; /* bytes; 0: bodies are passed on as they come */
	struct conf_header_edits request_headers;
	struct conf_header_edits response_headers;
	unsigned max_group;       /* of {1} .. {9} in its values, 0: none */
	struct variable_set kept; /* of the head: needed when that is gone */
	struct {
		uint64_t response_us, idle_us, total_us, tunnel_us;
		/* else the pool's, none for total, and idle for tunnel */
		bool response_set, idle_set, total_set, tunnel_set;
	} timeouts;
	struct {
		struct conf_rate_limit *rows;
		size_t n;
	} rate_limits;
	struct {
		bool on;
		unsigned algorithms; /* bits: zstd, br, gzip */
		struct conf_views types;
		uint64_t min_bytes;
		bool with_cookies;
	} compress;
	struct {
		struct conf_auth_basic basic;
		struct conf_auth_forward forward;
	} auth;
	struct conf_mirror mirror;
	uint32_t filters; /* bits of tbl/filters.def that it switches on: filter_set_build */
	struct {
		uint64_t body_bytes; /* 0: none */
		bool body_bytes_set; /* else the listener's */
	} limits;
	enum conf_route_log log;
};

/* What a source says of one of its members; always CONF_MEMBER_HERE in a file. */
enum conf_member { CONF_MEMBER_HERE, CONF_MEMBER_DRAINING, CONF_MEMBER_GONE };

struct conf_backend {
	struct view name; /* default: the address */
	struct view address_text;
	struct addr address;   /* len 0: a name is to be looked up, address_text or srv */
	struct view srv;       /* ptr NULL: not given */
	uint32_t weight;       /* 0..65535 */
	uint32_t max_requests; /* 0: the pool's limits.requests */
	uint8_t priority;
	uint8_t member; /* enum conf_member */
};

/* Rows of sources.def. */
enum conf_source_kind {
#define SOURCE(symbol, keyword, sentence) CONF_SOURCE_##symbol,
#include "weir/tbl/sources.def"
#undef SOURCE
	N_CONF_SOURCES,
};

/* Where members of a pool come from, beside the addresses that are written. */
struct conf_source {
	enum conf_source_kind kind;
	struct view text;                 /* what it is asked for: "app.internal:8000" */
	const struct conf_backend *entry; /* dns: what is written beside the name */
};

enum conf_retry_on {
	CONF_RETRY_CONNECT = 1 << 0,
	CONF_RETRY_RESET = 1 << 1,
	CONF_RETRY_REFUSED_STREAM = 1 << 2,
	CONF_RETRY_TIMEOUT = 1 << 3,
	CONF_RETRY_500 = 1 << 4,
	CONF_RETRY_502 = 1 << 5,
	CONF_RETRY_503 = 1 << 6,
	CONF_RETRY_504 = 1 << 7,
};

/* What becomes of a pinned client whose backend takes no traffic. */
enum conf_sticky_mode { CONF_STICKY_PREFER, CONF_STICKY_STRICT, CONF_STICKY_WAIT };

enum conf_protocol { CONF_PROTOCOL_HTTP1, CONF_PROTOCOL_H2, CONF_PROTOCOL_AUTO };

enum conf_same_site { CONF_SAME_SITE_LAX, CONF_SAME_SITE_STRICT, CONF_SAME_SITE_NONE };

struct conf_status_range {
	uint16_t first, last;
};

struct conf_statuses {
	struct conf_status_range *rows;
	size_t n;
};

struct conf_health {
	bool on;
	uint8_t type; /* index of a row of checks.def */
	struct view path;
	struct view host; /* empty: the backend's address */
	struct conf_pairs headers;
	struct conf_statuses expect;
	struct view body; /* regular expression; ptr NULL: any */
	struct view service;
	uint16_t port; /* 0: the backend's */
	uint64_t interval_us, timeout_us;
	uint64_t fast_interval_us, slow_interval_us; /* 0: out of interval_us */
	uint32_t rise, fall;
};

struct conf_outlier {
	bool on, odd;
	uint32_t consecutive_errors; /* 0: off */
	uint32_t latency_factor;     /* 0: off */
	uint64_t interval_us, eject_us, max_eject_us;
	double max_ejected; /* 0.3 for 30% */
};

/* The value is the version. */
enum conf_send_proxy { CONF_PROXY_OFF, CONF_PROXY_V1, CONF_PROXY_V2 };

struct conf_pool {
	struct view name;
	uint32_t index;
	struct view balance; /* keyword of strategies.def, synonyms resolved */
	/* as written: addresses, and names that are to be looked up */
	struct conf_backend *listed;
	size_t n_listed;
	/* the addresses of these; in a generation also the members that sources name */
	struct conf_backend *backends;
	size_t n_backends;
	struct conf_source *sources;
	size_t n_sources;
	struct {
		bool on;
		struct view file; /* ptr NULL: none */
		struct {
			bool on;
			struct conf_views endpoints;
			struct view prefix, ca, cert, key, username, password_file;
		} etcd;
		struct {
			bool on;
			struct conf_endpoint address;
			struct view service, tag, datacenter, token_file, ca, cert, key;
		} consul;
		struct {
			bool on;
			struct conf_endpoint
			    api; /* text.ptr NULL: that of the cluster weir is in */
			struct view namespace, service, port, token_file, ca;
		} kubernetes;
	} discover;
	enum conf_protocol protocol;
	struct {
		bool on;
		struct view cookie; /* of weir; ptr NULL with `learn` */
		struct view learn;  /* a cookie of the app; ptr NULL: not given */
		enum conf_sticky_mode mode;
		uint64_t wait_us, ttl_us;
		enum conf_same_site same_site;
		bool shared;      /* learned pins go to other nodes */
		uint32_t entries; /* of the table of learned pins */
		struct view key_file;
		struct conf_views keys; /* its lines; the first signs */
	} sticky;
	struct {
		uint32_t requests; /* per backend, 0: none */
		bool adaptive;
		uint64_t h2_window_bytes; /* of a connection */
		uint32_t connections;     /* per backend, 0: none */
		uint32_t connecting;      /* of them not usable yet, 0: any number */
		uint32_t interim_responses;
		uint32_t response_header_bytes, response_header_count;
	} limits;
	struct {
		bool written;
		enum conf_hash_on on;
		struct view name;     /* of the header, cookie or parameter */
		struct view fallback; /* keyword of strategies.def */
		double bound;         /* 1.25: a quarter above the mean; 0: none */
	} hash;
	struct {
		bool written;
		uint64_t tau_us;
	} peak_ewma;
	struct {
		bool written;
		struct view path; /* ptr NULL: backends are not asked */
		uint64_t interval_us, timeout_us;
		double hot; /* 0.5 for 50% */
	} prequal;
	uint64_t slow_start_us; /* 0: none */
	struct conf_pool_tls tls;
	enum conf_send_proxy send_proxy;
	double overprovision; /* 1.4 for 140%; 0: a tier stands by until those before it are gone */
	double panic;         /* 0.5 for 50%; 0: never */
	struct conf_health health;
	struct conf_outlier outlier;
	bool balance_shared;
	uint32_t subset;         /* backends that this node uses; 0: all */
	struct view subset_node; /* shared.node, with subset */
	struct {
		bool on;
		uint32_t length;
		uint64_t timeout_us;
		uint64_t target_us; /* a quarter of the timeout unless written; 0: none */
		bool target_set;
	} queue;
	struct {
		bool on;
		uint32_t attempts; /* besides the first */
		unsigned on_what;  /* enum conf_retry_on */
		double budget;     /* 0.2 for 20% */
		uint32_t buffer;   /* bytes of a body kept for replay */
		uint64_t backoff_us, attempt_timeout_us;
		struct {
			bool on;
			uint64_t after_us;  /* 0: the quantile */
			double after_share; /* of answers, 0.95 for p95; 0: after_us */
			double budget;
		} hedge;
	} retry;
	struct {
		uint64_t connect_us, response_us, idle_us;
		struct view deadline_header; /* ptr NULL: none */
	} timeouts;
	struct {
		uint64_t p95_us; /* 0: none */
	} slo;
	struct {
		uint64_t idle_us;
		uint32_t max_idle;
		uint32_t requests; /* per upstream connection, 0: no limit */
		uint64_t ping_us;  /* HTTP/2 */
	} keepalive;
};

struct conf {
	struct arena *arena; /* owns everything, this struct too */
	struct view path;    /* of the file, "command line" without one */
	unsigned workers;    /* never 0: auto is resolved */
	struct view user;
	uint64_t shutdown_timeout_us;
	uint32_t splice_pipes;
	enum conf_sandbox { CONF_SANDBOX_OFF, CONF_SANDBOX_ON } sandbox;
	uint64_t h2_window_bytes; /* of each worker */
	uint64_t h2_head_bytes;
	uint64_t request_buffer_bytes;
	uint32_t rate_limit_keys;
	uint64_t compress_bytes;
	struct conf_status status;
	struct {
		uint64_t interval_us;
	} insight;
	struct {
		bool on;
		struct view directory;
		uint64_t history_us, bytes;
	} state;
	struct {
		enum log_level level;
		struct conf_access_log access;
	} log;
	struct conf_tracing tracing;
	struct conf_acme acme;
	struct conf_dns {
		struct conf_views servers; /* none: those of resolv.conf */
		uint64_t timeout_us, min_ttl_us, max_ttl_us, gone_us;
		uint32_t tries;
	} dns;
	struct conf_shared shared;
	struct conf_listener *listeners;
	size_t n_listeners;
	struct conf_route *routes; /* at least one: without any, a catch-all to the only pool */
	size_t n_routes;
	struct conf_pool *pools;
	size_t n_pools;
	struct variables variables;
	struct conf_views include; /* patterns of files, which have been read */
	struct conf_views secrets; /* texts that are not shown: see src/conf/env.h */
};

/* ---- diagnostics ---- */

enum conf_severity { CONF_WARNING, CONF_ERROR };

struct conf_diag {
	enum conf_severity severity;
	unsigned line, column; /* from 1; 0: not tied to a place */
	unsigned width;        /* bytes under the caret */
	char *message;
	char *hint;             /* "did you mean 'weight'?" or NULL */
	char *file;             /* an included one, or NULL */
	unsigned file_index;    /* 0: the main file */
	char *source;           /* the source line, cut to a window when long, or NULL */
	unsigned source_column; /* of the caret in `source`, from 1 */
};

struct conf_diags {
	struct arena *arena; /* owns */
	char *file;
	struct conf_diag *rows;
	size_t n, cap;
	size_t n_errors; /* may exceed the errors kept */
};

void conf_diags_init(struct conf_diags *diags);
void conf_diags_fini(struct conf_diags *diags);
/*
 *   /etc/weir/weir.yaml:14:7: error: unknown key 'wieght' in pools.app.backends[1]
 *      14 |       wieght: 3
 *         |       ^~~~~~ did you mean 'weight'?
 */
void conf_diags_format(const struct conf_diags *diags, struct str *out, bool colour);

/* ---- checks ---- */

/*
 * What only others can check: files of TLS and of users.  Called while the configuration is loaded,
 * so that what is wrong is reported at its place.  `say` reports about a key of the
 * element at hand.
 */
struct conf_sink {
	void (*say)(struct conf_sink *sink, enum conf_severity severity, const char *key,
		    const char *text);
};
struct conf_checks {
	void (*certificate)(const struct conf_certificate *c, struct conf_sink *sink);
	void (*listener_tls)(const struct conf_listener_tls *tls, struct conf_sink *sink);
	void (*pool_tls)(const struct conf_pool_tls *tls, struct conf_sink *sink);
	void (*users)(const struct conf_auth_basic *basic, struct conf_sink *sink);
};
/* At the start, before anything is loaded; without it these files are not opened. */
void conf_set_checks(const struct conf_checks *checks);

/* ---- loading ---- */

/* NULL when there is any error; `diags` says what, warnings included. */
struct conf *conf_load(const char *path, struct conf_diags *diags);
/* The same at the start of a process, when a pipe may be waited for. */
struct conf *conf_load_first(const char *path, struct conf_diags *diags);
struct conf *conf_load_text(struct view text, const char *name, struct conf_diags *diags);

/* The same names, whatever their order and case.  Any thread. */
bool conf_names_equal(const struct conf_views *a, const struct conf_views *b);

/* Backends by themselves, as sources have them: a list as in pools.*.backends, or one map
 * of it, in YAML or JSON.  Addresses only. */
struct conf_members {
	struct arena *arena; /* owns the rows */
	struct conf_backend *rows;
	size_t n;
};
/* False when there is any error. */
bool conf_members_parse(struct view text, const char *name, struct conf_members *out,
			struct conf_diags *diags);
void conf_members_free(struct conf_members *members);

/* Where connections to `to` come out again in this weir; NULL: elsewhere. */
const struct conf_listener *conf_listener_at(const struct conf *conf, const struct addr *to,
					     struct addr_interfaces *own);
/* Whether loading has said so of the backend that the file calls `name`. */
bool conf_warned_of_circle(const struct conf *conf, const struct conf_pool *pool, struct view name,
			   struct addr_interfaces *own);
#define CONF_CIRCLE                                                   \
	"' is the listener '" VIEW_FMT                                \
	"' of this weir: unless its routes lead elsewhere, requests " \
	"go round until limits.hops ends them (508)"

/* The command line's own mode: no file. */
struct conf_args {
	struct conf_views listen;
	struct conf_views backend;
	struct view balance;       /* empty: default */
	struct view status_bind;   /* empty: off */
	struct view status_socket; /* empty: default */
};
struct conf *conf_from_args(const struct conf_args *args, struct conf_diags *diags);

void conf_free(struct conf *conf);

/* ---- out of the same rows ---- */

/*
 * Whether `next` differs from `now` in a directive that a reload cannot change;
 * their names go to `out`, as in "workers, status.socket".
 */
bool conf_needs_restart(const struct conf *now, const struct conf *next, struct str *out);

/* The effective configuration as YAML that loads again to the same. */
void conf_dump_yaml(const struct conf *conf, struct str *out);
void conf_dump_json(const struct conf *conf, struct str *out);
/* The same for whoever may look: what may be a secret is masked. */
void conf_show_yaml(const struct conf *conf, struct str *out);
void conf_show_json(const struct conf *conf, struct str *out);
/* *** in place of its secrets, in a sentence about it. */
void conf_hide(const struct conf *conf, struct str *text);
/* A URL or a request's target without its query, and without who logs in. */
struct view mask_query(struct arena *arena, struct view url);
/* JSON Schema, draft-07. */
void conf_schema(struct str *out);
/* weir.yaml(5) in mdoc. */
void conf_man(struct str *out);

#endif
