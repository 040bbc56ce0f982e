/* SPDX-License-Identifier: MIT */
/*
 * A daemon without workers' threads: a configuration, its routes and pools, and
 * a host that changes them at once.  Requests go through a session, without a
 * socket, unless a test wants one.
 */
#ifndef WEIR_TESTS_ADMIN_FIXTURE_H
#define WEIR_TESTS_ADMIN_FIXTURE_H

#include "../../../src/admin/session.h"
#include "weir/filter/filter.h"

struct fixture {
	struct loop loop;
	struct pool_worker pw;
	struct pool_worker *workers[1];
	struct pool_registry reg;
	struct conf *conf;
	struct route_table *routes;
	struct filter_set filters;
	struct users *users; /* owns; of status.auth, or NULL */
	struct arena *arena; /* of pools */
	struct pool *pools;
	uint32_t n_pools;
	struct list overrides;
	struct api api;
	struct admin_host host;
	/* what the host says */
	bool draining;
	uint64_t generation;
	enum err reload_result;
	const char *diagnostics;
	const char *name_of_connection; /* shown as its path */
	/* NULL: connections are answered at once; else called when fixture_release is */
	bool defer;
	void (*done)(void *arg, const struct admin_connection *rows, size_t n);
	void *done_arg;
};

/* Two pools: app (a, b weight 2) and spare (s); NULL: this. */
/* One that expires in 90 days and one that does in 5, its OCSP response out of date. */
extern bool fixture_has_certificates, fixture_has_sites;

void fixture_init(struct fixture *f, const char *yaml);
void fixture_fini(struct fixture *f);
/* Gives the rows that a deferred /v1/connections waits for. */
void fixture_release(struct fixture *f);

struct reply {
	unsigned status;
	struct str head, body; /* own */
	bool closes;
};

/* One request of the unix socket, or over TCP; `more` are header lines with CRLF. */
struct reply ask(struct fixture *f, const char *method, const char *path, const char *body);
struct reply ask_tcp(struct fixture *f, const char *method, const char *path, const char *more,
		     const char *body);
struct reply ask_typed(struct fixture *f, const char *method, const char *path, const char *more,
		       const char *body);
/* All that the session has to send goes behind `out`. */
void session_take(struct session *s, struct str *out);
void reply_fini(struct reply *r);

/* Cuts the first answer off `bytes`; false when it is not complete. */
bool reply_take(struct str *bytes, bool head_only, struct reply *out);

/*
 * The value at "a.0.b" in JSON text: texts without quotes, containers as compact
 * JSON, "<none>" when there is none, "<bad>" when the text is not JSON.  Static
 * storage for the last few calls.
 */
const char *json_at(const struct str *text, const char *path);
long json_size(const struct str *text, const char *path);

/* Asks, checks the status, compares one value. */
#define expect(f, method, path, sent, want_status, key, want)                                 \
	do {                                                                                  \
		struct reply r_ = ask(f, method, path, sent);                                 \
		cr_assert_eq(r_.status, want_status, "%s %s: %u %s", method, path, r_.status, \
			     r_.body.ptr);                                                    \
		cr_assert_str_eq(json_at(&r_.body, key), want, "%s %s: %s", method, path,     \
				 r_.body.ptr);                                                \
		reply_fini(&r_);                                                              \
	} while (0)

#endif
