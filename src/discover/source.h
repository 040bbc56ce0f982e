/* SPDX-License-Identifier: MIT */
/*
 * One source: what all kinds have in common.  A kind asks in its own way, and says what it
 * found by source_answer, or why it did not by source_fail.
 *
 *   start --> ask ... source_answer(all that there is) --> source_again(later) --> ask ...
 *                 ... source_fail(why)   asks again by itself, later each time
 */
#ifndef WEIR_DISCOVER_SOURCE_H
#define WEIR_DISCOVER_SOURCE_H

#include "weir/base/defs.h"
#include "weir/base/rng.h"
#include "weir/base/str.h"
#include "weir/discover/discover.h"
#include "weir/fetch/fetch.h"

struct dns;
struct source;

struct source_kind {
	const char *keyword;
	bool watches; /* once it has an answer it is told of changes, without asking again */
	/* s->conf and s->pool are set; asks at once, or prepares to */
	void (*start)(struct source *s);
	/* gives back s->state; no call comes after this */
	void (*stop)(struct source *s);
	/* the timer of source_again or source_fail */
	void (*ask)(struct source *s);
};

extern const struct source_kind *const source_kinds[];

/* All strings are its own. */
struct member {
	struct conf_backend backend; /* .member is its state */
	struct view cause;
	uint64_t since_us; /* monotonic; in this state */
	bool named;        /* by the answer at hand */
};

struct source {
	struct list link;
	struct discover *discover;
	const struct source_kind *kind;
	struct view pool_name, text;  /* its own */
	const struct conf_pool *pool; /* NULL: not started */
	const struct conf_source *conf;
	const struct conf_pool *next_pool; /* of a configuration that is being prepared */
	const struct conf_source *next;
	struct member **members; /* by name; owns */
	size_t n_members, cap;
	struct timer timer;
	void *state;          /* of the kind */
	uint64_t answered_us; /* monotonic; 0: never */
	uint64_t n_answers, n_failures, n_changes;
	unsigned failed_row;
	bool settled; /* it has answered or failed since the start */
	char error[240];
};

struct discover {
	struct loop *loop;
	struct fetcher *fetcher;
	struct discover_host host;
	struct list sources;
	const struct conf *conf, *next;
	struct rng rng;
	struct dns *dns; /* owns; NULL: nobody needs it */
};

/* ---- source.c ---- */

/* What an answer names; borrowed for the call. */
struct found {
	struct conf_backend backend;
	struct view cause;
};

/* All members there are.  Of two of one name the first counts.  `missing`: why a part of the
 * answer is, which is told once and stays a problem though the rest counts; NULL: nothing is. */
void source_answer(struct source *s, const struct found *rows, size_t n, const char *missing);
/* None, after failures that mean so. */
void source_empty(struct source *s);
/* Members stay.  It is asked again, unless it has been stopped. */
void source_fail(struct source *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Something is wrong, and members stay.  The next good answer ends it. */
void source_warn(struct source *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Up to a tenth later, so that many do not fall into step. */
void source_again(struct source *s, uint64_t after_us);

/* ---- members.c ---- */

struct member *member_find(const struct source *s, struct view name);
void member_free(struct member *m);
struct member *member_add(struct source *s, const struct found *row);
/* True when it is another one now. */
bool member_update(struct member *m, const struct found *row);
/* Takes out those for which `goes` is true. */
size_t members_sweep(struct source *s, bool (*goes)(const struct member *m, void *ctx), void *ctx);
/* "10.0.0.1:8000" as the name and address of a row that has none. */
void found_set_address(struct found *row, const struct addr *addr, struct arena *arena);

/* ---- dns.c ---- */

void dns_free(struct dns *dns); /* NULL is fine */

#endif
