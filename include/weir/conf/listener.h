/* SPDX-License-Identifier: MIT */
/* listeners[] of a configuration; they belong to struct conf, see conf.h. */
#ifndef WEIR_CONF_LISTENER_H
#define WEIR_CONF_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/conf/values.h"

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

#endif
