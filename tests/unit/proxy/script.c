/* SPDX-License-Identifier: MIT */
/* Lines of a script as deeds, and its runs: whole, cut in pieces, without memory. */
#include "script.h"

#include "memory.h"
#include "script_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../rounds.h"
#include "weir/base/check.h"
#include "weir/base/parse.h"

/* Where longer things are cut in two: at the first places, then here and there. */
#define CUT_ALL 160
#define CUT_STEP 37
/*
 * One place of so many is cut at, begun with another one for each script and pair of versions: as
 * many as the script has pairs, so that together they are cut at each place; of seven in a build
 * that checks itself, which takes some ten times as long.  WEIR_CUT_ONE_OF in the environment is
 * for whoever has less time, or more.
 */
static size_t cut_one_of(const struct script *s)
{
	const char *n = getenv("WEIR_CUT_ONE_OF");
	size_t one_of = n ? strtoul(n, NULL, 10) : ROUNDS(s->n_pairs, 7);
	return one_of ? one_of : 1;
}

/* ---- lines ---- */

static void pass(struct script *s, struct words *w)
{
	struct view word = script_word(w);
	bool in_ms = word.len > 2 && word.ptr[word.len - 2] == 'm';
	uint64_t n;
	if (word.len < 2 || !parse_u64(view_head(word, word.len - (in_ms ? 2 : 1)), &n))
		script_fail(s, "after how long?");
	script_settle(s);
	world_pass(s->world, n * (in_ms ? 1000 : 1000000));
	script_settle(s);
}

static void expect(struct script *s, struct words *w)
{
	char name[64];
	struct view word = script_word(w);
	snprintf(name, sizeof(name), VIEW_FMT, VIEW_ARG(word));
	if (!script_skip(w, "="))
		script_fail(s, "expected '='");
	script_settle(s);
	int64_t is = world_counter(s->world, name), wanted = (int64_t)script_number(s, w);
	if (is < 0)
		script_fail(s, "there is no counter '%s'", name);
	if (is != wanted)
		script_fail(s, "%s is %lld, not %lld", name, (long long)is, (long long)wanted);
}

static void act(struct script *s, struct view name, struct words *w)
{
	struct place *place;
	struct peer *peer = script_who(s, name, &place);
	struct view verb = script_word(w);
	if (place && view_eq(verb, VIEW("refuses"))) {
		place_refuse(place);
	} else if (place && view_eq(verb, VIEW("listens"))) {
		place_listen(s, (unsigned)(place - s->places));
	} else if (view_eq(verb, VIEW("gets")) || view_eq(verb, VIEW("hears"))) {
		script_hear(s, peer, place, w);
	} else if (view_eq(verb, VIEW("is"))) {
		script_be(s, peer, place, w);
	} else if (peer && view_eq(verb, VIEW("has"))) {
		script_have(s, peer, w);
	} else if (view_eq(verb, VIEW("<"))) {
		script_raw_in(s, peer, place, script_trim(w->rest));
	} else if (!peer) {
		script_fail(s, "nobody has connected yet");
	} else if (view_eq(verb, VIEW("asks")) || view_eq(verb, VIEW("answers"))) {
		script_say(s, peer, w);
	} else if (view_eq(verb, VIEW("sends"))) {
		script_say_more(s, peer, w);
	} else if (view_eq(verb, VIEW("ends"))) {
		script_say_end(s, peer, w);
	} else if (view_eq(verb, VIEW("shuts"))) {
		peer_shut(peer);
	} else if (view_eq(verb, VIEW("stalls"))) {
		peer_stall(peer);
	} else if (view_eq(verb, VIEW("resets"))) {
		if (!peer->session || !peer_reset(peer, script_trim(w->rest)))
			script_fail(s, "resets with what?");
	} else if (place && view_eq(verb, VIEW("deafens"))) {
		peer_deafen(peer);
	} else if (view_eq(verb, VIEW("closes"))) {
		peer_close(peer);
	} else if (view_eq(verb, VIEW(">"))) {
		script_raw_out(s, peer, script_trim(w->rest));
	} else {
		script_fail(s, "does what?");
	}
}

