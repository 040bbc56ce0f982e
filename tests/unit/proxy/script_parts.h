/* SPDX-License-Identifier: MIT */
/* What the parts of script.c know of each other. */
#ifndef TESTS_UNIT_PROXY_SCRIPT_PARTS_H
#define TESTS_UNIT_PROXY_SCRIPT_PARTS_H

#include <setjmp.h>

#include "kernel.h"
#include "peer.h"

#define CLIENTS_MAX 8
#define BACKENDS_MAX 4
#define CONNS_MAX 64
#define SCRATCHES 8

struct plan {
	unsigned n_backends;
	bool allowed[2][2]; /* side, version */
	bool uncut;
	struct view name;   /* of the first pool */
	struct view second; /* empty: there is one pool */
	struct view log;    /* log.access, without the path; empty: there is none */
	struct view ahead;  /* a route ahead of the usual one; empty: there is none */
	struct str listener, route, pool, second_pool;
};

struct place {
	int listener;     /* -1: refuses */
	uint64_t idle_at; /* kernel_moves() when nobody was there */
	struct peer *conns[CONNS_MAX];
	unsigned n_conns;
	struct peer *at; /* the one talked about */
};

struct script {
	const char *path;
	unsigned line;
	struct view text; /* without the title */
	struct view title;
	unsigned first_line;
	/* of this run */
	enum peer_version versions[2]; /* of clients, of backends */
	unsigned pair, n_pairs;        /* of versions: which one of how many */
	struct peer_cut cut;
	void (*run)(struct script *s, const struct plan *plan);
	bool has_refused;
	size_t refuse_at;                 /* what fails, the so many-th, 0: nothing */
	const struct kernel_fault *fault; /* of a system call; NULL: an allocation */
	bool lenient;                     /* it matters: a script may end early, but not in a lie */
	jmp_buf early;
	struct str scratch[SCRATCHES];
	unsigned n_scratch;
	struct world *world;
	const struct plan *plan;
	struct peer *clients[CLIENTS_MAX];
	struct place places[BACKENDS_MAX];
	unsigned n_backends;
};

struct words {
	struct view rest;
};

/* script_words.c */

_Noreturn void script_fail(struct script *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Text for as long as a line is worked on. */
struct str *script_scratch(struct script *s);
struct view script_trim(struct view v);
struct view script_word(struct words *w);
bool script_skip(struct words *w, const char *word);
void script_unescape(struct script *s, struct str *out, struct view in);
void script_quoted(struct script *s, struct words *w, struct str *out);
uint64_t script_number(struct script *s, struct words *w);
void script_payload(struct script *s, struct words *w, struct str *out);
bool script_line(struct script *s, struct view *text, struct view *line);
bool script_is_comment(struct view line);

/* script_peers.c */

void place_listen(struct script *s, unsigned i);
void place_refuse(struct place *place);
struct peer *place_heard(struct place *place);
bool script_round(struct script *s);
void script_settle(struct script *s);
struct peer *script_who(struct script *s, struct view name, struct place **place);

/* script_hear.c */

void script_say(struct script *s, struct peer *peer, struct words *w);
void script_say_more(struct script *s, struct peer *peer, struct words *w);
void script_say_end(struct script *s, struct peer *peer, struct words *w);
void script_hear(struct script *s, struct peer *peer, struct place *place, struct words *w);
void script_be(struct script *s, struct peer *peer, struct place *place, struct words *w);
void script_have(struct script *s, const struct peer *peer, struct words *w);
void script_raw_in(struct script *s, struct peer *peer, struct place *place, struct view text);
void script_raw_out(struct script *s, struct peer *peer, struct view text);

/* script_log.c */

void script_logged(struct script *s, struct words *w);

/* script_plan.c */

struct plan plan_read(struct script *s);
void plan_fini(struct plan *plan);
void plan_write(struct script *s, const struct plan *plan, struct str *yaml);
void script_build_places(struct script *s, unsigned n);
void script_reload(struct script *s, struct words *w);

#endif
