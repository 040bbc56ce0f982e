/* SPDX-License-Identifier: MIT */
/*
 * Where members of pools come from, when they are not written: names in the DNS, a file,
 * registries.  A source yields a set of members, each with a cause and an age; what it
 * yields becomes part of the pools of the next generation, as if it were written there.
 *
 *   discover_new(&loop, &fetcher, &host)
 *   discover_prepare(d, conf)        sources of conf exist; those known keep their members
 *   ... discover_pool(d, &conf->pools[i], arena) while a generation is made of conf ...
 *   discover_commit(d), which starts them; or discover_cancel(d)
 *
 * A member:
 *
 *   (none) --named--> HERE <--> DRAINING (the source says it is about to stop)
 *                      ^ \         |
 *                 named|  \        |not named any more
 *                      |   v       v
 *                      +---- GONE (gets nothing new) --nothing in flight--> (none)
 *
 * A source that fails, or cannot be understood, changes nothing: its members stay, what is
 * wrong is its `error`, and it is asked again with growing distance and jitter.
 *
 * Thread: control.  Nothing here blocks.
 */
#ifndef WEIR_DISCOVER_DISCOVER_H
#define WEIR_DISCOVER_DISCOVER_H

#include "weir/base/list.h"
#include "weir/base/pack.h"
#include "weir/conf/conf.h"
#include "weir/loop/loop.h"

/* Members of one source; the rest is left out and said. */
#define SOURCE_MEMBERS_MAX 10000

struct discover;
struct fetcher;

/* What a source came to, for the log and for events. */
struct discover_news {
	struct view pool;
	const char *kind; /* keyword of sources.def */
	struct view text; /* what it is asked for */
	size_t n, n_new, n_gone;
	const char *error; /* it has begun to fail; NULL: it has an answer */
	bool recovered;    /* after failures */
	/* of a change of one member only; empty: of several or none */
	struct view member;
};

struct discover_host {
	void *ctx;
	/* members are others, or in another state: a generation is due */
	void (*changed)(void *ctx);
	void (*news)(void *ctx, const struct discover_news *news);
};

/* "c-ares 1.18.1"; NULL: no names are looked up. */
const char *discover_library(void);

struct discover *discover_new(struct loop *loop, struct fetcher *fetcher,
			      const struct discover_host *host);
void discover_free(struct discover *d); /* NULL is fine */

/* Borrows from `conf` once it is committed, until the next commit. */
void discover_prepare(struct discover *d, const struct conf *conf);
void discover_cancel(struct discover *d);
void discover_commit(struct discover *d);

/* `conf` itself when it has no sources, else a copy with the members of now; texts and rows
 * are of the arena. */
const struct conf_pool *discover_pool(struct discover *d, const struct conf_pool *conf,
				      struct arena *arena);
/* Every source has answered or failed. */
bool discover_settled(const struct discover *d);
/* Forgets those that are gone and of which `is_idle` says that nothing is in flight. */
void discover_sweep(struct discover *d,
		    bool (*is_idle)(void *ctx, struct view pool, struct view backend), void *ctx);

/* ---- for people ---- */

struct discover_member {
	struct view name, address, cause;
	uint32_t weight;
	uint8_t priority;
	enum conf_member state;
	uint64_t age_us; /* in this state */
};

struct discover_source {
	struct view pool, text;
	const char *kind;
	struct view error;      /* of the last question; empty: it was answered well */
	uint64_t answer_age_us; /* of the last good answer; UINT64_MAX: none yet */
	uint64_t next_us;       /* until it is asked again, 0: it is now; UINT64_MAX: it watches */
	uint64_t n_answers, n_failures, n_changes;
	const struct discover_member *members;
	size_t n_members;
};

/* Rows and texts are of the arena; with `members` or only their numbers. */
const struct discover_source *discover_status(const struct discover *d, struct arena *arena,
					      size_t *n);

/* ---- for the process that takes over ---- */

void discover_pack(const struct discover *d, struct str *out);
/* Into those that are prepared. */
void discover_unpack(struct unpack *in, struct discover *d);

#endif