/* The next call of this name by weir, whoever it is for. */
static void fail_next(struct script *s, struct words *w)
{
	struct view call = script_word(w);
	if (!script_skip(w, "fails"))
		script_fail(s, "expected 'fails'");
	const struct kernel_fault *fault = kernel_fault_named(call, script_trim(w->rest));
	if (!fault)
		script_fail(s, "kernel.c has no such fault");
	script_settle(s);
	kernel_refuse(fault, 1);
}

static void run_line(struct script *s, struct view line)
{
	struct words w = {line};
	struct view first = script_word(&w);
	if (view_eq(first, VIEW("after")))
		pass(s, &w);
	else if (view_eq(first, VIEW("expect")))
		expect(s, &w);
	else if (view_eq(first, VIEW("logged")))
		script_logged(s, &w);
	else if (view_eq(first, VIEW("at")) && script_skip(&w, "once"))
		s->cut.still = true;
	else if (view_eq(first, VIEW("one")) && script_skip(&w, "turn"))
		world_turn(s->world);
	else if (view_eq(first, VIEW("next")))
		fail_next(s, &w);
	else if (view_eq(first, VIEW("weir")) && script_skip(&w, "stops"))
		worker_abort_all(s->world->worker);
	else if (view_eq(first, VIEW("reload")))
		script_reload(s, &w);
	else
		act(s, first, &w);
}

/* ---- runs ---- */

static void begin(struct script *s, const struct plan *plan)
{
	struct str yaml = STR_INIT;
	plan_write(s, plan, &yaml);
	s->world = world_new(yaml.ptr);
	str_fini(&yaml);
	if (!s->world)
		script_fail(s, "the configuration is refused");
	s->plan = plan;
	s->n_backends = 0;
	script_build_places(s, plan->n_backends);
}

static void end(struct script *s)
{
	for (unsigned i = 0; i < CLIENTS_MAX; i++) {
		if (s->clients[i])
			peer_free(s->clients[i]);
		s->clients[i] = NULL;
	}
	for (unsigned i = 0; i < s->n_backends; i++) {
		struct place *place = &s->places[i];
		place_refuse(place);
		for (unsigned k = 0; k < place->n_conns; k++)
			peer_free(place->conns[k]);
		*place = (struct place){.listener = -1};
	}
	world_settle(s->world);
	world_pass(s->world, 3000000); /* who lingers has gone by then */
	const char *left = world_leftover(s->world);
	if (left)
		script_fail(s, "%s is left over", left);
	world_free(s->world);
}

static void run_lines(struct script *s)
{
	struct view text = s->text, line;
	while (script_line(s, &text, &line))
		if (!script_is_comment(line))
			run_line(s, line);
}

/* Whoever has been left alone is not for ever: one of the deadlines comes. */
static void expect_end(struct script *s)
{
	const struct slab *exchanges = &s->world->worker->exchanges;
	script_settle(s);
	for (unsigned i = 0; i < 40 && exchanges->n_live; i++) {
		world_pass(s->world, 5000000);
		script_settle(s);
	}
	if (exchanges->n_live)
		script_fail(s, "an exchange hangs");
}

static void run_once(struct script *s, const struct plan *plan)
{
	s->line = s->first_line;
	begin(s, plan);
	memory_refuse(s->fault ? 0 : s->refuse_at);
	kernel_refuse(s->fault, s->refuse_at);
	s->lenient = s->refuse_at > 0 && !(s->fault && s->fault->harmless);
	bool early = setjmp(s->early);
	if (!early)
		run_lines(s);
	s->lenient = false;
	s->has_refused = memory_has_refused() || kernel_has_refused();
	memory_refuse(0);
	kernel_refuse(NULL, 0);
	if (early && s->fault)
		expect_end(s);
	end(s);
}

