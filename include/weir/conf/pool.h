/* SPDX-License-Identifier: MIT */
/* pools.* of a configuration; they belong to struct conf, see conf.h. */
#ifndef WEIR_CONF_POOL_H
#define WEIR_CONF_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/conf/values.h"

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

#endif
