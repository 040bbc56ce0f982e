/* SPDX-License-Identifier: MIT */
/*
 * One API call: from a parsed request to an answer, without sockets.
 *
 *   session.c parses and frames, api.c finds the row of tbl/api.def and checks
 *   that the caller may, the row's handler fills in the answer.
 *
 * Control thread only.
 */
#ifndef WEIR_ADMIN_API_H
#define WEIR_ADMIN_API_H

#include "body.h"
#include "cache.h"

#include "weir/admin/admin.h"
#include "weir/base/json.h"
#include "weir/base/list.h"
#include "weir/filter/passwords.h"
#include "weir/http/message.h"

/* Largest body of a request. */
#define API_BODY_MAX (64 * 1024)

struct fetcher; /* weir/fetch/fetch.h */

/* What all sessions share. */
struct api {
	struct admin_host host;
	struct loop *loop;             /* that passwords are asked in */
	struct route_scratch *scratch; /* owns */
	struct str token;              /* owns; empty: nobody may change things over TCP */
	size_t backlog;                /* bytes of answers not sent yet, over all sessions */
	unsigned n_streams;            /* sessions that listen to GET /v1/stream */
	struct list passwords;         /* entry.c: whose password is being checked, */
	unsigned n_forwards;           /* or sessions about which an auth service is asked */
	uint32_t next_auth;            /* the backend whose turn it is then */
	struct fetcher *fetcher;       /* that it is asked by, */
	struct tls_client *auth_tls;   /* that it is trusted by; counted, NULL: none yet */
	uint64_t auth_tls_mark;        /* what that was to be made of, */
	uint64_t auth_tls_minute;      /* and when */
	char auth_why[160];            /* it did not answer the last time; "": it did */
	uint64_t auth_logged_us;
	struct list relays; /* and other nodes are; owns, by relay.c */
	unsigned n_relays;
	struct cache cache;   /* large answers, for a moment */
	struct message msg;   /* the request being handled */
	struct message probe; /* the request being explained */
};

/* False without memory. */
bool api_init(struct api *api, const struct admin_host *host);
void api_fini(struct api *api);

struct answer {
	unsigned status;
	const char *type;   /* media type, static */
	unsigned allow;     /* with 405: bits of enum method */
	bool needs_token;   /* with 401 */
	struct view realm;  /* with 401: a name and a password are asked for */
	bool retry;         /* in a second */
	struct view fields; /* lines with CRLF, of an auth service */
	bool is_anothers;   /* it is no page of ours */
	bool goes_on;       /* the body has no end: more follows by session_push */
	struct str body;    /* owns */
};

enum param { PARAM_POOL, PARAM_BACKEND, N_PARAMS, PARAM_NODE = 0 };

struct later;

struct call {
	struct api *api;
	struct message *msg;
	struct view params[N_PARAMS]; /* decoded */
	struct view query;            /* as sent */
	struct view body;
	bool trusted;        /* came over the unix socket */
	bool only_probes;    /* no place for anything else */
	struct arena *arena; /* dies with the call */
	struct answer answer;
	struct session *session; /* for call_later */
};

/* Who asks may change things: what is nobody else's business may be shown as well. */
bool call_may_change(const struct call *call);
/* A request's target or a URL: whole, or without its query for those who may not. */
struct view call_target(const struct call *call, struct view target);

/* Probes tell nothing, and anybody may ask them. */
bool api_is_open(const struct call *call);
/* False and a 403 where Host has a name that is not ours. */
bool api_knows_host(struct call *call);
/* Finds the endpoint and lets it answer. */
void api_dispatch(struct call *call);

/* Replaces the answer by {"error": ...}. */
void answer_error(struct answer *answer, unsigned status, const char *fmt, ...) PRINTF_LIKE(3, 4);
#define call_error(call, status, ...) answer_error(&(call)->answer, status, __VA_ARGS__)

/* ---- answers that come later (session.c) ---- */

/* The answer will come through later_answer, exactly once; NULL without memory. */
struct later *call_later(struct call *call);
/* call_may_change, and whether the client is still there. */
bool later_may_change(const struct later *later);
/* Takes the answer's body.  The client may have left meanwhile. */
void later_answer(struct later *later, struct answer *answer);

/* ---- pieces that handlers share ---- */

/* The pool of the path, or NULL and a 404. */
struct pool *call_pool(struct call *call);
/* Index of the backend in `pool`, or -1 and a 404. */
int32_t call_backend(struct call *call, const struct pool *pool, struct view name);

/*
 * The body as an object with no members but `keys` (NULL ends the list), or
 * NULL and a 400.  The caller gives it back with body_free.
 */
struct body *call_body(struct call *call, const char *const *keys);

/*
 * Decoded parameters of the query, in the order of `names` (NULL ends the
 * list); ptr NULL: not given.  False and a 400 when there is anything else.
 */
bool call_query(struct call *call, const char *const *names, struct view *values);

/* Percent-decoded into the arena; false on a malformed escape or a NUL. */
bool decode_percent(struct view v, struct arena *arena, struct view *out);

/* A backend that new exchanges may go to, and how many of them a pool has. */
bool backend_is_usable(const struct pool *pool, uint32_t i);
uint32_t pool_n_usable(const struct pool *pool);

/* "at": an instant as RFC 3339 text. */
void json_member_time(struct json *j, const char *key, uint64_t wall_us);
/* Null instead of an empty text. */
void json_member_optional(struct json *j, const char *key, struct view v);
/*
 * Summaries by window and phase; `total_only`: of PHASE_total, the last one.  Without
 * memory for windows they are empty objects.
 */
void put_windows(struct json *j, const struct windows *windows, bool total_only);
/* [[lower_us, n], ...]: what quantiles of several weirs can be made of. */
void put_buckets(struct json *j, const struct hist_total *total);
/* Those of the total in each window, as "buckets". */
void put_window_buckets(struct json *j, const struct windows *windows);
void put_backend(struct json *j, const struct pool *pool, uint32_t i);
/* The members of GET /v1/status, into an open object; `open`: what a reload said, too,
 * which quotes the file. */
void put_status(struct json *j, const struct api *api, struct arena *arena, bool open);

/*
 * Events since an instant as an array; of one pool and backend, when they are not
 * empty, and those that concern everybody.
 */
void put_events_since(struct json *j, uint64_t wall_us, struct view pool, struct view backend);

/* What GET /v1/history is asked; ptr NULL: not given. */
struct history_query {
	struct view pool, backend, seconds, since, until, step;
};
/* The stored history; past.c. */
void put_past(struct call *call, const struct history_query *query);

/* Whether the Host field is one that status.bind may be read under; host.c. */
bool host_is_ours(const struct conf_views *names, struct view authority);

/* Sessions that may listen to GET /v1/stream at a time. */
#define STREAMS_MAX 16
/* What they get each second: one server-sent event. */
void stream_put(struct api *api, struct str *out);

/* What other nodes are asked meanwhile has no more end; after all sessions. */
void relays_fini(struct api *api);

/* The id of the latest event. */
uint64_t event_last_id(void);
/* When an event of this kind came last; 0: never. */
uint64_t event_last_wall_us(enum event_kind kind);

/* ---- one handler a row ---- */

#define API(method, path, handler, access, sentence) void api_##handler(struct call *call);
#include "weir/tbl/api.def"
#undef API

#endif