static void run_cuts(struct script *s, const struct plan *plan)
{
	s->cut = (struct peer_cut){.mode = CUT_NOWHERE};
	run_once(s, plan);
	size_t longest = s->cut.longest;
	if (plan->uncut)
		return;
	if (longest <= 4096) {
		s->cut = (struct peer_cut){.mode = CUT_EVERYWHERE};
		run_once(s, plan);
	}
	size_t one_of = cut_one_of(s), skipped = (s->first_line + s->pair) % one_of;
	for (size_t at = 1; at < longest; at += at < CUT_ALL ? 1 : longest / CUT_STEP + 1) {
		if (skipped++ % one_of)
			continue;
		s->cut = (struct peer_cut){.mode = CUT_AT, .at = at};
		run_once(s, plan);
	}
}

/* The n-th call fails: n = 1, 2, ... until there are not so many. */
static void run_refused(struct script *s, const struct plan *plan)
{
	s->cut = (struct peer_cut){.mode = CUT_NOWHERE};
	for (s->refuse_at = 1;; s->refuse_at++) {
		run_once(s, plan);
		if (!s->has_refused)
			break;
	}
	s->refuse_at = 0;
}

static void run_with_faults(struct script *s, const struct plan *plan)
{
	for (size_t i = 0; i < n_kernel_faults; i++) {
		s->fault = &kernel_faults[i];
		run_refused(s, plan);
	}
	s->fault = NULL;
}

static void run_script(struct script *s)
{
	struct plan plan = plan_read(s);
	s->n_pairs = (plan.allowed[0][PEER_HTTP1] + plan.allowed[0][PEER_HTTP2]) *
		     (plan.allowed[1][PEER_HTTP1] + plan.allowed[1][PEER_HTTP2]);
	s->pair = 0;
	for (int c = PEER_HTTP1; c <= PEER_HTTP2; c++) {
		for (int b = PEER_HTTP1; b <= PEER_HTTP2; b++) {
			s->versions[0] = (enum peer_version)c;
			s->versions[1] = (enum peer_version)b;
			if (!plan.allowed[0][c] || !plan.allowed[1][b])
				continue;
			s->run(s, &plan);
			s->pair++;
		}
	}
	plan_fini(&plan);
}

static struct str read_file(const char *path)
{
	struct str text = STR_INIT;
	char bytes[4096];
	FILE *file = fopen(path, "re");
	check(file != NULL);
	for (size_t n; (n = fread(bytes, 1, sizeof(bytes), file)) > 0;)
		str_view(&text, view_of(bytes, n));
	fclose(file);
	return text;
}

static bool is_asked_for(struct view title)
{
	const char *part = getenv("WEIR_FLOW");
	return !part || memmem(title.ptr, title.len, part, strlen(part));
}

static void run_file(const char *path, void (*run)(struct script *s, const struct plan *plan))
{
	memory_keep();
	struct str file = read_file(path);
	struct view text = str_as_view(&file), line;
	struct script s = {.path = path, .run = run};
	unsigned n = 0;
	for (unsigned i = 0; i < BACKENDS_MAX; i++)
		s.places[i].listener = -1;
	while (script_line(&s, &text, &line)) {
		if (!view_starts(line, VIEW("=== ")))
			continue;
		s.title = view_skip(line, 4);
		s.first_line = s.line;
		const char *next = text.len ? memmem(text.ptr, text.len, "\n=== ", 5) : NULL;
		s.text = view_head(text, next ? (size_t)(next - text.ptr) + 1 : text.len);
		if (is_asked_for(s.title))
			run_script(&s);
		s.line = s.first_line;
		n++;
	}
	check(n > 0);
	str_fini(&file);
	for (unsigned i = 0; i < SCRATCHES; i++)
		str_fini(&s.scratch[i]);
}

void script_run_file(const char *path)
{
	run_file(path, run_cuts);
}

void script_run_without_memory(const char *path)
{
	run_file(path, run_refused);
}

void script_run_with_faults(const char *path)
{
	run_file(path, run_with_faults);
}
