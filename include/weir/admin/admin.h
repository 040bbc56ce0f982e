/* SPDX-License-Identifier: MIT */
/*
 * The status socket and its API: HTTP/1.1 and JSON on a unix
 * socket, and read-only (changes need a token) on status.bind.  It runs on the
 * control thread's loop, reads run-time state directly (relaxed atomics, const
 * generations) and changes things only through struct admin_host, which boot/
 * implements.
 */
#ifndef WEIR_ADMIN_ADMIN_H
#define WEIR_ADMIN_ADMIN_H

#include "weir/base/err.h"
#include "weir/base/pack.h"
#include "weir/base/str.h"
#include "weir/conf/conf.h"
#include "weir/loop/loop.h"
#include "weir/net/tls.h"
#include "weir/pool/pool.h"
#include "weir/route/route.h"

/* ---- facts that boot/ gathers for GET /v1/status and /metrics ---- */

struct admin_counter {
	const char *name;     /* snake_case */
	const char *sentence; /* help text */
	uint64_t n;
};

struct admin_worker {
	unsigned id;
	uint32_t connections;
	uint32_t exchanges;
	uint32_t pipes;       /* that exist for splicing, two descriptors each */
	uint64_t loop_lag_us; /* longest turn of the last second */
};

struct admin_listener {
	struct view name, bind;
	uint32_t connections, limit; /* 0: none */
	uint64_t accepted, refused;
};

/* Another node that shares with this one. */
struct admin_node {
	struct view name, version;
	struct view status; /* where its API can be read; empty: nowhere */
	uint64_t age_us;    /* since it was heard of */
	double in_flight, rate;
};

/* The access log, or the daemon's own messages. */
struct admin_log {
	const char *name;
	struct view path;
	struct view trouble;      /* why lines do not go now; empty: they do */
	struct view reopen_error; /* why the last USR1 did not lead to a new file */
	uint64_t dropped, waiting_bytes, reopen_failures;
	bool dropped_lately;
};

enum { ADMIN_LOG_ACCESS, ADMIN_LOG_MESSAGES, N_ADMIN_LOGS };

/* What outlives the process; see `state` in weir.yaml(5). */
struct admin_keeping {
	bool on;
	struct view directory;
	struct view trouble;        /* why the history cannot be written now; empty: it can */
	struct view harm;           /* what has befallen it; empty: nothing */
	int64_t jump_s;             /* the clock has jumped by so much lately; 0: it has not */
	bool files_fail;            /* what was learned and changed cannot be written */
	uint64_t rows, lost, bytes; /* written, lost since the start; of the file */
};

struct admin_status {
	uint64_t generation;
	uint64_t started_wall_us, started_us; /* wall and monotonic clock */
	struct {
		bool ok;
		uint64_t at_wall_us; /* 0: none since the start */
		struct view error;   /* diagnostics of a failed one, else empty */
	} last_reload;
	struct view members_error;  /* why those that sources name are not in force; else empty */
	struct view tls_error;      /* why changed certificates are not used; else empty */
	struct view users_error;    /* the same of files of users */
	struct view handover_error; /* why the last one failed, until a reload; else empty */
	bool draining;
	struct {
		uint64_t
		    pid; /* of the process before this one, while it drains; 0: there is none */
		uint64_t connections, exchanges; /* that it still has */
	} before;
	struct view sandbox; /* what confines the workers; empty: nothing */
	struct admin_worker *workers;
	size_t n_workers;
	struct admin_listener *listeners;
	size_t n_listeners;
	const struct admin_counter *totals; /* worker counters summed over all workers */
	size_t n_totals;
	const struct admin_counter *memory; /* bytes by kind, tbl/memory.def and the heap */
	size_t n_memory;
	struct {
		bool on;
		struct view endpoint, why;            /* why: the last request failed; else empty */
		const struct admin_counter *counters; /* tbl/trace_counters.def */
		size_t n_counters;
		uint64_t waiting_bytes; /* in the rings of all workers */
	} tracing;
	struct {
		bool on, connected;
		struct view node, address; /* ours; that of the server */
		struct view why;           /* there is no connection because; else empty */
		uint64_t published, failed;
		size_t n_limits;   /* keys of shared rate limits in use */
		bool limits_alone; /* they go on with 1/n_parts */
		unsigned n_parts;
		uint64_t pins_told, pins_heard, pins_lost, pins_unread;
		struct admin_node *nodes; /* the others */
		size_t n_nodes;
	} shared;
	struct admin_log logs[N_ADMIN_LOGS];
	struct admin_keeping keeping;
	const struct admin_counter *outcomes; /* tbl/outcomes.def */
	size_t n_outcomes;
	const struct admin_counter *rejects; /* tbl/rejects.def */
	size_t n_rejects;
};

/* One row of GET /v1/connections. */
struct admin_connection {
	uint64_t id;
	unsigned worker;
	struct view listener, client, state, pool, backend, path;
	uint64_t age_us;
	uint64_t requests, bytes_in, bytes_out;
	uint32_t streams; /* HTTP/2: requests under way */
};

/* Latency of what is not a backend; stats/meter.h. */
struct admin_meter {
	struct view name;
	const struct meter *meter;
};

struct admin_meters {
	struct admin_meter *routes, *listeners;
	size_t n_routes, n_listeners;
};

