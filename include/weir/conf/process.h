/* SPDX-License-Identifier: MIT */
/* The parts of a configuration that are there once: logs, the API, tracing, certificates from a
 * CA, what several nodes share.  They belong to struct conf, see conf.h. */
#ifndef WEIR_CONF_PROCESS_H
#define WEIR_CONF_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/conf/values.h"

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

#endif
