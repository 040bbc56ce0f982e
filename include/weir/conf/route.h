/* SPDX-License-Identifier: MIT */
/* routes[] of a configuration; they belong to struct conf, see conf.h. */
#ifndef WEIR_CONF_ROUTE_H
#define WEIR_CONF_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/conf/values.h"

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

/* Header edits of a route, in the order remove, set, add. */
struct conf_header_edits {
	struct conf_pairs set;
	struct conf_pairs add;
	struct conf_views remove;
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

#endif
