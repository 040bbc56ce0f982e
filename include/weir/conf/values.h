/* SPDX-License-Identifier: MIT */
/* What parts of a configuration have in common: lists, endpoints, certificates, pages, who may
 * come in.  All of it belongs to struct conf, see conf.h. */
#ifndef WEIR_CONF_VALUES_H
#define WEIR_CONF_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/base/addr.h"
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

/* Where spans go: a URL in its parts. */
struct conf_endpoint {
	struct view text;
	bool tls;
	struct view host; /* without brackets */
	uint16_t port;
	struct view path;
};

struct conf_pool_tls {
	bool on;
	bool verify;
	struct view ca, sni, cert, key;
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

#endif