/* A question about the history. */
struct admin_past {
	uint64_t since_s, until_s, step_s; /* seconds since 1970; step: whole minutes */
	struct view pool, backend;         /* may be empty; copied */
	/* once, on the control thread: an object with "pools" or "rows", and "markers"; `why`
	 * is NULL or says that stored rows could not be read */
	void (*done)(void *arg, struct view json, const char *why);
	void *arg;
};

struct filter_set; /* weir/filter/filter.h */
struct users;      /* weir/filter/users.h */

struct discover_source;
struct acme_site;

/* What boot/ offers.  All called on the control thread. */
struct admin_host {
	void *ctx;
	/* parts of the current generation; valid until the next turn of the loop */
	const struct conf *(*conf)(void *ctx);
	const struct route_table *(*routes)(void *ctx);
	struct pool *(*pools)(void *ctx, uint32_t *n);
	/* memory comes from `arena` */
	void (*status)(void *ctx, struct arena *arena, struct admin_status *out);
	/* of the current generation's routes and listeners; memory comes from `arena` */
	void (*meters)(void *ctx, struct arena *arena, struct admin_meters *out);
	/* ERR_OK, or a sentence in `why` */
	enum err (*reload)(void *ctx, struct str *diagnostics);
	enum err (*set_state)(void *ctx, struct backend *backend, enum backend_state state,
			      struct str *why);
	enum err (*set_weight)(void *ctx, struct view pool, struct view backend, uint32_t weight,
			       struct str *why);
	enum err (*add)(void *ctx, struct view pool, const struct conf_backend *backend,
			struct str *why);
	/* sets draining, takes it out once nothing is in flight */
	enum err (*remove)(void *ctx, struct view pool, struct view backend, struct str *why);
	/* what was changed at run time: struct pool_override */
	const struct list *(*overrides)(void *ctx);
	/* takes it back; an empty view: of all */
	enum err (*reset)(void *ctx, struct view pool, struct view backend, struct str *why);
	const struct filter_set *(*filters)(void *ctx);
	/* of status.auth.basic.file; NULL without */
	const struct users *(*users)(void *ctx);
	void (*drain)(void *ctx);
	/* rows and texts are of the arena; struct discover_source is weir/discover/discover.h */
	const struct discover_source *(*sources)(void *ctx, struct arena *arena, size_t *n);
	const struct tls_used *(*certificates)(void *ctx, size_t *n);
	/* as acme_status (weir/acme/acme.h) */
	const struct acme_site *(*sites)(void *ctx, struct arena *arena, size_t *n);
	/* asks every worker; `done` comes later, on the control thread, with rows that
	 * live until it returns */
	void (*connections)(void *ctx,
			    void (*done)(void *arg, const struct admin_connection *rows, size_t n),
			    void *arg);
	/* False with a sentence when there is no answer to come. */
	bool (*past)(void *ctx, const struct admin_past *past, struct str *why);
};

/* ---- events: the last 1000 changes of state, each with a cause ---- */

#define EVENTS_MAX 1000

enum event_kind {
	EVENT_START,
	EVENT_RELOAD,
	EVENT_RELOAD_FAILED,
	EVENT_STATE,
	EVENT_WEIGHT,
	EVENT_ADD,
	EVENT_REMOVE,
	EVENT_DRAIN,
	EVENT_MARK,
	EVENT_VERDICT,
	EVENT_SOURCE,
	EVENT_CERTIFICATE
};

/* pool and backend may be empty. Control thread. */
void event_add(enum event_kind kind, struct view pool, struct view backend, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* Calls fn for each one later than `id` that is still known; the latest id comes back. */
struct event_row {
	uint64_t at_wall_us;
	const char *kind;
	struct view pool, backend, message;
};
uint64_t events_since(uint64_t id, void (*fn)(void *arg, const struct event_row *row), void *arg);

/* For the process that takes over; read before its first event. */
void events_pack(struct str *out);
void events_unpack(struct unpack *in);

/* ---- the server ---- */

struct admin;

/*
 * Listens on conf->status.socket (and .bind when set).  NULL with a sentence in
 * `why` when it cannot.  `host` is copied.
 */
struct admin *admin_new(struct loop *loop, const struct conf *conf, const struct admin_host *host,
			struct str *why);
/*
 * Follows a new configuration: opens what is new before closing what is gone;
 * on failure nothing changes.  admin_prepare checks and opens, admin_commit
 * makes it so, admin_cancel forgets it.
 */
enum err admin_prepare(struct admin *admin, const struct conf *conf, struct str *why);
void admin_commit(struct admin *admin);
void admin_cancel(struct admin *admin);
/* The descriptors of status.socket and status.bind, -1 where there is none. */
void admin_sockets(const struct admin *admin, int fds[2]);
/*
 * Answers nobody until told otherwise: another process has been told what there is to
 * know, and numbers must not fall when it answers.
 */
void admin_pause(struct admin *admin, bool paused);
/*
 * Another process has the sockets now: accepts no more, and leaves the file.  Answers under way
 * are the last of their connections; who is in the midst of asking is told to ask again.
 */
void admin_leave(struct admin *admin);
/* Closes connections and sockets and removes the socket file. */
void admin_free(struct admin *admin);

#endif
