/* SPDX-License-Identifier: MIT */
/*
 * A loaded configuration: typed, complete (every default filled in), immutable
 * once returned.  All of it lives in one arena and is freed with conf_free.
 * Keys, defaults, ranges and help come from tbl/directives.def only.  What it holds is in
 * process.h, listener.h, route.h and pool.h, which come along with this header.
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
#include "weir/conf/listener.h"
#include "weir/conf/pool.h"
#include "weir/conf/process.h"
#include "weir/conf/route.h"
#include "weir/conf/template.h"

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

/* What a service manager has made for this service (STATE_DIRECTORY); empty: nothing. */
struct view conf_managers_directory(void);
/* Where state is kept: where it is written, else there; empty: nowhere. */
struct view conf_state_directory(const struct conf *conf);

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
