/* SPDX-License-Identifier: MIT */
/*
 * One source of one pool whose registry the test plays: what is asked is noted in place of
 * fetch.c (the linker's --wrap), what is answered is told as fetch.c would.  Time goes on by
 * clock_ahead_us, and stands nearly still otherwise.
 */
#ifndef TESTS_UNIT_DISCOVER_FIXTURE_H
#define TESTS_UNIT_DISCOVER_FIXTURE_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "discover/source.h"
#include "weir/base/clock.h"
#include "weir/base/defs.h"

struct world {
	struct loop loop;
	struct fetcher fetcher;
	struct discover *d;
	struct conf_source sources[2];
	struct conf_pool pool;
	struct conf conf;
	/* of the question that is open, or was the last */
	bool open;
	struct fetch_request asked;
	char url[512], headers[256], body[1024];
	uint64_t before_us; /* the last thing that happened */
	unsigned n_asked, n_changed, n_news;
	char news[512]; /* the last */
	char folder[32], file[64];
};

extern struct world w;

void world_init(void);
void world_fini(void);
#define WORLD .init = world_init, .fini = world_fini

/* The source of w.pool: it begins. */
void begin(enum conf_source_kind kind, const char *text);
struct source *source_of(unsigned i);

/* What comes of the open question.  `head` is the value of X-Consul-Index, or NULL. */
void answer_with(unsigned status, const char *head, const char *body);
#define answer_json(body) answer_with(200, NULL, body)
/* All of it came, and then something went wrong: it is not to be trusted. */
void answer_cut(const char *body);
void answer_failed(enum fetch_end end, unsigned status, const char *why);
/* Of a watch: bytes of it. */
void piece(const char *bytes);

/* The time of the source has come: it asks. */
void fire(void);
/* It is due `ms` after what happened last, up to a tenth later. */
void expect_due(unsigned ms);
void expect_no_timer(void);

/* "10.0.0.1:80 w1 (cause), ..." by name; "draining " or "gone " in front */
const char *members(void);
void expect_members(const char *text);
void expect_error(const char *text);
/* A file in the folder of the test, whose path goes to w.file. */
void write_file(const char *name, const char *text);

#endif
